"""Painting, extending and joining numbered objects."""

import numpy as np
import pytest
from editing_phantoms import DISK_PX, LUNGS, NUCLEI, apply, freeze, get_centre, make_block, make_nuclei

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.objects import (
    find_free_numbers,
    join_objects,
    join_objects_in_volume,
    paint_object,
)
from napari_medseg.core.errors import MedSegError


@pytest.mark.parametrize(
    ("used", "dtype", "n", "free"),
    [
        ([], np.uint8, 2, [1, 2]),
        ([1, 2, 5], np.uint16, 1, [6]),
        ([1, 65_535], np.uint16, 3, [2, 3, 4]),
        ([1, 3, 5, 254], np.uint8, 4, [255, 2, 4, 6]),
        ([65_535], np.uint32, 1, [65_536]),
        ([2, 2**32 - 2], np.uint32, 2, [1, 3]),
        ([7], np.int64, 1, [8]),
    ],
)
def test_free_numbers(used: list[int], dtype: type, n: int, free: list[int]) -> None:
    labels = np.zeros((2, 4), dtype)
    labels.reshape(-1)[: len(used)] = used
    assert find_free_numbers(labels, n) == free


def test_stroke_on_the_background_is_a_new_nucleus() -> None:
    canvas = Canvas(freeze(make_nuclei(600, first=65_000 - 599)), NUCLEI)
    edit = paint_object(canvas, [(10, 505)], 3.0)
    assert edit.message == "new nucleus 65001: 29 px"
    assert (apply(canvas, edit) == 65_001).sum() == 29


def test_stroke_does_not_overwrite_unless_allowed() -> None:
    canvas = Canvas(freeze(make_nuclei(50)), NUCLEI)
    (y, x), (_, next_x) = get_centre(0), get_centre(1)
    path = [(y, x), (y, next_x)]
    painted = apply(canvas, paint_object(canvas, path, 2.0))
    assert (painted == 2).sum() == DISK_PX
    assert (painted == 1).sum() > DISK_PX
    edit = paint_object(canvas, path, 2.0, may_overwrite=True)
    painted = apply(canvas, edit)
    assert (painted == 2).sum() < DISK_PX
    assert edit.message.startswith("extended nucleus 1 by ")


def test_stroke_ends_at_an_object_in_the_way() -> None:
    labels = make_block((9, 20), ((slice(0, 9), slice(8, 10)), 1))
    canvas = Canvas(labels, NUCLEI)
    painted = apply(canvas, paint_object(canvas, [(4, 2), (4, 17)], 1.0))
    assert (painted[:, 10:] == 0).all()
    assert (painted[:, :8] == 2).sum() == 7 + 2 * 6
    painted = apply(canvas, paint_object(canvas, [(4, 8), (4, 17)], 1.0))
    assert set(np.unique(painted)) == {0, 1}


def test_stroke_on_a_slice_and_at_the_border() -> None:
    canvas = Canvas(np.zeros((3, 8, 8), np.uint32), NUCLEI)
    edit = paint_object(canvas, [(0, 0), (0, 20)], 1.0, plane=1)
    assert (apply(canvas, edit)[1, :2] == 1).all()
    assert edit.n_voxels == 16
    with pytest.raises(MedSegError, match="starts outside"):
        paint_object(canvas, [(-1, 0), (4, 4)], 1.0, plane=1)
    with pytest.raises(MedSegError, match="outside the image"):
        paint_object(canvas, [(-9, 0)], 1.0, plane=1)
    with pytest.raises(MedSegError, match="stays inside nucleus 1"):
        paint_object(Canvas(np.ones((8, 8), np.uint8), NUCLEI), [(4, 4)], 1.0)
    with pytest.raises(MedSegError, match="not numbered objects"):
        paint_object(Canvas(np.zeros((8, 8), np.uint8), LUNGS), [(4, 4)], 1.0)


