"""Borders: a drag moves one and snaps to the nearest edge; a line is the new border, or encloses something new."""

import numpy as np
import pytest
from editing_phantoms import LESIONS, LUNGS, NUCLEI, apply, freeze, make_block

from napari_medseg.core.editing.border import BorderDrag, compute_pick_px, drag_border, draw_outline
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.errors import MedSegError

TISSUE = (slice(20, 80), slice(20, 80))
LABELLED = (slice(20, 80), slice(20, 72))


def make_canvas(noise: float = 10.0, value: int = 2) -> Canvas:
    image = np.full((100, 100), -100.0)
    image[TISSUE] = 60.0
    image += np.random.default_rng(0).normal(0, 1, image.shape) * noise
    return Canvas(freeze(make_block((100, 100), (LABELLED, value))), LESIONS, (1.0, 1.0), image=image)


@pytest.mark.parametrize("end", [76, 78, 80, 82])
def test_border_snaps_to_the_edge_near_the_pointer(end: float) -> None:
    canvas = make_canvas()
    edit = drag_border(canvas, BorderDrag((50, 71.5), (50, end), 25, 5))
    moved = apply(canvas, edit)
    assert (moved[46:55, 20:80] == 2).all()
    assert not moved[46:55, 80:].any()
    assert np.array_equal(moved[:22], canvas.labels[:22])  # far away nothing moves
    assert np.array_equal(moved[:, :45], canvas.labels[:, :45])
    assert edit.message.startswith("moved the border of consolidation onto the nearest edge: +")


def test_border_moves_inwards_too() -> None:
    labels = make_block((100, 100), ((slice(20, 80), slice(20, 90)), 1))
    canvas = Canvas(labels, LESIONS, image=make_canvas().image)
    moved = apply(canvas, drag_border(canvas, BorderDrag((50, 90), (50, 81), 25, 5)))
    assert not moved[46:55, 80:].any()
    assert (moved[46:55, 20:80] == 1).all()


def test_without_an_edge_the_border_stays_where_it_was_dragged() -> None:
    canvas = make_canvas()
    edit = drag_border(canvas, BorderDrag((50, 71), (50, 60), 20, 3))
    assert "(no edge near it)" in edit.message
    moved = apply(canvas, edit)
    assert abs(int(np.count_nonzero(moved[50])) - 41) <= 1
    bare = Canvas(canvas.labels, LESIONS)
    assert "(no edge near it)" in drag_border(bare, BorderDrag((50, 71), (50, 80))).message


def test_other_labels_are_not_overgrown_unless_allowed() -> None:
    labels = make_block((60, 60), ((slice(10, 50), slice(10, 30)), 1), ((slice(10, 50), slice(30, 50)), 2))
    for task in (NUCLEI, LUNGS):
        canvas = Canvas(labels, task)
        with pytest.raises(MedSegError, match="cannot move there"):
            drag_border(canvas, BorderDrag((30, 28), (30, 38)))
        moved = apply(canvas, drag_border(canvas, BorderDrag((30, 28), (30, 38)), may_overwrite=True))
        assert moved[30].tolist()[28:40].count(1) >= 9
        assert (moved > 0).sum() == (labels > 0).sum()


def test_border_on_a_slice_only() -> None:
    labels = make_block((3, 60, 60), ((slice(0, 3), slice(10, 50), slice(10, 30)), 1))
    canvas = Canvas(labels, LUNGS, image=np.zeros((3, 60, 60)))
    edit = drag_border(canvas, BorderDrag((30, 29), (30, 40)), plane=2)
    assert list(edit.planes) == [2]
    apply(canvas, edit)


def test_border_at_the_edge_of_a_colour_image() -> None:
    labels = make_block((60, 60), ((slice(0, 40), slice(0, 30)), 1))
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, :36] = (200, 100, 150)
    canvas = Canvas(labels, NUCLEI, image=image)
    moved = apply(canvas, drag_border(canvas, BorderDrag((0, 29), (-3, 35), 20, 4)))
    assert moved[0, 35] == 1
    assert moved[0, 36] == 0


@pytest.mark.parametrize("start", [(5, 5), (50, 50), (-90, 0)])
def test_drag_that_starts_at_no_border_is_refused(start: tuple[float, float]) -> None:
    with pytest.raises(MedSegError, match="no border within 10 px"):
        drag_border(make_canvas(), BorderDrag(start, (60, 60)))


LUNG = make_block((60, 60), ((slice(10, 50), slice(10, 40)), 1))


def test_one_line_adds_what_it_encloses_and_cuts_off_what_lies_beyond() -> None:
    edit = draw_outline(Canvas(LUNG, LUNGS), [(12, 38), (20, 48), (30, 48), (36, 30), (44, 38)], 1)
    drawn = apply(Canvas(LUNG, LUNGS), edit)
    assert (drawn[20:30, 10:48] == 1).all()
    assert not drawn[36, 34:40].any(), "the piece was too large here"
    assert np.array_equal(drawn[:, :29], LUNG[:, :29]), "the rest of the piece stays"
    assert edit.message.startswith("outlined right lung: +")


