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
PlaneMaker = Callable[[int], DecodedPlane]
"""Returns a frame of a file by its number, as `core.dicom.pixels.DecodedFile.compute_plane` does."""
FileDecoder = Callable[[Path], PlaneMaker]
"""Decodes a file; it is called once for each file."""


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


def combine_planes(places: Sequence[PlaceInFile], decode: FileDecoder, name: str) -> VoxelValues:
    """Stack planes in the given order.

    Raises
    ------
    MedSegError
        If only some of the planes are in HU.
    """
    pixels, padding = _stack(places, decode, name)
    header = places[0][0]
    if pixels.ndim == (4 if len(places) > 1 else 3):
        return VoxelValues(pixels, "rgb", header.modality, None, tuple(_describe_header(places)))
    units, modality, notes = _detect_units(places, pixels, padding, name)
    padding_value = None if padding is None else _fill_padding(pixels, padding, units)
    return VoxelValues(pixels, units, modality, padding_value, (*notes, *_describe_header(places)))


def _stack(
    places: Sequence[PlaceInFile], decode: FileDecoder, name: str
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Fill one array, file by file, so that no more than one file is in memory beside it."""
    by_file: dict[Path, list[int]] = {}
    for n, (_, plane) in enumerate(places):
        by_file.setdefault(plane.path, []).append(n)
    stack: NDArray[Any] | None = None
    padding: NDArray[np.bool_] | None = None
    for path, numbers in by_file.items():
        make_plane = decode(path)
        for n in numbers:
            decoded = make_plane(places[n][1].frame)
            if len(places) == 1:
                return decoded.pixels, decoded.padding
            stack = _put_plane(stack, n, decoded.pixels, len(places), name)
            if decoded.padding is not None:
                padding = np.zeros(stack.shape, bool) if padding is None else padding
                padding[n] = decoded.padding
    assert stack is not None
    return stack, padding


def _put_plane(stack: NDArray[Any] | None, number: int, pixels: NDArray[Any], n_planes: int, name: str) -> NDArray[Any]:
    """Put a plane into the stack, which is made with the first one, and gets a wider type where a plane needs it."""
    if stack is None:
        stack = np.empty((n_planes, *pixels.shape), pixels.dtype)
    if pixels.shape != stack.shape[1:]:
        raise MedSegError(f"{name} has planes of {pixels.shape} and {stack.shape[1:]} pixels. Open them one by one.")
    stack = stack.astype(np.promote_types(stack.dtype, pixels.dtype), copy=False)
    stack[number] = pixels
    return stack


def _detect_units(
    places: Sequence[PlaceInFile], pixels: NDArray[Any], padding: NDArray[np.bool_] | None, name: str
) -> tuple[str, str, list[str]]:
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
    measured = pixels if padding is None else pixels[~padding]
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
