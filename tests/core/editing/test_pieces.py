"""The piece under the cursor is found from a growing box."""

import numpy as np
import pytest
from editing_phantoms import DISK_PX, get_centre, make_nuclei
from scipy import ndimage

from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError


def test_piece_of_one_nucleus_among_600() -> None:
    labels = make_nuclei()
    piece = find_piece(labels, get_centre(312))
    assert piece.value == 313
    assert piece.n_voxels == DISK_PX
    y, x = get_centre(312)
    assert piece.box == (slice(y - 8, y + 9), slice(x - 8, x + 9))
    assert piece.contains((y, x - 8))
    assert not piece.contains((y, x - 9))
    assert not piece.contains((y - 8, x - 8))


@pytest.mark.parametrize("shape", [(300, 280), (30, 100, 110)])
def test_winding_piece_is_followed_as_far_as_it_goes(shape: tuple[int, ...]) -> None:
    labels = (ndimage.gaussian_filter(np.random.default_rng(3).normal(size=shape), 2.0) > 0.02).astype(np.uint8)
    expected, _ = ndimage.label(labels, np.ones((3,) * len(shape)))
    for seed in np.argwhere(labels)[:: np.count_nonzero(labels) // 7]:
        piece = find_piece(labels, seed)
        there = expected == expected[tuple(seed)]
        assert piece.n_voxels == np.count_nonzero(there)
        assert np.array_equal(there[piece.box], piece.mask)


def test_corners_connect_and_values_part() -> None:
    labels = np.array([[1, 0, 2], [0, 1, 2], [2, 0, 1]], np.uint8)
    assert find_piece(labels, (0, 0)).n_voxels == 3
    assert find_piece(labels, (0, 2)).n_voxels == 2


def test_piece_on_a_slice_and_in_the_volume() -> None:
    labels = np.zeros((5, 9, 9), np.uint8)
    labels[1:4, 2:4, 2:4] = labels[1:4, 6:8, 2:4] = 1
    labels[3, 4:6, 2:4] = 1  # a bridge on one slice
    assert find_piece(labels, (1, 2, 2)).n_voxels == 28
    plane = find_piece_in_plane(labels, (1, 2, 2))
    assert (plane.n_voxels, plane.plane, plane.is_planar) == (4, 1, True)
    assert find_piece_in_plane(labels, (3, 2, 2)).n_voxels == 12
    assert find_piece(labels, (1, 2, 2)).plane is None


@pytest.mark.parametrize("seed", [(0, 0), (9, 9), (0, 9), (9, 0)])
def test_piece_in_the_corner_of_the_image(seed: tuple[int, int]) -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[seed] = 1
    assert find_piece(labels, seed).box == tuple(slice(place, place + 1) for place in seed)


@pytest.mark.parametrize(
    ("seed", "reason"), [((0, 0), "no label"), ((10, 0), "outside"), ((-1, 0), "outside"), ((1,), "outside")]
)
def test_nothing_under_the_cursor_is_refused(seed: tuple[int, ...], reason: str) -> None:
    with pytest.raises(MedSegError, match=reason):
        find_piece(np.zeros((10, 10), np.uint8), seed)
