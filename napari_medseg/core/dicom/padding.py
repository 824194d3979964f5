"""Pixel padding: stored values that mark where nothing was measured (DICOM PS3.3 C.7.5.1.1.2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from napari_medseg.core.dicom.attributes import get_dicom_number

_FLOAT_PREFIXES = {"FloatPixelData": "Float", "DoubleFloatPixelData": "DoubleFloat"}


def find_padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where stored grey values are padding, of their shape; `None` if there is no padding.

    Padding is PixelPaddingValue, or the range from there to PixelPaddingRangeLimit. Scanners often write the value with
    the other sign (63536 for -2000), or into bits above BitsStored, so it is compared modulo 2^BitsAllocated.
    """
    if stored.dtype.kind not in "iu":
        return _find_float_padding(stored, dataset)
    value = get_dicom_number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = get_dicom_number(dataset, "PixelPaddingRangeLimit")
    ends = sorted(_wrap(end, stored.dtype) for end in (value, value if limit is None else limit))
    if ends[1] > _get_largest_stored(dataset) or ends[0] < _get_smallest_stored(dataset):
        stored = _decode_all_bits(stored, dataset)
    return _mark(stored, ends[0], ends[1])


def _find_float_padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_] | None:
    prefix = next((word for keyword, word in _FLOAT_PREFIXES.items() if keyword in dataset), None)
    if prefix is None or (value := get_dicom_number(dataset, f"{prefix}PixelPaddingValue")) is None:
        return None
    limit = get_dicom_number(dataset, f"{prefix}PixelPaddingRangeLimit")
    ends = sorted((value, value if limit is None else limit))
    return _mark(stored, ends[0], ends[1])


def _mark(stored: NDArray[Any], low: float, high: float) -> NDArray[np.bool_] | None:
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return inside if inside.any() else None


def _wrap(value: float, dtype: np.dtype[Any]) -> int:
    """Return a value as the integer that has the same bits in the type of the pixels."""
    limits = np.iinfo(dtype)
    return (int(value) - int(limits.min)) % (1 << limits.bits) + int(limits.min)


def _get_largest_stored(dataset: Dataset) -> int:
    bits = int(dataset.BitsStored)
    return int((1 << (bits - 1)) - 1 if dataset.PixelRepresentation else (1 << bits) - 1)


def _get_smallest_stored(dataset: Dataset) -> int:
    return -(1 << (int(dataset.BitsStored) - 1)) if dataset.PixelRepresentation else 0


def _decode_all_bits(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Decode again with the bits above BitsStored, where padding is outside the range of measured values."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated or "PixelData" not in dataset:
        return stored
    raw: NDArray[Any] = pixel_array(dataset, correct_unused_bits=False)  # type: ignore[arg-type]
    return raw.reshape(stored.shape)
