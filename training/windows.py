"""Windows that cover a plane and overlap, as the nuclei of MoNuSeg are usually cut: 36 of 256 px in 1000 x 1000 px."""

import numpy as np


def window_centres(shape: tuple[int, ...], side_px: int, overlap_px: int) -> list[tuple[float, float]]:
    """Row and column of the centres of all windows, row by row.

    Parameters
    ----------
    shape
        (h, w) of the picture. A side shorter than the window has one window about its middle.
    side_px, overlap_px
        Side of a window; the least that two neighbours share. There are as few windows as that allows, evenly spread,
        the outer ones at the picture's border.
    """
    rows, columns = (_centres(length, side_px, overlap_px) for length in shape[:2])
    return [(row, column) for row in rows for column in columns]


def _centres(length: int, side_px: int, overlap_px: int) -> list[float]:
    if length <= side_px:
        return [length / 2]
    count = -(-(length - overlap_px) // (side_px - overlap_px))
    return [float(start) + side_px / 2 for start in np.linspace(0, length - side_px, count).round()]
