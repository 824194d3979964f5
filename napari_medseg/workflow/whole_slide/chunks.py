"""Chunks of a slide: what one step of a prediction shows the model, and which part of the labels it decides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.model_card import ModelCard

CORE_PX = 1920
"""With its surroundings a chunk is 2080 px wide: three tiles of 768 px on a CPU, and one pass on a GPU."""
HALO_PX = 80
"""Surroundings that a model is shown on each side: wider than a nucleus at 40x, and than what a tile's edge spoils."""
FIELD_PX = 1024
"""What a model that reduces its images is shown at once: as much as of a field that a person draws."""
ALIGNMENT_PX = 32

Box = tuple[slice, slice]
"""Rows and columns of the grid."""


@dataclass(frozen=True)
class ChunkGrid:
    """The division of a grid of (height, width) into chunks; a chunk has a number, row by row.

    `core_px` is the side of the part that a chunk decides, `halo_px` the width of its surroundings.
    """

    height: int
    width: int
    core_px: int
    halo_px: int

    @property
    def n_rows(self) -> int:
        """Number of rows of chunks."""
        return -(-self.height // self.core_px)

    @property
    def n_columns(self) -> int:
        """Number of columns of chunks."""
        return -(-self.width // self.core_px)

    def get_core(self, number: int) -> Box:
        """Return the part that a chunk decides."""
        row, column = divmod(number, self.n_columns)
        top, left = row * self.core_px, column * self.core_px
        return slice(top, min(top + self.core_px, self.height)), slice(left, min(left + self.core_px, self.width))

    def get_window(self, number: int) -> Box:
        """Return what the model is shown of a chunk: its core and its surroundings, as far as the slide goes."""
        rows, columns = self.get_core(number)
        return (
            slice(max(0, rows.start - self.halo_px), min(self.height, rows.stop + self.halo_px)),
            slice(max(0, columns.start - self.halo_px), min(self.width, columns.stop + self.halo_px)),
        )


def divide_grid(height: int, width: int, card: ModelCard) -> ChunkGrid:
    """Return the chunks for a model: as large as it takes them without reducing them."""
    longest = card.preprocessing.max_side_px
    core = CORE_PX if longest >= CORE_PX + 2 * HALO_PX else FIELD_PX - 2 * HALO_PX
    return ChunkGrid(height, width, core, HALO_PX)


def find_chunks_on_tissue(chunks: ChunkGrid, tissue: NDArray[np.bool_]) -> list[int]:
    """Return the numbers of the chunks that hold tissue, row by row.

    Parameters
    ----------
    chunks
        The division.
    tissue
        bool (h, w): a reduced picture of the whole slide, True on tissue.
    """
    found = []
    scale_y, scale_x = tissue.shape[0] / chunks.height, tissue.shape[1] / chunks.width
    for number in range(chunks.n_rows * chunks.n_columns):
        rows, columns = chunks.get_core(number)
        top, left = int(rows.start * scale_y), int(columns.start * scale_x)
        bottom = max(top + 1, int(np.ceil(rows.stop * scale_y)))
        right = max(left + 1, int(np.ceil(columns.stop * scale_x)))
        if tissue[top:bottom, left:right].any():
            found.append(number)
    return found


def shift(box: Box, origin: Box) -> Box:
    """Return a box relative to the upper left corner of another one."""
    return (
        slice(box[0].start - origin[0].start, box[0].stop - origin[0].start),
        slice(box[1].start - origin[1].start, box[1].stop - origin[1].start),
    )
