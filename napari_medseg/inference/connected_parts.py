"""Postprocessing of a whole series: what belongs to an organ is decided in space, not slice by slice."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.unsignedinteger[Any]]


def drop_parts_apart(labels: Labels, spacing_mm: tuple[float, ...] | None, min_share: float = 0.02) -> None:
    """Drop parts of a volume that are connected to no label's largest part, in place: gas in the bowel is no lung.

    A part may hang on the largest part of another label. Volumes only: slices of unknown spacing may be of different
    patients, and in one slice a lung may have several parts.

    Parameters
    ----------
    labels, spacing_mm
        (z, y, x); as of `inference.postprocess.apply_postprocessing_step`. Two dimensions, or spacing `None`, change
        nothing.
    min_share
        The largest part of a label keeps others from this share of the largest part of all labels on, in (0, 1].
    """
    if labels.ndim != 3 or spacing_mm is None or not labels.any():
        return
    box = ndimage.find_objects((labels > 0).view(np.uint8))[0]
    view = labels[box]
    parts, n_parts = ndimage.label(view > 0, structure=np.ones((3, 3, 3)))
    if n_parts < 2:
        return
    largest = [_find_largest_part(view, parts, int(value)) for value in np.unique(view[view > 0])]
    most = max(size for _, size in largest)
    kept = np.zeros(n_parts + 1, bool)
    kept[[part for part, size in largest if size >= min_share * most]] = True
    view[~kept[parts]] = 0


def _find_largest_part(view: Labels, parts: NDArray[np.int32], value: int) -> tuple[int, int]:
    """Return in which part the largest connected piece of a label is, and its size in voxels."""
    pieces, _ = ndimage.label(view == value)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    number = int(sizes.argmax())
    place = np.unravel_index(int((pieces == number).argmax()), pieces.shape)
    return int(parts[place]), int(sizes[number])
