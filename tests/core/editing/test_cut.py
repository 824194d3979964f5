"""Cutting: no gap, the larger part keeps the number."""

import numpy as np
import pytest
from editing_phantoms import DISK_PX, LUNGS, NUCLEI, apply, freeze, get_centre, make_block, make_nuclei

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.cut import cut_objects, cut_objects_in_volume, split_piece, split_pieces
from napari_medseg.core.editing.objects import find_pieces_on_line
from napari_medseg.core.editing.pieces import find_piece
from napari_medseg.core.errors import MedSegError

SQUARE = (slice(2, 10), slice(2, 18))


def make_square(dtype: type = np.uint16) -> Canvas:
    return Canvas(freeze(make_block((12, 20), (SQUARE, 212), ((slice(0, 1), slice(0, 1)), 664), dtype=dtype)), NUCLEI)


@pytest.mark.parametrize(
    ("line", "kept", "new"),
    [
        ([(0, 10), (11, 10)], 72, 56),  # through centres of pixels
        ([(0, 9.5), (11, 9.5)], 64, 64),  # between pixels
        ([(11, 6), (0, 6)], 88, 40),
        ([(1, 0), (11, 20)], 72, 56),
        ([(0, 4), (11, 14)], 68, 60),
        ([(5.5, 0), (5.5, 19)], 64, 64),
        ([(4, 6), (7, 6)], 88, 40),  # too short: the ends are extended
        ([(0, 6), (3, 5.4), (6, 6.6), (11, 6)], 91, 37),  # an unsteady hand
        ([(0, 6), (11, 6), (0, 6)], 88, 40),  # there and back
    ],
)
def test_parts_keep_all_pixels(line: list[tuple[float, float]], kept: int, new: int) -> None:
    canvas = make_square()
    edit = cut_objects(canvas, line)
    labels = apply(canvas, edit)
    assert edit.message == "split nucleus 212 into 212 and 665"
    assert np.array_equal(labels > 0, canvas.labels > 0)
    assert (labels == 665).sum() == edit.n_voxels
    assert ((labels == 212).sum(), (labels == 665).sum()) == (kept, new)
    assert find_piece(labels, np.argwhere(labels == 665)[0]).n_voxels == (labels == 665).sum()
    assert (labels == 212).sum() >= (labels == 665).sum()


def test_straight_cuts_are_exact() -> None:
    canvas = make_square()
    labels = apply(canvas, cut_objects(canvas, [(0, 5.5), (11, 5.5)]))
    assert (labels[2:10, 2:6] == 665).all()
    assert (labels[2:10, 6:18] == 212).all()


def test_concave_object_falls_into_all_its_parts() -> None:
    labels = make_block((12, 20), (SQUARE, 1))
    labels[2:8, 8:12] = 0  # an U
    canvas = Canvas(labels, NUCLEI)
    edit = cut_objects(canvas, [(4.5, 0), (4.5, 19)])
    assert edit.message == "split nucleus 1 into 1, 2 and 3"
    assert np.bincount(apply(canvas, edit).ravel())[1:].tolist() == [128 - 24 - 36, 18, 18]


def test_touching_neighbour_in_which_the_line_starts_is_not_cut() -> None:
    labels = make_block((12, 24), ((slice(2, 10), slice(2, 10)), 1), ((slice(2, 10), slice(10, 22)), 2))
    canvas = Canvas(labels, NUCLEI)
    assert cut_objects(canvas, [(5, 7), (5.5, 23)]).message == "split nucleus 2 into 2 and 3"
    edit = cut_objects(canvas, [(0, 5.5), (11, 5.5)])
    assert edit.message == "split nucleus 1 into 1 and 3"
    edit = cut_objects(canvas, [(5.5, 0), (5.5, 23)])
    assert edit.message == "split nucleus 1 into 1 and 3; nucleus 2 into 2 and 4"


def test_grazed_neighbour_stays_whole() -> None:
    labels = make_nuclei(50)
    y, x = get_centre(0)
    labels[y, x + 9] = 1  # nuclei 1 and 2 touch
    labels[y, x + 10] = labels[y, x + 11] = 2
    canvas = Canvas(labels, NUCLEI)
    assert (
        cut_objects(canvas, [(y - 10, x), (y + 2, x + 1), (y + 3, x + 12), (y + 10, x + 8)]).message.count("into") == 1
    )


def test_one_of_two_pieces_with_the_same_number_is_cut() -> None:
    labels = make_block((12, 30), ((slice(2, 10), slice(2, 10)), 7), ((slice(2, 10), slice(15, 28)), 7))
    canvas = Canvas(labels, NUCLEI)
    cut = apply(canvas, cut_objects(canvas, [(0, 5.5), (11, 5.5)]))
    assert (cut[:, 15:] == labels[:, 15:]).all()
    assert np.bincount(cut.ravel())[7:].tolist() == [104 + 32, 32]