def test_a_line_around_a_piece_is_its_new_border() -> None:
    ring = [(10, 12), (8, 14), (8, 46), (45, 46), (45, 12), (11, 12)]
    drawn = apply(Canvas(LUNG, LUNGS), draw_outline(Canvas(LUNG, LUNGS), ring, 1))
    assert not drawn[46:].any()
    assert not drawn[:, :12].any()
    assert (drawn[10:45, 14:47] == 1).all()


def test_another_line_encloses_a_new_piece_over_other_labels_and_zero_erases() -> None:
    square = [(20, 20), (20, 30), (30, 30), (30, 20)]
    drawn = apply(Canvas(LUNG, LUNGS), draw_outline(Canvas(LUNG, LUNGS), square, 2))
    assert np.count_nonzero(drawn == 2) == 121
    erased = apply(Canvas(LUNG, LUNGS), draw_outline(Canvas(LUNG, LUNGS), [(20, 20), (20, 70), (30, 70), (30, 20)], 0))
    assert not erased[20:31, 20:].any()
    assert np.count_nonzero(erased) == np.count_nonzero(LUNG) - 11 * 20


def test_a_hole_of_the_piece_stays_a_hole() -> None:
    labels = LUNG.copy()
    labels[20:24, 15:19] = 0
    canvas = Canvas(labels, LUNGS)
    drawn = apply(canvas, draw_outline(canvas, [(12, 39), (25, 50), (44, 39)], 1))
    assert not drawn[20:24, 15:19].any()
    assert drawn[25, 45] == 1


def test_a_line_in_a_nucleus_cuts_out_a_new_one_and_beside_it_takes_nothing() -> None:
    labels = make_block((60, 80), ((slice(20, 40), slice(10, 50)), 3), dtype=np.uint16)
    canvas = Canvas(labels, NUCLEI)
    right = [(19, 31), (19, 51), (41, 51), (41, 31), (21, 31)]
    drawn = apply(canvas, draw_outline(canvas, right, 3))
    assert set(drawn[20:40, 31:50].ravel()) == {4}
    assert set(drawn[20:40, 10:31].ravel()) == {3}
    beside = [(22, 46), (22, 70), (38, 70), (38, 46), (23, 46)]
    drawn = apply(canvas, draw_outline(canvas, beside, 3))
    assert np.count_nonzero(drawn == 3) == np.count_nonzero(labels == 3)
    assert np.count_nonzero(drawn == 4) == 17 * 21


def test_a_line_from_border_to_border_of_a_nucleus_corrects_it() -> None:
    labels = make_block((60, 80), ((slice(20, 40), slice(10, 40)), 3), dtype=np.uint16)
    drawn = apply(Canvas(labels, NUCLEI), draw_outline(Canvas(labels, NUCLEI), [(21, 40), (30, 55), (38, 40)], 9))
    assert set(np.unique(drawn)) == {0, 3}
    assert drawn[30, 52] == 3


def test_a_line_that_changes_nothing_is_refused() -> None:
    with pytest.raises(MedSegError, match="outside the image"):
        draw_outline(Canvas(LUNG, LUNGS), [(-9, -9), (-5, -9)], 1)
    with pytest.raises(MedSegError, match="encloses nothing that could change"):
        draw_outline(Canvas(LUNG, LUNGS), [(24, 24), (24, 28), (34, 28), (34, 24), (25, 24)], 1)


def test_a_piece_at_the_edge_of_the_image_and_a_line_that_leaves_it() -> None:
    labels = make_block((3, 40, 40), ((slice(0, 3), slice(0, 20), slice(0, 20)), 1))
    canvas = Canvas(labels, LUNGS)
    edit = draw_outline(canvas, [(0, 20), (-6, 30), (12, 30), (18, 20)], 1, plane=1)
    assert list(edit.planes) == [1]
    drawn = apply(canvas, edit)[1]
    assert (drawn[:12, :30] == 1).all()


@pytest.mark.parametrize("rows", [(2, 58), (13, 46)])
def test_a_cut_leaves_no_hair_outside(rows: tuple[int, int]) -> None:
    canvas = Canvas(LUNG, LUNGS)
    drawn = apply(canvas, draw_outline(canvas, [(rows[0], 30), (rows[1], 33)], 1))
    assert not drawn[LUNG == 0].any()
    assert not drawn[10:50, 35:].any()
    assert (drawn[10:50, 10:29] == 1).all()


