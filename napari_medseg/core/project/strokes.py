"""One edit of labels, stored as runs of consecutive voxels: small on disk even for a large brush."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOXEL_RUN_DTYPE = np.dtype([("start", "<u8"), ("length", "<u4"), ("old", "<u4"), ("new", "<u4")])


class StrokeKind(IntEnum):
    """Origin of an edit. The numbers are stored in journals."""

    PAINT = 1
    CARRIED_OVER = 2
    PREDICTION = 3
    RESET = 4


@dataclass(frozen=True, eq=False)
class Stroke:
    """Voxels that changed together and are undone together.

    Parameters
    ----------
    kind
        ``PAINT``: edited by hand; ``CARRIED_OVER``: taken from an earlier correction of the case; ``PREDICTION``: a new
        prediction outside the edited voxels; ``RESET``: reset to the prediction.
    voxel_runs
        Structured array (runs,) of `VOXEL_RUN_DTYPE`: flat C-order `start`, `length`, `old` and `new` label value.
    model
        Version that made the labels, for a ``PREDICTION``.
    """

    kind: StrokeKind
    voxel_runs: NDArray[Any]
    model: str = ""

    @classmethod
    def from_voxels(cls, kind: StrokeKind, indices: ArrayLike, old: ArrayLike, new: ArrayLike, model: str = "") -> Self:
        """Pack voxels into runs.

        Parameters
        ----------
        indices
            Flat C-order indices in any order. For a repeated index, its first old and its last new value are used.
        old, new
            Label values before and after, one per index or one for all.
        """
        flat = np.asarray(indices, dtype=np.int64).ravel()
        olds = np.broadcast_to(np.asarray(old, dtype=np.uint32).ravel(), flat.shape)
        news = np.broadcast_to(np.asarray(new, dtype=np.uint32).ravel(), flat.shape)
        if flat.size > 1 and not bool((flat[1:] > flat[:-1]).all()):
            order = np.argsort(flat, kind="stable")
            flat, olds, news = flat[order], olds[order], news[order]
            first = np.concatenate(([True], flat[1:] != flat[:-1]))
            last = np.concatenate((first[1:], [True]))
            flat, olds, news = flat[first], olds[first], news[last]
        return cls(kind, _pack_voxel_runs(flat, olds, news), model)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Flat indices of the voxels, int64 (voxels,), ascending."""
        lengths = self.voxel_runs["length"].astype(np.int64)
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if ends.size else 0
        return np.repeat(self.voxel_runs["start"].astype(np.int64) - (ends - lengths), lengths) + np.arange(total)

    @property
    def old(self) -> NDArray[np.uint32]:
        """Values before the edit, uint32 (voxels,)."""
        return np.repeat(self.voxel_runs["old"], self.voxel_runs["length"])

    @property
    def new(self) -> NDArray[np.uint32]:
        """Values after the edit, uint32 (voxels,)."""
        return np.repeat(self.voxel_runs["new"], self.voxel_runs["length"])


def _pack_voxel_runs(flat: NDArray[np.int64], old: NDArray[np.uint32], new: NDArray[np.uint32]) -> NDArray[Any]:
    if not flat.size:
        return np.empty(0, VOXEL_RUN_DTYPE)
    breaks = (np.diff(flat) != 1) | (old[1:] != old[:-1]) | (new[1:] != new[:-1])
    starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    runs = np.empty(starts.size, VOXEL_RUN_DTYPE)
    runs["start"], runs["old"], runs["new"] = flat[starts], old[starts], new[starts]
    runs["length"] = np.diff(np.concatenate((starts, [flat.size])))
    return runs
