"""Where the network's answers gather: labels and doubt on the image's own grid, a batch or a band of rows at a time."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.inference.transforms import Prepared, most_likely, restore
from napari_medseg.inference.uncertainty import as_percent, case_uncertainty, doubt, sampled_doubt


class Answer:
    """Labels of all planes of an image, filled in any order; a plane may be put again, as after an out-of-memory.

    Parameters
    ----------
    shape
        (n, y, x) of the image's own planes.
    n_classes
        Labels and background.
    with_map
        Whether to keep the doubt of every voxel, as uint8 per cent, in `doubt_map`.
    """

    def __init__(self, shape: tuple[int, int, int], n_classes: int, with_map: bool) -> None:
        self.n_classes = n_classes
        self.labels: NDArray[np.uint8 | np.uint16] = np.zeros(shape, np.uint8 if n_classes <= 256 else np.uint16)
        self.doubt_map: NDArray[np.uint8] | None = np.zeros(shape, np.uint8) if with_map else None
        self._figures = np.zeros((shape[0], 3))

    @property
    def uncertainty(self) -> float:
        """The figure of the whole case."""
        doubts, labelled, voxels = self._figures.sum(axis=0)
        return case_uncertainty(float(doubts), int(labelled), int(voxels))

    def put_plane(self, plane: int, logits: Tensor, prepared: Prepared) -> None:
        """Take the logits (1, classes, h, w) of one whole plane."""
        self.labels[plane] = most_likely(logits, prepared)[0]
        inside = logits[..., : prepared.plane_shape[0], : prepared.plane_shape[1]]
        self._figures[plane] = sampled_doubt(inside)
        if self.doubt_map is not None:
            self.doubt_map[plane] = as_percent(restore(doubt(logits)[:, None], prepared))[0, 0]

    def begin_plane(self, plane: int) -> None:
        """Forget what was put of a plane that comes in bands."""
        self._figures[plane] = 0

    def put_rows(self, plane: int, first: int, rows: Tensor, prepared: Prepared) -> None:
        """Take the finished rows (1, classes, rows, w) from `first` on, of a plane that is not resampled."""
        last = min(first + rows.shape[-2], prepared.plane_shape[0])
        if last <= first:
            return
        band = (last - first, prepared.plane_shape[1])
        part = replace(prepared, plane_shape=band, native_plane_shape=band)
        self.labels[plane, first:last] = most_likely(rows, part)[0]
        inside = restore(rows, part)
        self._figures[plane] += sampled_doubt(inside)
        if self.doubt_map is not None:
            self.doubt_map[plane, first:last] = as_percent(doubt(inside))[0]


class Bands:
    """Blends the tiles of one plane from top to bottom and gives each row away when nothing more can change it.

    Only one row of tiles is ever in memory, not a plane for each class.
    """

    def __init__(self, n_classes: int, height: int, width: int, device: torch.device) -> None:
        self._sums = torch.zeros((1, n_classes, height, width), device=device)
        self.first = 0

    def add(self, logits: Tensor, left: int, weights: Tensor) -> None:
        """Blend in a tile (classes, height, w) whose first column is `left`."""
        self._sums[0, :, :, left : left + logits.shape[-1]].addcmul_(logits, weights)

    def take(self, until: int) -> Tensor:
        """Return the rows from `first` to `until` (excluded) as (1, classes, rows, width) and move down to `until`."""
        n_rows = until - self.first
        finished = self._sums[:, :, :n_rows]
        rest = torch.zeros_like(self._sums)
        rest[:, :, : self._sums.shape[2] - n_rows] = self._sums[:, :, n_rows:]
        self._sums, self.first = rest, until
        return finished