MERGED = make_block((60, 80), ((slice(20, 40), slice(10, 50)), 3), dtype=np.uint16)
PAIR = make_block((60, 80), ((slice(20, 40), slice(10, 30)), 3), ((slice(20, 40), slice(31, 50)), 4), dtype=np.uint16)


def test_a_line_around_the_larger_part_of_two_merged_nuclei_keeps_the_other() -> None:
    canvas = Canvas(MERGED, NUCLEI)
    drawn = apply(canvas, draw_outline(canvas, [(19, 26), (19, 51), (41, 51), (41, 26), (21, 26)], 3))
    assert set(drawn[20:40, 26:50].ravel()) == {4}
    assert set(drawn[20:40, 10:26].ravel()) == {3}


def test_a_line_just_inside_a_nucleus_leaves_no_rim() -> None:
    labels = make_block((60, 80), ((slice(20, 38), slice(10, 28)), 3), dtype=np.uint16)
    canvas = Canvas(labels, NUCLEI)
    drawn = apply(canvas, draw_outline(canvas, [(22, 12), (22, 25), (35, 25), (35, 12), (23, 12)], 3))
    assert np.count_nonzero(drawn) == np.count_nonzero(drawn == 3) == 14 * 14


def test_a_line_around_a_nucleus_is_its_border_even_if_it_begins_nearer_to_its_neighbour() -> None:
    canvas = Canvas(PAIR, NUCLEI)
    around = [(22, 31), (14, 20), (20, 8), (42, 10), (42, 31), (24, 31)]
    drawn = apply(canvas, draw_outline(canvas, around, 3))
    assert np.array_equal(drawn == 4, PAIR == 4)
    assert (drawn[PAIR == 3] == 3).all()
    drawn = apply(canvas, draw_outline(canvas, [(19.6, 30.6), (12, 20), (19.6, 9)], 9))
    assert set(np.unique(drawn)) == {0, 3, 4}
    assert drawn[17, 20] == 3


def test_a_wide_line_around_a_nucleus_is_its_border_too() -> None:
    labels = make_block((60, 60), ((slice(25, 35), slice(25, 35)), 3), dtype=np.uint16)
    canvas = Canvas(labels, NUCLEI)
    drawn = apply(canvas, draw_outline(canvas, [(12, 12), (12, 48), (48, 48), (48, 12), (14, 12)], 9))
    assert np.count_nonzero(drawn == 3) == np.count_nonzero(drawn) == 37 * 37


def test_a_new_nucleus_is_made_of_one_other_only() -> None:
    canvas = Canvas(PAIR, NUCLEI)
    drawn = apply(canvas, draw_outline(canvas, [(19, 20), (19, 34), (41, 34), (41, 20), (21, 20)], 9))
    assert np.array_equal(drawn == 4, PAIR == 4)
    assert (drawn[20:40, 20:30] == 5).all()


@pytest.mark.parametrize("path", [[(5, 5), (5.2, 5.2)], [(5, 5), (5, 70)], [(5, 5), (8, 9), (5, 5)]])
def test_a_line_that_encloses_nothing_makes_no_label(path: list[tuple[float, float]]) -> None:
    with pytest.raises(MedSegError, match="encloses nothing"):
        draw_outline(Canvas(MERGED, NUCLEI), path, 9)


def test_a_line_across_a_hole_fills_its_smaller_part_and_a_cut_through_it_none() -> None:
    labels = LUNG.copy()
    labels[20:40, 18:32] = 0
    canvas = Canvas(labels, LUNGS)
    drawn = apply(canvas, draw_outline(canvas, [(26, 17), (26, 32)], 1))
    assert (drawn[20:27, 18:32] == 1).all()
    assert not drawn[28:40, 18:32].any()
    drawn = apply(canvas, draw_outline(canvas, [(8, 22), (52, 22)], 1))
    assert not drawn[20:40, 18:32].any()


def test_how_far_a_line_may_begin_from_a_border_is_that_of_the_screen() -> None:
    canvas = Canvas(LUNG, LUNGS)
    line = [(20, 58), (30, 66), (40, 58)]
    assert apply(canvas, draw_outline(canvas, line, 1, pick_px=compute_pick_px(0.25)))[30, 50] == 1
    near = [(30, 42), (20, 59), (35, 59), (32, 44)]
    drawn = apply(canvas, draw_outline(canvas, near, 1, pick_px=compute_pick_px(8.0)))
    assert not drawn[30, 40:42].any(), "a new piece"
    with pytest.raises(MedSegError, match="no border within 2 px"):
        drag_border(canvas, BorderDrag((30, 43), (30, 50), pick_px=compute_pick_px(8.0)))


def test_a_line_with_one_end_at_a_border_is_refused() -> None:
    with pytest.raises(MedSegError, match="only one end of the line is at the border of right lung"):
        draw_outline(Canvas(LUNG, LUNGS), [(12, 40), (12, 55), (48, 55)], 1)
