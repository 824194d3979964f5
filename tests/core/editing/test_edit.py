"""An edit is applied, undone and journaled with the same runs of voxels."""

from pathlib import Path

import numpy as np
import pytest
from editing_phantoms import LUNGS, NUCLEI, apply, freeze, get_centre, make_block, make_nuclei

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.cut import cut_objects
from napari_medseg.core.editing.piece_tools import delete_piece, grow_piece, relabel_piece
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.undo_journal import StrokeJournal

BOX = (slice(2, 5), slice(3, 7), slice(4, 9))


def make_volume() -> Canvas:
    return Canvas(freeze(make_block((8, 10, 12), (BOX, 1))), LUNGS, (2.0, 1.0, 1.0))


def test_edit_knows_its_box_planes_and_voxels() -> None:
    canvas = make_volume()
    edit = delete_piece(canvas, find_piece(canvas.labels, (3, 4, 5)))
    assert edit.box == BOX
    assert list(edit.planes) == [2, 3, 4]
    assert edit.n_voxels == 60
    assert not apply(canvas, edit).any()


def test_preview_of_a_slice_has_the_old_and_the_new_values() -> None:
    canvas = make_volume()
    edit = relabel_piece(canvas, find_piece(canvas.labels, (3, 4, 5)), 2)
    preview = edit.render_plane(4)
    assert preview.box == BOX[1:]
    assert preview.mask.all()
    assert (preview.old == 1).all()
    assert (preview.new == 2).all()
    assert not edit.render_plane(5).mask.size


@pytest.mark.parametrize(("dtype", "first"), [(np.uint16, 64_000), (np.uint32, 1_000_000), (np.int32, 65_500)])
def test_edits_go_through_the_journal_as_one_stroke_each(tmp_path: Path, dtype: type, first: int) -> None:
    start = make_nuclei(50, dtype, first)
    labels, path = start.copy(), tmp_path / "1.journal"
    journal = StrokeJournal(path)
    states = [labels.copy()]
    for place in (0, 30):
        canvas = Canvas(labels, NUCLEI)
        y, x = get_centre(place)
        for edit in (
            cut_objects(canvas, [(y - 12, x - 2), (y + 12, x - 2)]),
            delete_piece(canvas, find_piece(labels, get_centre(place + 1))),
        ):
            edit.apply(labels)
            journal.add(edit.stroke)
            states.append(labels.copy())
    journal.close()

    again = StrokeJournal(path)  # after a restart
    assert len(again.applied_strokes) == 4
    assert labels.max() == first + 51
    for state in reversed(states[:-1]):
        stroke = again.undo()
        assert stroke is not None
        labels.reshape(-1)[stroke.indices] = stroke.old
        assert np.array_equal(labels, state)
    for state in states[1:]:
        stroke = again.redo()
        assert stroke is not None
        labels.reshape(-1)[stroke.indices] = stroke.new
        assert np.array_equal(labels, state)
    again.close()


def test_stale_preview_is_refused() -> None:
    canvas = make_volume()
    edit = delete_piece(canvas, find_piece(canvas.labels, (3, 4, 5)))
    labels = canvas.labels.copy()
    labels[2, 4, 6] = 2  # within a run
    with pytest.raises(MedSegError, match="changed since"):
        edit.apply(labels)
    assert labels[3, 4, 5] == 1
    with pytest.raises(MedSegError, match="shape"):
        edit.apply(labels[1:])


def test_one_changed_voxel_in_a_long_run_is_found() -> None:
    labels = freeze(make_block((4, 200), ((slice(1, 3), slice(20, 180)), 1)))
    edit = relabel_piece(Canvas(labels, LUNGS), find_piece(labels, (1, 100)), 2)
    stale = labels.copy()
    stale[2, 179] = 2
    with pytest.raises(MedSegError, match="changed since"):
        edit.apply(stale)
    fresh = labels.copy()
    edit.apply(fresh)
    edit.revert(fresh)
    assert np.array_equal(fresh, labels)


def test_protected_voxels_stay_and_the_message_says_so() -> None:
    protected = np.zeros((8, 10, 12), np.bool_)
    protected[3, 3:5, 4:9] = True
    canvas = make_volume()
    guarded = Canvas(canvas.labels, LUNGS, canvas.spacing_mm, protected)
    piece = find_piece(canvas.labels, (3, 4, 5))
    edit = delete_piece(guarded, piece)
    left = apply(guarded, edit)
    assert left.sum() == 10
    assert left[protected].all()
    assert edit.message.endswith("10 voxels that a person set stay")
    protected[:] = True
    with pytest.raises(MedSegError, match=r"a person set all of it \(60 voxels\)"):
        delete_piece(guarded, piece)


def test_edit_of_a_slice_stays_on_it() -> None:
    canvas = make_volume()
    grown = apply(canvas, grow_piece(canvas, find_piece_in_plane(canvas.labels, (3, 4, 5)), 1.0))
    assert np.array_equal(np.delete(grown, 3, axis=0), np.delete(canvas.labels, 3, axis=0))
    assert grown[3].sum() == 4 * 5 + 2 * (4 + 5)


def test_runs_are_split_where_the_old_or_the_new_value_changes() -> None:
    labels = freeze(np.array([[1, 1, 2, 2, 0]], np.uint8))
    canvas = Canvas(labels, LUNGS)
    box = (slice(0, 1), slice(0, 5))
    edit = canvas.make_edit("x", [Change(box, np.ones((1, 5), np.bool_), np.array([[2, 0, 0, 0, 1]], np.uint8))])
    assert edit.voxel_runs.tolist() == [(0, 1, 1, 2), (1, 1, 1, 0), (2, 2, 2, 0), (4, 1, 0, 1)]
    assert apply(canvas, edit).tolist() == [[2, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        (np.zeros((3, 3)), {}),
        (np.zeros(3, np.uint8), {}),
        (np.zeros((3, 3), np.uint8), {"spacing_mm": (1.0, 1.0, 1.0)}),
        (np.zeros((3, 3), np.uint8), {"protected": np.zeros((3, 4), np.bool_)}),
        (np.zeros((3, 3), np.uint8), {"image": np.zeros((4, 3, 3))}),
        (np.zeros((3, 3), np.uint8), {"probability": np.zeros((3, 3), np.uint8)}),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(labels: np.ndarray, others: dict) -> None:
    with pytest.raises(MedSegError):
        Canvas(labels, LUNGS, **others)
