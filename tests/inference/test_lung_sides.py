"""Strays among thousands of parts, as a network that has learnt little paints them."""

import tracemalloc

import numpy as np
from scipy import ndimage

from napari_medseg.inference.lung_sides import _split_at_bridges, reassign_stray_parts


def noise(shape: tuple[int, int], sigma: float, seed: int = 0) -> np.ndarray:
    """Two labels in blots of any shape, which touch all over."""
    rng = np.random.default_rng(seed)
    there, which = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(2))
    return np.where(there > 0, np.where(which > 0, 1, 2), 0).astype(np.uint8)


def moved_one_by_one(plane: np.ndarray, spacing_mm: tuple[float, float], bridge_mm: float) -> np.ndarray:
    """The definition: each part but a label's largest goes to the label that it shares most pixel sides with."""
    parts, owners = _split_at_bridges(plane, spacing_mm, bridge_mm / 2)
    largest = {value: max(np.flatnonzero(owners == value), key=lambda part: (parts == part).sum()) for value in (1, 2)}
    result = plane.copy()
    for part in range(1, len(owners)):
        shared = {1: 0, 2: 0}
        for row, column in np.argwhere(parts == part):
            for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] and parts[y, x] not in (0, part):
                    shared[int(plane[y, x])] += 1
        other = 3 - owners[part]
        if part != largest[owners[part]] and shared[other] > shared[int(owners[part])]:
            result[parts == part] = other
        elif part != largest[owners[part]] and other < owners[part] and shared[other] == shared[int(owners[part])] > 0:
            result[parts == part] = other  # of two that are as good, the first
    return result


def test_parts_go_where_they_touch_most() -> None:
    for seed in range(4):
        plane = noise((40, 48), 1.5, seed)
        wanted = moved_one_by_one(plane, (1.0, 1.0), 3.0)
        assert (wanted != plane).any()
        reassign_stray_parts(plane, (1.0, 1.0), 3.0)
        np.testing.assert_array_equal(plane, wanted)


def test_thousands_of_parts_need_no_memory_for_every_pair_of_them() -> None:
    plane = noise((512, 512), 1.0)
    tracemalloc.start()
    try:
        reassign_stray_parts(plane, (0.7, 0.7), 6.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * plane.size