def test_message_about_many_objects_fits_on_one_line() -> None:
    canvas = Canvas(freeze(make_nuclei(150)), NUCLEI)
    _, x = get_centre(3)
    edit = cut_objects(canvas, [(0, x + 0.5), (131, x + 0.5)])
    assert edit.message == "split 6 objects, the new numbers end at 156"
    assert np.unique(apply(canvas, edit)).size == 157


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_number_of_the_new_part_is_free_when_the_largest_is_in_use(dtype: type) -> None:
    labels = make_nuclei(200).astype(dtype)
    labels[labels == 200] = np.iinfo(dtype).max
    canvas = Canvas(freeze(labels), NUCLEI)
    y, x = get_centre(3)
    edit = cut_objects(canvas, [(y - 12, x + 0.5), (y + 12, x + 0.5)])
    assert edit.message == "split nucleus 4 into 4 and 200"
    assert (apply(canvas, edit) == 200).sum() == (DISK_PX - 17) // 2


def test_no_number_left_is_refused() -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(4, axis=0).repeat(4, axis=1)
    with pytest.raises(MedSegError, match="255 objects; uint8 can number 255"):
        cut_objects(Canvas(labels, NUCLEI), [(20, 21.5), (24, 21.5)])


def test_cut_at_the_border_of_the_image_and_from_outside() -> None:
    labels = make_block((8, 8), ((slice(0, 8), slice(0, 8)), 1))
    canvas = Canvas(labels, NUCLEI)
    cut = apply(canvas, cut_objects(canvas, [(-5, 2.5), (20, 2.5)]))
    assert (cut[:, :3] == 2).all()
    assert (cut[:, 3:] == 1).all()


def test_cut_of_a_slice_and_of_a_volume() -> None:
    labels = make_block((6, 12, 20), ((slice(1, 5), *SQUARE), 9), dtype=np.uint32)
    canvas = Canvas(freeze(labels), NUCLEI)
    line = [(0, 5.5), (11, 5.5)]
    assert (apply(canvas, cut_objects(canvas, line, plane=2)) == 10).sum() == 32
    cut = apply(canvas, cut_objects_in_volume(canvas, line, plane=2))
    assert (cut[1:5, 2:10, 2:6] == 10).all()
    assert (cut == 9).sum() == 4 * 96
    with pytest.raises(MedSegError, match="crosses no object"):
        cut_objects(canvas, line, plane=0)
    with pytest.raises(MedSegError, match="slice None"):
        cut_objects(canvas, line)


def test_parts_that_hang_together_on_another_slice_are_one_object() -> None:
    labels = make_block((3, 12, 20), ((slice(0, 2), *SQUARE), 1))
    labels[0, 2:10, 8:12] = 0
    labels[2, 5, 2:18] = 1
    canvas = Canvas(labels, NUCLEI)
    line = [(0, 5.5), (11, 5.5)]
    cut = apply(canvas, cut_objects_in_volume(canvas, line, plane=0))
    assert (cut[..., 6:][labels[..., 6:] == 1] == 1).all()
    assert (cut[..., :6][labels[..., :6] == 1] == 2).all()


@pytest.mark.parametrize("line", [[(0, 0), (0, 19)], [(30, 30), (40, 40)], [(5, 5)], []])
def test_line_that_splits_nothing_is_refused(line: list[tuple[float, float]]) -> None:
    canvas = Canvas(make_block((12, 20), (SQUARE, 1)), NUCLEI)
    with pytest.raises(MedSegError):
        cut_objects(canvas, line)


def test_labels_are_not_cut() -> None:
    with pytest.raises(MedSegError, match="not numbered objects"):
        cut_objects(Canvas(make_block((12, 20), (SQUARE, 1)), LUNGS), [(0, 5), (11, 5)])


@pytest.mark.parametrize(
    "line", [[(-5, 83.3), (205, 81.2)], [(-5, -4.6), (203, 208.2)], [(50.2, 0), (61, 99), (40, 210)]]
)
@pytest.mark.parametrize("n_slices", [0, 3])
def test_pieces_are_split_together_as_each_alone(line: list[tuple[float, float]], n_slices: int) -> None:
    """Disks that touch each other, of 8 px, in a slice and as columns of a volume."""
    y, x = np.mgrid[:200, :200]
    number = (y // 17) * 12 + x // 17 + 1
    labels = np.where((y % 17 - 8) ** 2 + (x % 17 - 8) ** 2 <= 72, number, 0).astype(np.uint16)
    if n_slices:
        labels = np.stack([labels] * n_slices)
        labels[1, 83] = 0  # some columns have a gap on a slice
    plane = 0 if n_slices else None
    pieces, _, _ = find_pieces_on_line(labels, line, plane, in_volume=bool(n_slices))
    assert len(pieces) >= 11
    points = np.array(line)
    for piece, parts in zip(pieces, split_pieces(pieces, points), strict=True):
        assert np.array_equal(parts, split_piece(piece, points))
        assert np.array_equal(parts > 0, piece.mask)
