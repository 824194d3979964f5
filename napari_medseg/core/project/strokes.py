"""One edit of labels, stored as runs of consecutive voxels: small on disk even for a large brush.

Both lungs of a CT are 20 million voxels in 140,000 runs. What is done with them goes from run to run, or over the rows
between the first and the last one: an array with the place of each voxel would be twenty times as large as the labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOXEL_RUN_DTYPE = np.dtype([("start", "<u8"), ("length", "<u4"), ("old", "<u4"), ("new", "<u4")])
MAX_SPARSENESS = 32
"""Runs are written row by row if they fill at least one voxel of so many, else voxel by voxel."""
CHUNK_RUNS = 1 << 11
"""Runs that are handled together: a few slices of a CT, which stay in the processor's cache."""


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

    @classmethod
    def from_difference(cls, kind: StrokeKind, before: NDArray[Any], after: NDArray[Any], model: str = "") -> Self:
        """Pack the voxels in which two integer arrays of the same shape differ."""
        old, new = before.reshape(-1), after.reshape(-1)
        differs = old != new
        if not (low := int(differs.argmax())) and not differs[:1].any():
            return cls(kind, np.empty(0, VOXEL_RUN_DTYPE), model)
        high = differs.size - int(differs[::-1].argmax())
        old, new, differs = old[low:high], new[low:high], differs[low:high]
        breaks = (old[1:] != old[:-1]) | (new[1:] != new[:-1])
        breaks &= differs[1:] | differs[:-1]
        edges = np.concatenate(([0], np.flatnonzero(breaks) + 1, [differs.size]))
        start, length = edges[:-1], np.diff(edges)
        kept = differs[start]
        start, length = start[kept], length[kept]
        runs = np.empty(start.size, VOXEL_RUN_DTYPE)
        runs["start"], runs["length"], runs["old"], runs["new"] = start + low, length, old[start], new[start]
        return cls(kind, runs, model)

    @property
    def spans(self) -> "Spans":
        """Where its voxels are."""
        start = self.voxel_runs["start"].astype(np.int64)
        return Spans(start, start + self.voxel_runs["length"])

    @property
    def indices(self) -> NDArray[np.int64]:
        """Flat indices of the voxels, int64 (voxels,), ascending."""
        return self.spans.expand()

    @property
    def old(self) -> NDArray[np.uint32]:
        """Values before the edit, uint32 (voxels,)."""
        return np.repeat(self.voxel_runs["old"], self.voxel_runs["length"])

    @property
    def new(self) -> NDArray[np.uint32]:
        """Values after the edit, uint32 (voxels,)."""
        return np.repeat(self.voxel_runs["new"], self.voxel_runs["length"])

    def lies_outside(self, size: int) -> bool:
        """Whether runs leave labels of `size` voxels, or name more voxels than there are; needs no memory for them."""
        runs = self.voxel_runs
        if not runs.size:
            return False
        is_beyond = (runs["start"] > size) | (runs["start"] + runs["length"] > size)
        return bool(is_beyond.any()) or int(runs["length"].sum(dtype=np.uint64)) > size


class Spans(NamedTuple):
    """Voxels as flat C-order ranges: ascending, disjoint, int64 (spans,)."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int((self.stop - self.start).sum())

    def expand(self) -> NDArray[np.int64]:
        """Return the index of each voxel, int64 (voxels,), ascending."""
        lengths = self.stop - self.start
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if ends.size else 0
        return np.repeat(self.start - (ends - lengths), lengths) + np.arange(total)

    def crop(self, low: int, high: int) -> "Spans":
        """Return the part between two indices, counted from the first one."""
        first, last = np.searchsorted(self.stop, low, side="right"), np.searchsorted(self.start, high, side="left")
        start, stop = self.start[first:last], self.stop[first:last]
        return Spans(np.maximum(start, low) - low, np.minimum(stop, high) - low)

    def contain(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each index lies in a span, bool of the same shape."""
        at = np.searchsorted(self.start, indices, side="right") - 1
        return (at >= 0) & (indices < self.stop[at]) if self.start.size else np.zeros(indices.shape, np.bool_)

    def list_planes(self, n_pixels: int) -> list[int]:
        """Return the sorted planes of a volume with at least one voxel; each has `n_pixels`."""
        first, last = self.start // n_pixels, (self.stop - 1) // n_pixels
        n = int(last.max(initial=-1)) + 2
        n_open = np.cumsum(np.bincount(first, minlength=n) - np.bincount(last + 1, minlength=n))
        return [int(plane) for plane in np.flatnonzero(n_open)]

    def join(self, other: "Spans") -> "Spans":
        """Return the voxels of both."""
        return join_spans(np.concatenate([self.start, other.start]), np.concatenate([self.stop, other.stop]))

    def make_mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return a mask that is true in the spans, bool of a shape."""
        mask = np.zeros(shape, np.bool_)
        flat, (low, high) = mask.reshape(-1), self._limits
        if self.start.size and high - low <= MAX_SPARSENESS * self.n_voxels:
            flat[low:high] = self.repeat(np.ones(1, np.bool_))
        else:
            flat[self.expand()] = True
        return mask

    @property
    def _limits(self) -> tuple[int, int]:
        return (int(self.start[0]), int(self.stop[-1])) if self.start.size else (0, 0)

    def repeat(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return one value for each voxel from the first to the last: that of its span, 0 between them."""
        edges = np.empty(2 * self.start.size, np.int64)
        edges[::2], edges[1::2] = self.start, self.stop
        column = np.zeros(edges.size - 1, values.dtype)
        column[::2] = values
        return np.repeat(column, np.diff(edges))