def test_larger_nucleus_gives_its_number() -> None:
    labels = make_block(
        (12, 24), ((slice(2, 10), slice(2, 6)), 5), ((slice(2, 10), slice(6, 22)), 300), dtype=np.uint16
    )
    canvas = Canvas(freeze(labels), NUCLEI)
    for line in ([(5, 3), (5, 12)], [(5, 12), (5, 3)], [(5, 0), (5, 23)]):
        edit = join_objects(canvas, line)
        assert edit.message == "joined nucleus 300 and 5 into 300"
        assert (apply(canvas, edit) == 300).sum() == 160


def test_three_in_one_drag_and_small_gaps_are_filled() -> None:
    blocks = [((slice(2, 10), slice(left, left + 6)), n + 1) for n, left in enumerate((2, 10, 16))]
    canvas = Canvas(make_block((12, 24), *blocks), NUCLEI)
    edit = join_objects(canvas, [(5, 3), (5, 20)])
    joined = apply(canvas, edit)
    assert edit.message == "joined nucleus 1, 2 and 3 into 1"
    assert (joined[2:10, 2:22] == 1).all()
    assert (joined == 1).sum() == 160


def test_distant_nuclei_are_not_joined() -> None:
    labels = make_block((12, 160), ((slice(2, 10), slice(2, 10)), 1), ((slice(2, 10), slice(130, 138)), 2))
    with pytest.raises(MedSegError, match="nucleus 1 and nucleus 2 are 120 px apart"):
        join_objects(Canvas(labels, NUCLEI), [(5, 9), (5, 130)])
    labels = make_block((12, 30), ((slice(2, 10), slice(2, 10)), 1), ((slice(2, 10), slice(15, 20)), 2))
    with pytest.raises(MedSegError, match="5 px apart"):
        join_objects(Canvas(labels, NUCLEI), [(5, 4), (5, 17)])


def test_nuclei_that_touch_elsewhere_are_joined_without_a_bridge() -> None:
    labels = make_block((40, 60), ((slice(0, 4), slice(0, 30)), 1), ((slice(0, 4), slice(30, 60)), 2))
    labels[4:40, 0:4], labels[4:40, 56:60] = 1, 2
    canvas = Canvas(labels, NUCLEI)
    assert join_objects(canvas, [(30, 2), (30, 58)]).n_voxels == np.count_nonzero(labels == 2)


def test_pieces_of_one_nucleus_are_bridged() -> None:
    labels = make_block((12, 24), ((slice(2, 10), slice(2, 8)), 4), ((slice(2, 10), slice(10, 20)), 4))
    canvas = Canvas(labels, NUCLEI)
    edit = join_objects(canvas, [(5, 3), (5, 15)])
    assert edit.message == "joined pieces of nucleus 4 into 4"
    assert edit.n_voxels == 16


def test_join_on_a_slice_and_in_the_volume() -> None:
    labels = make_block(
        (4, 12, 20), ((slice(0, 4), slice(2, 10), slice(2, 8)), 1), ((slice(0, 4), slice(2, 10), slice(8, 18)), 2)
    )
    canvas = Canvas(freeze(labels), NUCLEI)
    line = [(5, 4), (5, 12)]
    assert (apply(canvas, join_objects(canvas, line, plane=1)) == 1).sum() == 3 * 48
    assert not (apply(canvas, join_objects_in_volume(canvas, line, plane=1)) == 1).any()


@pytest.mark.parametrize(
    ("line", "reason"),
    [([(5, 5), (6, 5)], "only nucleus 1"), ([(0, 0), (0, 5)], "no object"), ([(90, 90), (99, 99)], "no object")],
)
def test_line_that_touches_fewer_than_two_is_refused(line: list[tuple[int, int]], reason: str) -> None:
    labels = make_block((12, 20), ((slice(2, 10), slice(2, 8)), 1))
    with pytest.raises(MedSegError, match=reason):
        join_objects(Canvas(labels, NUCLEI), line)
