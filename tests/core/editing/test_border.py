"""The border tool moves a border and snaps to the nearest edge."""

import numpy as np
import pytest
from editing_phantoms import LESIONS, LUNGS, NUCLEI, apply, freeze, make_block

from napari_medseg.core.editing.border import BorderDrag, drag_border
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
