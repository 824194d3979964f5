"""The blocks of a slide that a window shows: read in threads, kept up to a number of bytes, and never waited for.

`SlideBlocks.get_piece` returns at once. Blocks that are not read yet are shown from a coarser level meanwhile, and are
read in threads: those of the newest piece first, and earlier ones that are no longer seen not at all. `version` grows
with each block, so that a window knows when to draw again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import DECODE_ERRORS
from napari_medseg.core.slides.block_cache import Block, BlockCache
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.shown_levels import list_shown_levels, reduce_pixels
from napari_medseg.core.slides.slide import Slide, find_overlap

BLOCK_PX = 512
MAX_CACHE_BYTES = 256 * 2**20
MAX_FACTOR = 8
"""A level that the file lacks is made of the finer one if it is at most so many times coarser."""
N_THREADS = 3
UNKNOWN, DAMAGED = 235, 150
"""Grey of what was not read yet, and of what cannot be read."""
MIN_DAMAGE_PX = 256
"""So small a part with damage is grey as a whole."""


class SlideBlocks:
    """Reads a slide in threads for a window.

    Parameters
    ----------
    path
        The slide; each thread opens it for itself.
    max_bytes
        Of the blocks that are kept; those that were used last stay.

    Raises
    ------
    MedSegError
        If the slide cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self.path = path
        self.version = 0
        self._blocks = BlockCache(max_bytes)
        self._wanted: list[Block] = []
        self._reading: set[Block] = set()
        self._damages: dict[str, None] = {}
        self._is_closed = False
        self._change = threading.Condition()
        slide = open_slide(path)
        self.name, self.spacing_mm = slide.name, slide.spacing_mm
        self.file_levels = slide.levels
        self.levels = list_shown_levels(slide)
        coarsest = self.levels[-1]
        self._overview: NDArray[np.uint8] = np.full((coarsest.height, coarsest.width, 3), UNKNOWN, np.uint8)
        self._unread = [slide]  # open, and of no thread yet
        work: list[Callable[[], None]] = [self._read_blocks] * N_THREADS
        if coarsest.factor > 1:
            work.append(self._fill_overview)
        else:
            self._overview = self._read(slide, (len(self.levels) - 1, 0, 0), coarsest.height, coarsest.width)
        self._threads = [threading.Thread(target=each, daemon=True, name="slide blocks") for each in work]
        for thread in self._threads:
            thread.start()

    @property
    def is_reading(self) -> bool:
        """Whether blocks of the newest piece are still to be read."""
        with self._change:
            return bool(self._wanted or self._reading)

    @property
    def n_bytes(self) -> int:
        """Bytes of the blocks that are kept."""
        return self._blocks.n_bytes

    @property
    def overview(self) -> NDArray[np.uint8]:
        """The coarsest shown level, (height, width, 3)."""
        return self._overview

    def take_damages(self) -> list[str]:
        """Return the messages about parts that cannot be read which were not returned before."""
        with self._change:
            damages, self._damages = list(self._damages), {}
        return damages

    def close(self) -> None:
        """Stop reading and close the files; the threads end after their block."""
        with self._change:
            self._is_closed = True
            self._wanted.clear()
            self._blocks.clear()
            unread, self._unread = self._unread, []
            self._change.notify_all()
        for slide in unread:
            slide.close()

    def get_piece(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return a piece of a shown level as far as it is read; the rest comes from coarser levels, and is read next.

        Parameters
        ----------
        level
            Number of the shown level.
        y, x, height, width
            The piece in pixels of that level, inside of it.

        Returns
        -------
        NDArray
            (height, width, 3).
        """
        if level == len(self.levels) - 1:
            return self._overview[y : y + height, x : x + width]
        piece = np.empty((height, width, 3), np.uint8)
        missing = []
        for block in self._list_blocks(level, y, x, height, width):
            common = find_overlap((y, x, height, width), self._get_box(block))
            if common is None:
                continue
            with self._change:
                pixels = self._blocks.get(block)
            if pixels is None:
                missing.append(block)
                box = (y + common.of_piece[0].start, x + common.of_piece[1].start)
                target = piece[common.of_piece]
                target[:] = self._enlarge(level, *box, *target.shape[:2])
            else:
                piece[common.of_piece] = pixels[common.of_part]
        around = self._list_blocks(level, y - BLOCK_PX, x - BLOCK_PX, height + 2 * BLOCK_PX, width + 2 * BLOCK_PX)
        self._want(missing, around, (y + height / 2, x + width / 2))
        return piece

    def _want(self, missing: list[Block], around: Iterable[Block], centre: tuple[float, float]) -> None:
        """Read these blocks next, from the centre outwards, then those around; forget what was wanted before."""

        def distance(block: Block) -> float:
            _, row, column = block
            y, x = (row + 0.5) * BLOCK_PX - centre[0], (column + 0.5) * BLOCK_PX - centre[1]
            return y * y + x * x

        with self._change:
            seen = [*sorted(missing, key=distance), *sorted(around, key=distance)]
            fresh = (block for block in dict.fromkeys(seen) if block not in self._blocks)
            self._wanted = [block for block in fresh if block not in self._reading]
            self._change.notify_all()

    def _enlarge(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return a piece from the finest coarser level whose blocks are read; the overview always is."""
        here = self.levels[level]
        for number in range(level + 1, len(self.levels)):
            coarse = self.levels[number]
            ratio = coarse.downsample / here.downsample
            rows = np.minimum(((y + np.arange(height) + 0.5) / ratio).astype(np.intp), coarse.height - 1)
            columns = np.minimum(((x + np.arange(width) + 0.5) / ratio).astype(np.intp), coarse.width - 1)
            top, left = int(rows[0]), int(columns[0])
            source = self._find_piece(number, top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)
            if source is not None:
                pixels: NDArray[np.uint8] = source[rows - top][:, columns - left]
                return pixels
        return np.full((height, width, 3), UNKNOWN, np.uint8)

    def _find_piece(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8] | None:
        """Return a piece if all of its blocks are read, else `None`; nothing is wanted."""
        if level == len(self.levels) - 1:
            return self._overview[y : y + height, x : x + width]
        piece = np.empty((height, width, 3), np.uint8)
        for block in self._list_blocks(level, y, x, height, width):
            with self._change:
                pixels = self._blocks.get(block)
            if pixels is None:
                return None
            common = find_overlap((y, x, height, width), self._get_box(block))
            if common is not None:
                piece[common.of_piece] = pixels[common.of_part]
        return piece

    def _list_blocks(self, level: int, y: int, x: int, height: int, width: int) -> Iterator[Block]:
        of_level = self.levels[level]
        rows = range(max(0, y // BLOCK_PX), -(-min(y + height, of_level.height) // BLOCK_PX))
        columns = range(max(0, x // BLOCK_PX), -(-min(x + width, of_level.width) // BLOCK_PX))
        return ((level, row, column) for row in rows for column in columns)

    def _get_box(self, block: Block) -> tuple[int, int, int, int]:
        level, row, column = block
        y, x = row * BLOCK_PX, column * BLOCK_PX
        of_level = self.levels[level]
        return (y, x, min(BLOCK_PX, of_level.height - y), min(BLOCK_PX, of_level.width - x))

    def _read_blocks(self) -> None:
        """Read wanted blocks until the slide is closed; this is what a thread does."""
        slide = self._take_slide()
        while slide is not None:
            with self._change:
                while not self._wanted and not self._is_closed:
                    self._change.wait()
                if self._is_closed:
                    break
                block = self._wanted.pop(0)
                self._reading.add(block)
            _, _, height, width = self._get_box(block)
            pixels = self._read(slide, block, height, width)
            with self._change:
                self._reading.discard(block)
                if not self._is_closed:
                    self._blocks.put(block, pixels)
                    self.version += 1
        if slide is not None:
            slide.close()

    def _take_slide(self) -> Slide | None:
        """Return an open slide for a thread; `None` if it cannot be opened any more."""
        with self._change:
            if self._unread:
                return self._unread.pop()
        with suppress(MedSegError):
            return open_slide(self.path)
        return None

    def _read(self, slide: Slide, block: Block, height: int, width: int) -> NDArray[np.uint8]:
        """Read pixels of a shown level from the upper left corner of a block on; grey where the file is damaged."""
        level, row, column = block
        shown = self.levels[level]
        if shown.factor > MAX_FACTOR:  # it would take too long; the overview becomes complete in its own time
            return self._enlarge_overview(block, height, width)
        of_file = slide.levels[shown.of_file]
        y, x = row * BLOCK_PX * shown.factor, column * BLOCK_PX * shown.factor
        rows, columns = min(height * shown.factor, of_file.height - y), min(width * shown.factor, of_file.width - x)
        return reduce_pixels(self._read_around_damage(slide, shown.of_file, y, x, rows, columns), shown.factor)

    def _read_around_damage(
        self, slide: Slide, level: int, y: int, x: int, height: int, width: int
    ) -> NDArray[np.uint8]:
        """Read a part of a level of the file; what cannot be read is grey, as few pixels as possible."""
        try:
            return slide.read(level, y, x, height, width)
        except (MedSegError, *DECODE_ERRORS) as error:
            if max(height, width) <= MIN_DAMAGE_PX:
                with self._change:
                    self._damages[str(error)] = None
                return np.full((height, width, 3), DAMAGED, np.uint8)
        rows, columns = _halve(height), _halve(width)
        return np.concatenate(
            [
                np.concatenate(
                    [self._read_around_damage(slide, level, y + top, x + left, high, wide) for left, wide in columns], 1
                )
                for top, high in rows
            ]
        )

    def _enlarge_overview(self, block: Block, height: int, width: int) -> NDArray[np.uint8]:
        here, coarsest = self.levels[block[0]], self.levels[-1]
        ratio = coarsest.downsample / here.downsample
        rows = np.minimum((block[1] * BLOCK_PX + np.arange(height)) / ratio, coarsest.height - 1).astype(np.intp)
        columns = np.minimum((block[2] * BLOCK_PX + np.arange(width)) / ratio, coarsest.width - 1).astype(np.intp)
        pixels: NDArray[np.uint8] = self._overview[rows][:, columns]
        return pixels

    def _fill_overview(self) -> None:
        """Make the overview of a file without reduced copies, strip by strip; it takes as long as reading all of it."""
        slide = self._take_slide()
        if slide is None:
            return
        shown = self.levels[-1]
        of_file, step = slide.levels[shown.of_file], shown.factor * max(1, BLOCK_PX // shown.factor)
        for y in range(0, of_file.height, step):
            for x in range(0, of_file.width, step):
                if self._is_closed:
                    slide.close()
                    return
                height, width = min(step, of_file.height - y), min(step, of_file.width - x)
                part = self._read_around_damage(slide, shown.of_file, y, x, height, width)
                pixels = reduce_pixels(part, shown.factor)
                top, left = y // shown.factor, x // shown.factor
                self._overview[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
            with self._change:
                self._blocks.drop(lambda block: self.levels[block[0]].factor > MAX_FACTOR)
                self.version += 1
        slide.close()


def _halve(length: int) -> list[tuple[int, int]]:
    """Return start and length of both halves, the first one a power of two so that it ends with a tile."""
    if length <= MIN_DAMAGE_PX:
        return [(0, length)]
    first = 1 << (length - 1).bit_length() - 1
    return [(0, first), (first, length - first)]
