"""The values of a stack of DICOM planes: stacked, with their unit, with padding as the lowest value."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.dicom.acquisition import SILENT_MODALITIES
from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.dicom.modality_transform import describe_missing_rescale, get_value_type, is_in_hu
from napari_medseg.core.dicom.pixels import DecodedPlane
from napari_medseg.core.dicom.planes import DicomPlane
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.hounsfield import LOWEST_HU, looks_like_hu

PlaceInFile = tuple[DicomHeader, DicomPlane]


@dataclass(frozen=True, eq=False)
class VoxelValues:
    """Values of an image.

    Parameters
    ----------
    pixels
        (rows, columns) or (planes, rows, columns), plus a last axis for RGB.
    units
        ``"HU"``, ``"grey"`` or ``"rgb"``.
    modality
        That of the header; ``"CT"`` if only the values tell it.
    padding_value
        Value of the padding in `pixels`: the lowest HU, or the lowest measured value; `None` without padding.
    notes
        How unit and values were found, where the header does not say it.
    """

    pixels: NDArray[Any]
    units: str
    modality: str
    padding_value: float | None
    notes: tuple[str, ...]


def combine_planes(
    places: Sequence[PlaceInFile], get_planes: Callable[[Path], list[DecodedPlane]], name: str
) -> VoxelValues:
    """Stack planes in the given order.

    Raises
    ------
    MedSegError
        If only some of the planes are in HU.
    """
    pixels, padding = _stack(places, get_planes)
    header = places[0][0]
    if pixels.ndim == (4 if len(places) > 1 else 3):
        return VoxelValues(pixels, "rgb", header.modality, None, tuple(_describe_header(places)))
    measured = pixels if padding is None else pixels[~padding]
    units, modality, notes = _detect_units(places, measured, name)
    padding_value = None if padding is None else _fill_padding(pixels, padding, units)
    return VoxelValues(pixels, units, modality, padding_value, (*notes, *_describe_header(places)))


def _stack(
    places: Sequence[PlaceInFile], get_planes: Callable[[Path], list[DecodedPlane]]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    decoded: list[DecodedPlane] = []
    for n, (_, plane) in enumerate(places):
        if n == 0 or places[n - 1][1].path != plane.path:
            of_file = get_planes(plane.path)
        decoded.append(of_file[plane.frame])
    pixels = np.stack([each.pixels for each in decoded]) if len(decoded) > 1 else decoded[0].pixels
    if all(each.padding is None for each in decoded):
        return pixels, None
    padding = [np.zeros(each.pixels.shape, bool) if each.padding is None else each.padding for each in decoded]
    return pixels, np.stack(padding) if len(padding) > 1 else padding[0]


def _detect_units(places: Sequence[PlaceInFile], measured: NDArray[Any], name: str) -> tuple[str, str, list[str]]:
    """Return unit, modality, and remarks."""
    header = places[0][0]
    in_hu = [is_in_hu(each, plane.frame) for each, plane in places]
    if all(in_hu):
        return "HU", header.modality, []
    if any(in_hu):
        odd = places[in_hu.index(False)][0].path.name
        raise MedSegError(f"{name}: only {sum(in_hu)} of {len(in_hu)} slices are in HU, not {odd}. Export it again.")
    if header.acquisition.view == "localizer":
        return "grey", header.modality, []
    if header.modality in SILENT_MODALITIES and looks_like_hu(measured):
        modality = header.modality or "no modality"
        return "HU", "CT", [f"The header gives {modality}; by its values it is a CT in HU."]
    if header.modality != "CT":
        return "grey", header.modality, []
    if value_type := get_value_type(header, places[0][1].frame):
        return "grey", "CT", [f"The values are {value_type}, not HU."]
    if looks_like_hu(measured):
        return "HU", "CT", ["The CT has no rescale to HU; by its values it is in HU already."]
    return "grey", "CT", ["The CT has no rescale to HU; the stored values are shown."]


def _fill_padding(pixels: NDArray[Any], padding: NDArray[np.bool_], units: str) -> float:
    """Give padding the lowest HU, or the lowest measured value, in place; return it."""
    measured = pixels[~padding]
    lowest = measured.min() if measured.size else pixels.min()
    if units == "HU":
        lowest = min(lowest, LOWEST_HU)
    pixels[padding] = lowest
    return float(lowest)


def _describe_header(places: Sequence[PlaceInFile]) -> Iterator[str]:
    header = places[0][0]
    if not header.has_modality and header.modality:
        yield f"The header gives no modality; {header.acquisition.sop_class} is {header.modality}."
    remarks = Counter(describe_missing_rescale(each, plane.frame) for each, plane in places)
    for text, count in remarks.items():
        if text:
            yield text if count == len(places) else f"{text} ({count} of {len(places)} slices)"
