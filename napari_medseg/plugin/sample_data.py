"""File > Open Sample: bundled real images to try the program without other data."""

import csv
from dataclasses import replace
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.plugin.layers import METADATA_KEY
from napari_medseg.plugin.reader_writer import LayerData, make_layer_data
from napari_medseg.plugin.synthetic_lesions import draw_lesions

SAMPLES = Path(__file__).parents[1] / "samples"
_MIDDLE_SLICE = "A0001_z031.dcm"
_N_SHOWN_XRAYS = 6


def ct_slice() -> list[LayerData]:
    """One slice of a chest CT, in HU."""
    return [make_layer_data(formats.read(SAMPLES / "ct_a0001" / "dicom" / _MIDDLE_SLICE))]


def ct_series() -> list[LayerData]:
    """16 slices of the same chest CT, 15 mm apart, as one volume."""
    return [make_layer_data(formats.read(SAMPLES / "ct_a0001" / "dicom"))]


def chest_xrays() -> list[LayerData]:
    """X-rays of six children, two of them without pneumonia: difficult for a model trained on CT."""
    folder = SAMPLES / "xray"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["split"] == "train"]
    shown = names[:: len(names) // _N_SHOWN_XRAYS]
    return [make_layer_data(formats.read(folder / "images" / f"{name}.jpg")) for name in shown]


def drawn_lesions() -> list[LayerData]:
    """Return the slice of `ct_slice` with artificial lesions, because real ones may not be redistributed."""
    folder = SAMPLES / "ct_a0001"
    image = formats.read(folder / "dicom" / _MIDDLE_SLICE)
    lungs = formats.read_labels((folder / "labels" / _MIDDLE_SLICE).with_suffix(".tif"), image)
    drawn, _ = draw_lesions(image, lungs)
    pixels, arguments, kind = make_layer_data(
        replace(drawn, name=f"{image.name}, drawn lesions", sources=(), storage=None)
    )
    arguments["metadata"][METADATA_KEY]["task"] = "covid"  # the task cannot be detected from the image
    return [(pixels, arguments, kind)]


def stained_tissue() -> list[LayerData]:
    """One tile of stained tissue that no bundled model was trained on."""
    return [make_layer_data(formats.read(SAMPLES / "nuclei_dsb" / "images" / "ad473063dab4bf4f.png"))]


def laparoscopy() -> list[LayerData]:
    """Two frames of two operations that no bundled model was trained on."""
    return [make_layer_data(formats.read(path)) for path in sorted((SAMPLES / "laparoscopy" / "images").glob("*.jpg"))]
