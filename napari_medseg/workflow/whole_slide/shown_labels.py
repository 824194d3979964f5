"""Labels of a slide as arrays of which a viewer takes pieces, with the corrected fields in place."""

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import get_reason, report_damage
from napari_medseg.core.formats.decode_errors import DECODE_ERRORS
from napari_medseg.core.slides.block_cache import Block, BlockCache
from napari_medseg.core.slides.lazy_level import take_piece
from napari_medseg.workflow.whole_slide.chunks import Box, shift
from napari_medseg.workflow.whole_slide.corrections import CorrectedField, place_on_grid
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.label_pyramid import STORED_CHUNK_PX, LabelPyramid

MAX_CACHE_BYTES = 128 * 2**20
N_UNPACKED = 32
SMALL_STEP = 8
"""Levels that show every 8th pixel of the grid, or fewer, take them from the small arrays of the fields."""
FIRST_SHOWN_ID = 3_000_000_000
"""Corrected objects are shown under numbers from here on, so that none has the number of a predicted one."""


class LabelBlocks:
    """Parts of a pyramid as far as they are read: a viewer never waits for the disk.

    `read` returns at once. What is not read yet is shown from the coarsest level meanwhile, and read in a thread; what
    has changed is shown as it was. `version` grows with each block, so that a window knows when to draw again.

    Parameters
    ----------
    pyramid
        The labels, which may grow meanwhile; `forget` what has changed.
    max_bytes
        Of what is kept beside the coarsest level; more if the last view takes more: else it is read for ever.
    """

    def __init__(self, pyramid: LabelPyramid, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self.pyramid = pyramid
        self.version = 0
        self._max_bytes, self._cache, self._coarsest = max_bytes, BlockCache(max_bytes), len(pyramid.levels) - 1
        self._coarse: dict[Block, NDArray[Any]] = {}
        self._stale: set[Block] = set()
        self._reading: Block | None = None
        self._wanted: dict[Block, None] = {}
        self._thread: threading.Thread | None = None
        self._change = threading.Condition()
        height, width = pyramid.levels[-1].shape
        self._want(list(_list_blocks((slice(0, int(height)), slice(0, int(width))), self._coarsest)))

    def read(self, box: Box, level: int) -> NDArray[Any]:
        """Return a part of a level as far as it is read, as an array of its own; the rest is read next."""
        labels = np.empty((box[0].stop - box[0].start, box[1].stop - box[1].start), self.pyramid.dtype)
        missing: list[Block] = []
        blocks = list(_list_blocks(box, level))
        if level != self._coarsest:
            with self._change:
                n_bytes = len(blocks) * STORED_CHUNK_PX**2 * self.pyramid.dtype.itemsize
                self._cache.max_bytes = max(self._max_bytes, n_bytes)
        for block in blocks:
            place = self._get_place(block)
            common = _find_common(place, box)
            with self._change:
                known = self._get_known(block)
                if known is None or block in self._stale:
                    missing.append(block)
            labels[shift(common, box)] = self._enlarge(common, level) if known is None else known[shift(common, place)]
        if missing:
            self._want(missing)
        return labels

    def wait(self) -> None:
        """Return when all that was asked for is read."""
        with self._change:
            self._change.wait_for(lambda: self._thread is None)

    def close(self) -> None:
        """Read no more; the thread ends after its block."""
        with self._change:
            self._wanted.clear()

    def forget(self, box: Box | None) -> None:
        """Read a part of level 0, and what of other levels lies there, again; all of it if it is `None`."""

        def lies_there(block: Block) -> bool:
            level, *places = block
            side_px = STORED_CHUNK_PX * 2**level
            return box is None or all(
                place * side_px < side.stop and (place + 1) * side_px > side.start
                for place, side in zip(places, box, strict=True)
            )

        with self._change:
            being_read = () if self._reading is None else (self._reading,)
            kept = (*self._coarse, *self._cache.find(lambda _: True), *being_read)
            self._stale.update(filter(lies_there, kept))

    def _want(self, missing: list[Block]) -> None:
        """Read these blocks next, coarse ones first; those that were wanted before and are not seen any more, never."""
        with self._change:
            coarse = [block for block in self._wanted if block[0] == self._coarsest]
            self._wanted = dict.fromkeys([*coarse, *missing])
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_blocks, daemon=True, name="labels of a slide")
                self._thread.start()

    def _read_blocks(self) -> None:
        """Read what is wanted, and end when nothing is."""
        while True:
            with self._change:
                if not self._wanted:
                    self._thread = None
                    self._change.notify_all()
                    return
                block = next(iter(self._wanted))
                del self._wanted[block]
                self._stale.discard(block)  # before it is read: what changes meanwhile makes it stale again
                self._reading = block
            place = self._get_place(block)
            try:
                labels = self.pyramid.read(place, block[0])
            except DECODE_ERRORS as error:
                labels = np.zeros([side.stop - side.start for side in place], self.pyramid.dtype)
                report_damage(f"a part of the labels of the slide cannot be read: {get_reason(error)}.")
            with self._change:
                if block[0] == self._coarsest:
                    self._coarse[block] = labels
                else:
                    self._cache.put(block, labels)
                self._reading = None
                self.version += 1

    def _get_known(self, block: Block) -> NDArray[Any] | None:
        """Return a block that was read; those of the coarsest level stay, as they are shown in place of all others."""
        return self._coarse.get(block) if block[0] == self._coarsest else self._cache.get(block)

    def _enlarge(self, box: Box, level: int) -> NDArray[Any]:
        """Return a part of a level from the coarsest one: 0 where that is not read yet."""
        step = 2 ** (self._coarsest - level)
        rows, columns = (np.arange(side.start, side.stop) // step for side in box)
        piece = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        coarse = np.zeros([side.stop - side.start for side in piece], self.pyramid.dtype)
        for block in _list_blocks(piece, self._coarsest):
            with self._change:
                known = self._get_known(block)
            if known is not None:
                place = self._get_place(block)
                common = _find_common(place, piece)
                coarse[shift(common, piece)] = known[shift(common, place)]
        enlarged: NDArray[Any] = coarse[:, columns - columns[0]][rows - rows[0]]  # rows last: they are copied whole
        return enlarged

    def _get_place(self, block: Block) -> Box:
        level, row, column = block
        height, width = (int(side) for side in self.pyramid.levels[level].shape)
        top, left = row * STORED_CHUNK_PX, column * STORED_CHUNK_PX
        return slice(top, min(top + STORED_CHUNK_PX, height)), slice(left, min(left + STORED_CHUNK_PX, width))


@dataclass(frozen=True, eq=False)
class PackedField:
    """A field in place; its labels, and what was reviewed of it, are compressed.

    `small` has those pixels that coarse levels show, so that a view of the whole slide unpacks no field.
    """

    box: Box
    packed: bytes
    dtype: np.dtype[Any]
    small: tuple[NDArray[Any], NDArray[np.bool_]]

    @classmethod
    def pack(cls, box: Box, labels: NDArray[Any], reviewed: NDArray[np.bool_]) -> "PackedField":
        """Compress labels that lie in a box of the grid."""
        of_small = tuple(slice(-side.start % SMALL_STEP, None, SMALL_STEP) for side in box)
        small = (labels[of_small].copy(), reviewed[of_small].copy())
        return cls(box, zlib.compress(labels.tobytes() + reviewed.tobytes(), 1), labels.dtype, small)

    def unpack(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return labels and what was reviewed, both of the shape of the box."""
        shape = (self.box[0].stop - self.box[0].start, self.box[1].stop - self.box[1].start)
        n_pixels = shape[0] * shape[1]
        content = zlib.decompress(self.packed)
        labels = np.frombuffer(content, self.dtype, n_pixels).reshape(shape)
        reviewed = np.frombuffer(content, np.bool_, n_pixels, n_pixels * self.dtype.itemsize).reshape(shape)
        return labels, reviewed


class _UnpackedFields:
    """The fields that were drawn last, unpacked; all levels share them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[NDArray[Any], NDArray[np.bool_]]] = OrderedDict()

    def get(self, field: PackedField) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return labels and what was reviewed of a field."""
        arrays = self._kept.pop(id(field), None) or field.unpack()
        self._kept[id(field)] = arrays
        while len(self._kept) > N_UNPACKED:
            self._kept.popitem(last=False)
        return arrays


class ShownLabels:
    """One level of the labels, (y, x); indexing reads what is there at that moment."""

    ndim = 2

    def __init__(
        self, blocks: LabelBlocks, level: int, fields: Sequence[PackedField], unpacked: _UnpackedFields
    ) -> None:
        self._blocks, self._level, self._fields, self._unpacked = blocks, level, fields, unpacked
        height, width = blocks.pyramid.levels[level].shape
        self.shape = (int(height), int(width))
        self.dtype = blocks.pyramid.dtype
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:  # noqa: ANN401 - as of numpy
        """Return a piece; rows and columns are slices, or numbers, as of numpy."""
        return take_piece(index, self.shape, self._read)

    def _read(self, y: int, x: int, height: int, width: int) -> NDArray[Any]:
        box = (slice(y, y + height), slice(x, x + width))
        labels = self._blocks.read(box, self._level)
        for field in self._fields:
            _paste(field, labels, box, 2**self._level, self._unpacked)
        return labels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - as of numpy
        """Return the whole level; a viewer asks for that of the coarsest one."""
        return np.asarray(self[:], dtype=dtype)


def pack_fields(
    fields: Iterable[CorrectedField], grid: ModelGrid, dtype: np.dtype[Any], *, are_objects: bool
) -> list[PackedField]:
    """Put corrected fields on the grid and compress them, one by one; it may run in a thread.

    Parameters
    ----------
    fields
        Later ones lie on top.
    grid, dtype
        Those of the labels of the slide.
    are_objects
        Whether labels are numbers of objects; then each field gets numbers of its own.
    """
    packed = []
    for number, field in enumerate(fields):
        place = place_on_grid(field, grid)
        if place is not None:
            box, labels, reviewed = place
            first = FIRST_SHOWN_ID + number * 1_000_003 if are_objects else 0
            shown = np.where(labels > 0, labels.astype(np.int64) + first, 0).astype(dtype)
            packed.append(PackedField.pack(box, shown, reviewed))
    return packed


def make_shown_levels(blocks: LabelBlocks, fields: Sequence[PackedField]) -> list[ShownLabels]:
    """Return the levels of labels with corrected fields in place; later ones lie on top."""
    unpacked = _UnpackedFields()
    return [ShownLabels(blocks, level, fields, unpacked) for level in range(len(blocks.pyramid.levels))]


def _paste(field: PackedField, labels: NDArray[Any], piece: Box, step: int, unpacked: _UnpackedFields) -> None:
    """Draw a field into a piece of a level that holds every `step`-th pixel."""
    kept = SMALL_STEP if step % SMALL_STEP == 0 else 1
    targets, sources = [], []
    for side, along in zip(field.box, piece, strict=True):
        first = max(along.start, -(-side.start // step))
        last = min(along.stop, -(-side.stop // step))
        if last <= first:
            return
        targets.append(slice(first - along.start, last - along.start))
        begin, stride = (first * step - side.start) // kept, step // kept
        sources.append(slice(begin, begin + (last - first - 1) * stride + 1, stride))
    arrays = unpacked.get(field) if kept == 1 else field.small
    drawn, reviewed = (values[tuple(sources)] for values in arrays)
    labels[tuple(targets)][reviewed] = drawn[reviewed]


def _list_blocks(box: Box, level: int) -> Iterator[Block]:
    """Yield the stored blocks of a level in which a box lies."""
    rows, columns = (range(side.start // STORED_CHUNK_PX, -(-side.stop // STORED_CHUNK_PX)) for side in box)
    return product((level,), rows, columns)


def _find_common(one: Box, other: Box) -> Box:
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns
