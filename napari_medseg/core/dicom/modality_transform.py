"""From stored values to the physical unit: HU for CT (DICOM PS3.3 C.11.1), dense is bright in X-rays.

HU = slope x stored + intercept, whatever the photometric interpretation: MONOCHROME1 only inverts the display. VOI LUT
and window are for the display, too, and are never applied.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from napari_medseg.core.dicom.acquisition import SILENT_MODALITIES
from napari_medseg.core.dicom.attributes import get_dicom_number, get_dicom_text, get_functional_group
from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.hounsfield import AIR_HU
from napari_medseg.core.image import cast_compact

# Modalities whose values are measurements: inverting them would change what was measured.
_MEASURING_MODALITIES = ("CT", "MR", "PT", "NM", "IVOCT", "OPT")
_HU_TYPES = ("", "HU", "US", "UNSPECIFIED", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS")


def apply_modality_transform(stored: NDArray[Any], dataset: Dataset, header: DicomHeader, frame: int) -> NDArray[Any]:
    """Apply modality LUT or rescale to the stored values of one plane: int16 if exact, else int32 or float32.

    Parameters
    ----------
    stored
        (rows, columns), or (rows, columns, 3) for colour, which is returned unchanged.
    dataset
        Attributes of the pixels.
    header, frame
        The file, and the number of the frame in it.

    Raises
    ------
    MedSegError
        If the slope is 0.
    """
    if stored.ndim == 3:
        return stored
    if dataset.PhotometricInterpretation == "MONOCHROME1" and not _is_measurement(dataset, header, frame):
        stored = _invert(stored, dataset)
    if dataset.get("ModalityLUTSequence"):
        return cast_compact(apply_modality_lut(stored, dataset))
    slope, intercept = _read_rescale(dataset, frame)
    if slope is None and intercept is None:
        return stored
    return _rescale(stored, 1.0 if slope is None else slope, intercept or 0.0, header.path.name)


def is_in_hu(header: DicomHeader, frame: int) -> bool:
    """Whether the header says that the values of a frame are HU after the modality transform.

    Rescale type US (unspecified) or none means HU in a CT; other types, such as Z_EFF of a dual-energy CT, do not.
    """
    dataset = header.encoding.attributes
    if header.modality != "CT" or header.acquisition.view == "localizer":
        return False
    return _has_transform(dataset, frame) and get_value_type(header, frame) in _HU_TYPES


def get_value_type(header: DicomHeader, frame: int) -> str:
    """Rescale type or modality LUT type of a frame, such as ``"HU"`` or ``"Z_EFF"``; empty if there is none."""
    dataset = header.encoding.attributes
    if dataset.get("ModalityLUTSequence"):
        return get_dicom_text(dataset.ModalityLUTSequence[0], "ModalityLUTType").upper()
    group = get_functional_group(dataset, frame, "PixelValueTransformationSequence")
    return get_dicom_text(group, "RescaleType").upper()


def describe_missing_rescale(header: DicomHeader, frame: int) -> str:
    """Return a remark if a frame has a slope without an intercept, or the reverse; else an empty text."""
    dataset = header.encoding.attributes
    slope, intercept = _read_rescale(dataset, frame)
    if dataset.get("ModalityLUTSequence") or (slope is None) == (intercept is None):
        return ""
    return "The rescale has no intercept; 0 is used." if intercept is None else "The rescale has no slope; 1 is used."


def _is_measurement(dataset: Dataset, header: DicomHeader, frame: int) -> bool:
    if header.modality in _MEASURING_MODALITIES:
        return True
    _, intercept = _read_rescale(dataset, frame)
    return header.modality in SILENT_MODALITIES and intercept is not None and intercept <= AIR_HU


def _has_transform(dataset: Dataset, frame: int) -> bool:
    return bool(dataset.get("ModalityLUTSequence")) or _read_rescale(dataset, frame) != (None, None)


def _read_rescale(dataset: Dataset, frame: int) -> tuple[float | None, float | None]:
    group = get_functional_group(dataset, frame, "PixelValueTransformationSequence")
    return get_dicom_number(group, "RescaleSlope"), get_dicom_number(group, "RescaleIntercept")


def _rescale(stored: NDArray[Any], slope: float, intercept: float, name: str) -> NDArray[Any]:
    if slope == 0:
        raise MedSegError(
            f"{name} has rescale slope 0, so all its values would be {intercept:g}. Export it again from the scanner."
        )
    if slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu":
        return cast_compact(stored.astype(np.int64) * int(slope) + int(intercept))
    return (stored * slope + intercept).astype(np.float32)


def _invert(pixels: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Invert within the stored value range, so that bone is bright in every X-ray."""
    if pixels.dtype.kind not in "ui":
        return pixels
    bits = int(dataset.BitsStored)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dataset.PixelRepresentation else (0, (1 << bits) - 1)
    return (low + high - pixels.astype(np.int64)).astype(pixels.dtype)