def join_spans(start: NDArray[np.int64], stop: NDArray[np.int64]) -> Spans:
    """Return spans of ranges that may overlap and are in any order."""
    if not start.size:
        return Spans(np.empty(0, np.int64), np.empty(0, np.int64))
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(stop[order])
    first = np.flatnonzero(np.concatenate(([True], start[1:] > reach[:-1])))
    return Spans(start[first], reach[np.append(first[1:], start.size) - 1])


def find_edited_spans(strokes: Sequence[Stroke]) -> Spans:
    """Return the voxels that manual strokes changed, or called right, after the last reset."""
    touched: list[NDArray[Any]] = []
    for stroke in strokes:
        if stroke.kind is StrokeKind.RESET:
            touched.clear()
        elif stroke.kind is not StrokeKind.PREDICTION:
            touched.append(stroke.voxel_runs)
    runs = np.concatenate(touched) if touched else np.empty(0, VOXEL_RUN_DTYPE)
    start = runs["start"].astype(np.int64)
    return join_spans(start, start + runs["length"])


def find_edited_voxels(strokes: Sequence[Stroke]) -> NDArray[np.int64]:
    """Return the same as flat indices, int64, sorted, shape (n,)."""
    return find_edited_spans(strokes).expand()


def have_values(flat: NDArray[Any], voxel_runs: NDArray[Any], column: str) -> bool:
    """Return whether the voxels of runs have their values of a column, ``"old"`` or ``"new"``, in flat labels."""
    limit = np.iinfo(flat.dtype).max
    for spans, values in _iterate_chunks(voxel_runs, column):
        if values.max(initial=0) > limit:
            return False
        if (there := _view_dense(flat, spans)) is None:
            if not np.array_equal(flat[spans.expand()], np.repeat(values, spans.stop - spans.start)):
                return False
        elif _compute_differences(there, spans, values).any():
            return False
    return True


def write_values(flat: NDArray[Any], voxel_runs: NDArray[Any], column: str) -> None:
    """Write the values of a column of runs, ``"old"`` or ``"new"``, into flat labels whose type can hold them."""
    for spans, values in _iterate_chunks(voxel_runs, column):
        if (there := _view_dense(flat, spans)) is None:
            flat[spans.expand()] = np.repeat(values, spans.stop - spans.start)
        else:
            there ^= _compute_differences(there, spans, values)


def _compute_differences(there: NDArray[Any], spans: Spans, values: NDArray[Any]) -> NDArray[Any]:
    """Return the bits in which dense labels differ from the values of spans; 0 between the spans.

    A masked copy takes twice as long, as it goes voxel by voxel.
    """
    differences = spans.repeat(values.astype(there.dtype))
    differences ^= there
    differences &= spans.repeat(~np.zeros(1, there.dtype))
    return differences


def _iterate_chunks(voxel_runs: NDArray[Any], column: str) -> Iterator[tuple[Spans, NDArray[Any]]]:
    for first in range(0, voxel_runs.size, CHUNK_RUNS):
        runs = voxel_runs[first : first + CHUNK_RUNS]
        start = runs["start"].astype(np.int64)
        yield Spans(start, start + runs["length"]), runs[column]


def _view_dense(flat: NDArray[Any], spans: Spans) -> NDArray[Any] | None:
    """Return the labels from the first to the last voxel of spans; `None` if most of these are outside of the spans.

    Also `None` if they do not ascend, as in a journal that something else wrote.
    """
    if (spans.start[1:] < spans.stop[:-1]).any() or (spans.stop < spans.start).any():
        return None
    low, high = int(spans.start[0]), int(spans.stop[-1])
    return flat[low:high] if high - low <= MAX_SPARSENESS * spans.n_voxels else None


class PreparedStroke(NamedTuple):
    """A stroke of many voxels, and what a thread computed for it.

    Parameters
    ----------
    stroke
        The stroke.
    labels
        The labels of the draft after it.
    n_changed
        Number of their voxels that differ from the prediction.
    version
        `Draft.version` of the labels before it.
    """

    stroke: Stroke
    labels: NDArray[Any]
    n_changed: int
    version: int


def _pack_voxel_runs(flat: NDArray[np.int64], old: NDArray[np.uint32], new: NDArray[np.uint32]) -> NDArray[Any]:
    if not flat.size:
        return np.empty(0, VOXEL_RUN_DTYPE)
    breaks = (np.diff(flat) != 1) | (old[1:] != old[:-1]) | (new[1:] != new[:-1])
    starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    runs = np.empty(starts.size, VOXEL_RUN_DTYPE)
    runs["start"], runs["old"], runs["new"] = flat[starts], old[starts], new[starts]
    runs["length"] = np.diff(np.concatenate((starts, [flat.size])))
    return runs
