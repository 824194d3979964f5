"""Values of DICOM attributes, of the whole file or of one frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue


def get_dicom_text(dataset: Dataset, keyword: str) -> str:
    """Value of an attribute as stripped text; empty if it is absent."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def get_dicom_words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Values of an attribute as upper-case words; empty if it is absent."""
    value = dataset.get(keyword)
    values = value if isinstance(value, (MultiValue, list, tuple)) else [value or ""]
    return tuple(str(word).strip().upper() for word in values if str(word).strip())


def get_dicom_number(dataset: Dataset, keyword: str) -> float | None:
    """Value of an attribute as a finite number; `None` if it is absent, empty, multi-valued or not finite."""
    value = dataset.get(keyword)
    if value is None or value == "" or isinstance(value, (MultiValue, bytes)):
        return None
    return float(value) if np.isfinite(float(value)) else None


def get_dicom_vector(dataset: Dataset, keyword: str, length: int) -> NDArray[np.float64] | None:
    """Values of an attribute as `length` finite numbers; `None` if it has another number of values."""
    values: Any = dataset.get(keyword)
    if values is None or len(values) != length:
        return None
    vector = np.array([float(value) for value in values])
    return vector if np.isfinite(vector).all() else None


def get_functional_group(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Return a functional group of one frame: the frame's own, else the shared one, else the dataset itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (per_frame[frame] if frame < len(per_frame) else None, shared[0] if shared else None):
        if group is not None and group.get(sequence):
            return group[sequence][0]  # type: ignore[no-any-return]
    return dataset
