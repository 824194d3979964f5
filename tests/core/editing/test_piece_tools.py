"""Tools for the piece under the cursor, with exact counts."""

import numpy as np
import pytest
from editing_phantoms import LESIONS, LUNGS, NUCLEI, apply, freeze, get_centre, make_block, make_nuclei

from napari_medseg.core.editing import piece_tools, whole_label
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError

CUBE = (slice(1, 6), slice(4, 14), slice(4, 14))
SPECK = (slice(1, 2), slice(18, 19), slice(1, 3))
SPACING = (2.5, 1.0, 1.0)


def make_lungs() -> Canvas:
    return Canvas(freeze(make_block((7, 20, 20), (CUBE, 1), (SPECK, 1))), LUNGS, SPACING)


def test_relabel() -> None:
    canvas = make_lungs()
    edit = piece_tools.relabel_piece(canvas, find_piece(canvas.labels, (2, 5, 5)), 2)
    assert np.bincount(apply(canvas, edit).ravel()).tolist() == [2800 - 502, 2, 500]
    assert edit.message == "right lung is now left lung: 500 voxels"
    edit = piece_tools.relabel_piece(canvas, find_piece_in_plane(canvas.labels, (2, 5, 5)), 2)
    assert edit.message == "right lung is now left lung: 100 px"
    piece = find_piece(canvas.labels, (2, 5, 5))
    assert not apply(canvas, piece_tools.relabel_piece(canvas, piece, 0))[CUBE].any()
    with pytest.raises(MedSegError, match="already"):
        piece_tools.relabel_piece(canvas, piece, 1)
    with pytest.raises(MedSegError, match=r"no label 3 here; choose one of \[1, 2\]"):
        piece_tools.relabel_piece(canvas, piece, 3)


def test_second_most_likely_label_is_offered_first() -> None:
    labels = make_block((8, 8), ((slice(2, 6), slice(2, 6)), 1))
    probability = np.zeros((4, 8, 8), np.uint8)
    probability[1, 2:6, 2:6], probability[3, 2:6, 2:6], probability[2, 2:6, 2:6] = 120, 80, 55
    canvas = Canvas(labels, LESIONS, probability=probability)
    piece = find_piece(labels, (3, 3))
    assert piece_tools.rank_labels(canvas, piece) == [3, 2]
    assert piece_tools.rank_labels(Canvas(labels, LESIONS), piece) == [2, 3]
    fewer = Canvas(labels, LESIONS, probability=probability[:3])  # a model without the third label
    assert piece_tools.rank_labels(fewer, piece) == [2, 3]


def test_delete_one_of_600_nuclei() -> None:
    canvas = Canvas(freeze(make_nuclei(first=65_535 - 600 + 1)), NUCLEI)
    edit = piece_tools.delete_piece(canvas, find_piece(canvas.labels, get_centre(599)))
    assert edit.message == "deleted nucleus 65535: 197 px"
    assert np.unique(apply(canvas, edit)).size == 600


def test_keep_only_this_piece() -> None:
    canvas = make_lungs()
    edit = piece_tools.keep_only_piece(canvas, find_piece(canvas.labels, (2, 5, 5)))
    assert (edit.n_voxels, edit.message) == (2, "kept only this piece of right lung, deleted 2 voxels of others")
    assert apply(canvas, edit).sum() == 500
    edit = piece_tools.keep_only_piece(canvas, find_piece_in_plane(canvas.labels, (1, 18, 1)))
    assert edit.n_voxels == 100
    with pytest.raises(MedSegError, match="no other piece"):
        piece_tools.keep_only_piece(canvas, find_piece_in_plane(canvas.labels, (2, 5, 5)))


def test_fill_holes_of_a_slice_and_cavities_of_a_volume() -> None:
    labels = make_block((7, 20, 20), (CUBE, 1))
    labels[3, 8:10, 8:10] = 0  # a cavity
    labels[:, 6, 6] = 0  # a tunnel: a hole on each slice, open in the volume
    labels[3, 12, 12] = 2
    canvas = Canvas(freeze(labels), LUNGS, SPACING)
    filled = apply(canvas, piece_tools.fill_piece_holes(canvas, find_piece(labels, (2, 5, 5))))
    assert (filled == 1).sum() == 500 - 5 - 1
    filled = apply(canvas, piece_tools.fill_piece_holes(canvas, find_piece_in_plane(labels, (3, 5, 5))))
    assert (filled[3] == 1).sum() == 99
    assert filled[3, 12, 12] == 2
    canvas = make_lungs()
    with pytest.raises(MedSegError, match="no holes"):
        piece_tools.fill_piece_holes(canvas, find_piece(canvas.labels, (2, 5, 5)))


