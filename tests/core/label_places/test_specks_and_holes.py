"""Specks and holes are found where they are, and a place knows whether its labels have changed."""

import numpy as np
import pytest
from scipy import ndimage

from napari_medseg.core.label_places.place import compute_digest, find_bounding_box
from napari_medseg.core.label_places.specks_and_holes import MAX_PLACES, find_holes, find_specks


def make_labels(n_slices: int = 0) -> np.ndarray:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 10:60] = 1
    labels[3, 70] = 1
    labels[55:57, 5] = 1
    labels[20:23, 30:34] = 0
    labels[30, 40] = 2
    return labels if not n_slices else np.stack([labels * (n == 2) for n in range(n_slices)])


@pytest.mark.parametrize("n_slices", [0, 5])
def test_places_are_the_voxels_of_specks_and_holes(n_slices: int) -> None:
    labels = make_labels(n_slices)
    specks, n_specks, smallest = find_specks(labels, 1)
    z = (2,) if n_slices else ()
    assert (n_specks, smallest) == (2, 1)
    assert [place.centre for place in specks] == [(*z, 55, 5), (*z, 3, 70)], "the largest first"
    assert all(labels[place.centre] == 1 for place in specks)
    holes, n_holes = find_holes(labels, 1)
    if n_slices:
        assert n_holes == 0, "in a volume, what is open above and below is no hole"
    else:
        assert [(place.start, place.stop) for place in holes] == [((20, 30), (23, 34)), ((30, 40), (31, 41))]
        assert all(labels[place.centre] != 1 for place in holes)


def test_a_ring_has_a_centre_that_belongs_to_it() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[0:100] = 1
    labels[150:155, 150:155] = 1
    labels[151:154, 151:154] = 0
    (speck,), _, _ = find_specks(labels, 1)
    assert labels[speck.centre] == 1


def test_the_digest_changes_with_the_labels_there_and_with_nothing_else() -> None:
    labels = make_labels()
    speck = find_specks(labels, 1)[0][-1]
    assert compute_digest(labels.astype(np.uint32), speck.box) == speck.digest
    elsewhere, here, beside, moved = (labels.copy() for _ in range(4))
    elsewhere[20, 20] = 2
    here[3, 70] = 2
    beside[2, 70] = 1
    moved = np.roll(moved, 1, axis=1)
    digests = [compute_digest(changed, speck.box) for changed in (elsewhere, here, beside)]
    assert [digest == speck.digest for digest in digests] == [True, False, False]
    assert find_specks(moved, 1)[0][-1].digest != speck.digest


def test_many_specks_are_counted_and_not_all_listed() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[:200] = 1
    labels[210::4, ::4] = 1
    specks, n_specks, _ = find_specks(labels, 1)
    assert (len(specks), n_specks) == (MAX_PLACES, 48 * 100)


def test_one_piece_has_neither() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:5, 2:5] = 1
    assert find_specks(labels, 1) == ([], 0, 0)
    assert find_holes(labels, 1) == ([], 0)


@pytest.mark.parametrize("shape", [(1,), (5, 7), (4, 1, 9), (6, 5, 4)])
def test_the_bounding_box_is_that_of_scipy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        inside = np.zeros(shape, bool)
        inside[tuple(rng.integers(0, side, 3) for side in shape)] = True
        assert find_bounding_box(inside) == ndimage.find_objects(inside.astype(np.uint8))[0]
