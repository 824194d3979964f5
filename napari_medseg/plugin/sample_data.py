"""File > Open Sample: real images that come with the program, to try it without data of one's own."""

import csv
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.plugin.io import LayerData, layer_data

SAMPLES = Path(__file__).parents[1] / "samples"
_MIDDLE_SLICE = "A0001_z031.dcm"
_SHOWN_XRAYS = 6


def ct_slice() -> list[LayerData]:
    """One slice of a chest CT, in HU."""
    return [layer_data(formats.read(SAMPLES / "ct_a0001" / "dicom" / _MIDDLE_SLICE))]


def ct_series() -> list[LayerData]:
    """16 slices of the same chest CT, 15 mm apart, as one volume."""
    return [layer_data(formats.read(SAMPLES / "ct_a0001" / "dicom"))]


def chest_xrays() -> list[LayerData]:
    """X-rays of six children, two of whom are without pneumonia: hard for a model that learnt on CT."""
    folder = SAMPLES / "xray"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["split"] == "train"]
    shown = names[:: len(names) // _SHOWN_XRAYS]
    return [layer_data(formats.read(folder / "images" / f"{name}.jpg")) for name in shown]