def test_grow_and_shrink_go_by_millimetres() -> None:
    canvas = make_lungs()
    piece = find_piece(canvas.labels, (2, 5, 5))
    grown = apply(canvas, piece_tools.grow_piece(canvas, piece, 1.0))
    assert (grown[1:6] == 1).sum() == 5 * (100 + 40) + 2
    assert not grown[[0, 6]].any()  # slices are 2.5 mm apart
    grown = apply(canvas, piece_tools.grow_piece(canvas, piece, 2.5))
    assert (grown[[0, 6]] == 1).sum() == 200
    shrunk = apply(canvas, piece_tools.shrink_piece(canvas, piece, 1.0))
    assert (shrunk[CUBE] == 1).sum() == 5 * 64
    shrunk = apply(canvas, piece_tools.shrink_piece(canvas, piece, 2.5))
    assert (shrunk[2:5] == 1).sum() == 3 * 36
    assert not shrunk[[1, 5], 4:14].any()
    edit = piece_tools.shrink_piece(canvas, find_piece_in_plane(canvas.labels, (2, 5, 5)), 1.0)
    assert edit.message == "shrank right lung by 1 mm: −36 px"


def test_growth_stops_at_other_labels_and_at_the_border() -> None:
    labels = make_block((6, 10), ((slice(0, 6), slice(0, 4)), 1), ((slice(0, 6), slice(5, 10)), 2))
    canvas = Canvas(freeze(labels), LUNGS)
    piece = find_piece(labels, (0, 0))
    assert (apply(canvas, piece_tools.grow_piece(canvas, piece, 3.0)) == 1).sum() == 30
    assert (apply(canvas, piece_tools.shrink_piece(canvas, piece, 1.0)) == 1).sum() == 18  # from the free side only


def test_shrinking_to_nothing_and_slips_are_refused() -> None:
    canvas = make_lungs()
    piece = find_piece(canvas.labels, (1, 18, 1))
    with pytest.raises(MedSegError, match="nothing of right lung is left"):
        piece_tools.shrink_piece(canvas, piece, 1.0)
    with pytest.raises(MedSegError, match="too thin"):
        piece_tools.smooth_piece(canvas, piece, 3.0)
    for distance in (0.0, -1.0, 1000.0, float("nan")):
        with pytest.raises(MedSegError, match="cannot be used"):
            piece_tools.grow_piece(canvas, piece, distance)
    with pytest.raises(MedSegError, match="nothing changes"):
        piece_tools.grow_piece(canvas, piece, 0.4)


def test_smoothing_takes_spikes_and_fills_dents() -> None:
    labels = make_block((30, 30), ((slice(5, 25), slice(5, 25)), 1))
    labels[14, 25:28] = 1
    labels[10, 23:25] = 0
    canvas = Canvas(freeze(labels), LUNGS)
    smooth = apply(canvas, piece_tools.smooth_piece(canvas, find_piece(labels, (10, 10)), 1.5))
    assert not smooth[14, 26:].any()
    assert smooth[10, 23] == 1
    assert abs(int(smooth.sum()) - 400) < 20


def test_fill_refuses_the_background() -> None:
    labels = make_block((12, 12), ((slice(2, 10), slice(2, 10)), 1), ((slice(4, 6), slice(4, 6)), 0))
    canvas = Canvas(freeze(labels), LUNGS)
    edit = piece_tools.fill_region(canvas, (4, 4), 2)
    assert (edit.n_voxels, edit.message) == (4, "filled 4 px with left lung")
    assert piece_tools.fill_region(canvas, (2, 2), 2).n_voxels == 60
    with pytest.raises(MedSegError, match="open to the border"):
        piece_tools.fill_region(canvas, (0, 0), 2)
    with pytest.raises(MedSegError, match="it is no object"):
        piece_tools.fill_region(Canvas(labels, NUCLEI), (4, 4), 2)


def test_fill_of_a_slice_of_a_volume_looks_at_the_slice_only() -> None:
    labels = make_block((3, 12, 12), ((slice(0, 3), slice(2, 10), slice(2, 10)), 1))
    labels[:, 4:6, 4:6] = 0
    canvas = Canvas(freeze(labels), LUNGS)
    assert piece_tools.fill_region(canvas, (0, 4, 4), 1).n_voxels == 4
    with pytest.raises(MedSegError, match="open to the border"):
        piece_tools.fill_region(canvas, (0, 4, 4), 1, is_planar=False)


def test_without_a_voxel_size_lengths_are_in_pixels() -> None:
    canvas = Canvas(make_block((20, 20), ((slice(6, 14), slice(6, 14)), 1)), LUNGS)
    piece = find_piece(canvas.labels, (9, 9))
    assert piece_tools.grow_piece(canvas, piece, 1.0).message == "grew right lung by 1 px: +32 px"
    assert piece_tools.shrink_piece(canvas, piece, 2.0).message.startswith("shrank right lung by 2 px: ")
    with pytest.raises(MedSegError, match=r"no piece is below 3 px\."):
        whole_label.remove_specks_in_plane(canvas, 3.0)
