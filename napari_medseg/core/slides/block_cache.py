"""Blocks of a slide in memory, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Block = tuple[int, int, int]
"""Shown level, row and column of a block."""


class BlockCache:
    """Blocks up to a number of bytes, `max_bytes`, which may change; those that were used last stay."""

    def __init__(self, max_bytes: int) -> None:
        self.n_bytes = 0
        self.max_bytes = max_bytes
        self._blocks: OrderedDict[Block, NDArray[Any]] = OrderedDict()

    def __contains__(self, block: Block) -> bool:
        return block in self._blocks

    def get(self, block: Block) -> NDArray[Any] | None:
        """Return the pixels of a block, and count it as used; `None` if it is not kept."""
        pixels = self._blocks.get(block)
        if pixels is not None:
            self._blocks.move_to_end(block)
        return pixels

    def put(self, block: Block, pixels: NDArray[Any]) -> None:
        """Keep a block, and forget those that were not used for longest."""
        before = self._blocks.pop(block, None)
        self._blocks[block] = pixels
        self.n_bytes += pixels.nbytes - (0 if before is None else before.nbytes)
        while self.n_bytes > self.max_bytes and len(self._blocks) > 1:
            _, oldest = self._blocks.popitem(last=False)
            self.n_bytes -= oldest.nbytes

    def drop(self, is_stale: Callable[[Block], bool]) -> None:
        """Forget some blocks."""
        for block in self.find(is_stale):
            self.n_bytes -= self._blocks.pop(block).nbytes

    def find(self, matches: Callable[[Block], bool]) -> list[Block]:
        """Return which blocks are kept, of those that match."""
        return [block for block in self._blocks if matches(block)]

    def clear(self) -> None:
        """Forget all blocks."""
        self._blocks.clear()
        self.n_bytes = 0
