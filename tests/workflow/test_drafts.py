"""A draft's labels: edits, undo, new predictions under edits, reset."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.piece_tools import delete_piece, grow_piece
from napari_medseg.core.editing.pieces import find_piece
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.strokes import VOXEL_RUN_DTYPE, Stroke, StrokeKind, find_edited_voxels
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.records import Case, Review, ReviewState, now
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.drafts import Draft

SHAPE = (3, 8, 10)
CASE = Case(1, "lungs", "stack", "patient 1", "c0", "ZYX", SHAPE, None, (), False, "2025")
REVIEW = Review(1, 1, None, ReviewState.OPEN, 0.0, 0, "ann", "2025", None)


def prediction(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def open_draft(folder: Path, start: np.ndarray | None = None) -> Draft:
    start = prediction() if start is None else start
    return Draft(REVIEW, CASE, StrokeJournal(folder / "1.journal"), start.copy(), "lungs-unet@1")


def paint(draft: Draft, indices: list[int], new: int) -> None:
    flat = np.array(indices)
    draft.record(flat, draft.labels.ravel()[flat], new)


def test_strokes_change_labels_and_are_undone_across_slices_and_restarts(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    states = [draft.labels.copy()]
    rng = np.random.default_rng(1)
    for _ in range(150):
        paint(draft, rng.choice(240, 12, replace=False).tolist(), int(rng.integers(0, 3)))
        states.append(draft.labels.copy())
    draft.close()

    draft = open_draft(tmp_path)
    np.testing.assert_array_equal(draft.labels, states[-1])
    for state in reversed(states[:-1]):
        assert draft.undo() is not None
        np.testing.assert_array_equal(draft.labels, state)
        assert draft.changed_voxels == np.count_nonzero(state != states[0])
    assert not draft.can_undo
    assert draft.undo() is None
    draft.close()

    draft = open_draft(tmp_path)
    for state in states[1:]:
        assert draft.redo() is not None
        np.testing.assert_array_equal(draft.labels, state)
    assert draft.redo() is None


def test_edit_of_a_tool_is_one_stroke_among_those_of_the_brush(tmp_path: Path) -> None:
    start = np.zeros(SHAPE, np.uint8)
    start[:, 2:5, 2:5] = 1
    draft = open_draft(tmp_path, start)
    paint(draft, [0, 1], 2)
    canvas = Canvas(draft.labels, TASKS["lungs"])
    grow, delete = (
        tool(canvas, find_piece(draft.labels, (1, 3, 3))) for tool in (lambda c, p: grow_piece(c, p, 1.0), delete_piece)
    )
    draft.record_edit(grow)
    grown = draft.labels.copy()
    assert (grown == 1).sum() == 3 * 21
    assert draft.changed_voxels == 2 + grow.n_voxels
    with pytest.raises(MedSegError, match="changed since"):
        draft.record_edit(grow)  # stale now: it is applied
    draft.record_edit(delete)
    draft.close()

    draft = open_draft(tmp_path, start)  # after a restart
    assert draft.edited_indices.size == 2 + grow.n_voxels + delete.n_voxels
    assert draft.undo() is not None
    np.testing.assert_array_equal(draft.labels, grown)
    assert draft.undo() is not None
    assert draft.undo() is not None
    np.testing.assert_array_equal(draft.labels, start)
    assert not draft.can_undo
    draft.close()


@pytest.mark.parametrize("seed", range(3))
def test_edited_voxels_of_overlapping_strokes_are_listed_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    touched = [rng.choice(240, rng.integers(0, 60), replace=False) for _ in range(8)]
    strokes = [Stroke.from_voxels(StrokeKind.PAINT, indices, 0, 1) for indices in touched]
    np.testing.assert_array_equal(find_edited_voxels(strokes), np.unique(np.concatenate(touched)))
    prediction = Stroke.from_voxels(StrokeKind.PREDICTION, [239], 0, 1)
    reset = Stroke.from_voxels(StrokeKind.RESET, touched[0], 1, 0)
    assert not find_edited_voxels([*strokes, reset, prediction]).size
    np.testing.assert_array_equal(find_edited_voxels([reset, strokes[3]]), np.sort(touched[3]))


def test_an_edit_that_a_thread_prepared_is_the_same_stroke_and_a_stale_one_is_refused(tmp_path: Path) -> None:
    start = np.zeros(SHAPE, np.uint8)
    start[:, 2:5, 2:5] = 1
    draft = open_draft(tmp_path, start)
    paint(draft, [0, 1], 2)
    assert draft.edited.n_voxels == 2
    canvas, version = Canvas(draft.labels, TASKS["lungs"]), draft.version
    grow, delete = (
        tool(canvas, find_piece(draft.labels, (1, 3, 3))) for tool in (lambda c, p: grow_piece(c, p, 1.0), delete_piece)
    )
    prepared, late = draft.prepare_edit(grow, version), draft.prepare_edit(delete, version)
    assert prepared is not None
    assert (draft.labels == 1).sum() == 27, "nothing is changed by preparing"
    draft.record_edit(grow, prepared)
    assert (draft.labels == 1).sum() == 3 * 21
    assert draft.changed_voxels == 2 + grow.n_voxels
    assert draft.edited.n_voxels == 2 + grow.n_voxels
    draft.record_edit(delete, late)  # of other labels: it is compared voxel by voxel, and fits still
    assert (draft.labels == 1).sum() == grow.n_voxels
    assert draft.prepare_edit(grow, draft.version) is None, "it does not fit any more"
    with pytest.raises(MedSegError, match="changed since"):
        draft.record_edit(grow, prepared)
    states = [draft.labels.copy()]
    draft.undo()
    draft.undo()
    assert (draft.labels == 1).sum() == 27
    draft.redo()
    draft.redo()
    draft.close()
    again = open_draft(tmp_path, start)
    assert np.array_equal(again.labels, states[0])
    assert again.changed_voxels == draft.changed_voxels == 2 + grow.n_voxels + delete.n_voxels


def test_painting_in_the_shared_array_first_and_recording_after_is_the_same(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    before = draft.labels.copy()
    indices = np.flatnonzero(draft.labels != 2)[:30]
    old = draft.labels.ravel()[indices].copy()
    draft.labels.reshape(-1)[indices] = 2  # as a Labels layer does while the mouse moves
    draft.record(indices, old, 2)
    assert draft.changed_voxels == 30
    draft.undo()
    np.testing.assert_array_equal(draft.labels, before)


def test_new_prediction_keeps_edited_voxels_even_those_painted_back(tmp_path: Path) -> None:
    draft = open_draft(tmp_path, np.zeros(SHAPE, np.uint8))
    paint(draft, [10, 11, 12], 1)
    paint(draft, [12], 0)  # looked at and found to be background: a decision, too
    labels = draft.merge(np.full(SHAPE, 2, np.uint8), "lungs-unet@2")
    assert labels is draft.labels
    assert draft.labels.ravel()[[9, 10, 11, 12, 13]].tolist() == [2, 1, 1, 0, 2]
    assert draft.edited_indices.tolist() == [10, 11, 12]
    assert draft.changed_voxels == 3
    assert draft.model == "lungs-unet@2"
    draft.close()

    draft = open_draft(tmp_path, np.zeros(SHAPE, np.uint8))
    assert draft.labels.ravel()[[9, 10, 11, 12, 13]].tolist() == [2, 1, 1, 0, 2]
    paint(draft, [9], 1)
    draft.undo()
    draft.undo()
    assert draft.labels.ravel()[[9, 10, 11, 12, 13]].tolist() == [0, 1, 1, 0, 0]
    assert draft.changed_voxels == 2
    assert draft.model == "lungs-unet@1"
    draft.redo()
    assert draft.labels.ravel()[[9, 10, 11, 12, 13]].tolist() == [2, 1, 1, 0, 2]


def test_random_histories_keep_every_edited_voxel_and_count_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    draft = open_draft(tmp_path)
    for step in range(200):
        choice = rng.integers(0, 10)
        if choice < 5:
            paint(draft, rng.choice(240, 5).tolist(), int(rng.integers(0, 3)))
        elif choice < 7:
            draft.undo()
        elif choice < 8:
            draft.redo()
        elif choice < 9:
            kept = draft.labels.ravel()[draft.edited_indices].copy()
            new = prediction(step)
            draft.merge(new, f"lungs-unet@{step}")
            np.testing.assert_array_equal(draft.labels.ravel()[draft.edited_indices], kept)
            free = np.setdiff1d(np.arange(240), draft.edited_indices)
            np.testing.assert_array_equal(draft.labels.ravel()[free], new.ravel()[free])
            assert draft.changed_voxels == np.count_nonzero(draft.labels != new)
        elif step % 4 == 0:
            draft.reset()
            assert draft.changed_voxels == 0
    draft.close()
    again = open_draft(tmp_path)
    np.testing.assert_array_equal(again.labels, draft.labels)
    np.testing.assert_array_equal(again.edited_indices, draft.edited_indices)
    assert again.changed_voxels == draft.changed_voxels


def test_reset_brings_the_whole_newest_prediction_and_can_be_undone(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    paint(draft, [1, 2, 3], 2)
    draft.merge(prediction(5), "lungs-unet@2")
    edited = draft.labels.copy()
    np.testing.assert_array_equal(draft.reset(), prediction(5))
    assert draft.edited_indices.size == 0
    draft.undo()
    np.testing.assert_array_equal(draft.labels, edited)
    assert draft.edited_indices.tolist() == [1, 2, 3]


def test_what_was_carried_over_counts_as_edited_and_stays(tmp_path: Path) -> None:
    draft = open_draft(tmp_path, np.zeros(SHAPE, np.uint8))
    accepted = np.zeros(SHAPE, np.uint8)
    accepted[1, 2, 3:6] = 2
    draft.carry_over(accepted)
    assert not draft.can_undo
    draft.merge(np.ones(SHAPE, np.uint8), "lungs-unet@2")
    assert draft.labels[1, 2, 3:6].tolist() == [2, 2, 2]
    assert draft.labels[0, 0, 0] == 1


def test_catch_up_records_what_nobody_told(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    silent = draft.labels.copy()
    silent[0, 0, :4] = 2
    draft.record_missed_changes(silent)
    np.testing.assert_array_equal(draft.labels, silent)
    draft.undo()
    np.testing.assert_array_equal(draft.labels, prediction())


def test_strokes_and_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    with pytest.raises(MedSegError, match="outside"):
        draft.record([240], 0, 1)
    with pytest.raises(MedSegError, match="shape"):
        draft.merge(np.zeros((8, 10), np.uint8), "lungs-unet@2")
    with pytest.raises(MedSegError, match="shape"):
        draft.record_missed_changes(np.zeros((3, 10, 8), np.uint8))
    assert not draft.can_undo


def test_seconds_are_kept(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    draft.add_seconds(61.0)
    draft.close()
    assert open_draft(tmp_path).seconds == 61.0
    assert draft.saved_at is not None
    assert now() > "2025"


def test_a_lost_stroke_is_not_counted_as_changed(tmp_path: Path) -> None:
    draft = open_draft(tmp_path)
    paint(draft, list(range(10)), 1)
    at = (tmp_path / "1.journal").stat().st_size
    paint(draft, list(range(5, 15)), 2)
    paint(draft, list(range(8, 20)), 7)
    draft.close()
    data = bytearray((tmp_path / "1.journal").read_bytes())
    data[at + 20] ^= 1
    (tmp_path / "1.journal").write_bytes(data)
    for _ in range(2):
        draft = open_draft(tmp_path)
        expected = prediction().ravel()
        expected[:10], expected[8:20] = 1, 7
        np.testing.assert_array_equal(draft.labels.ravel(), expected)
        assert draft.changed_voxels == np.count_nonzero(draft.labels != prediction())
        draft.close()


@pytest.mark.parametrize("runs", [[(0, 2**32 - 1)], [(2**64 - 1, 1)], [(0, 200)] * 2, [(300, 1)]])
@pytest.mark.parametrize("is_undone", [False, True])
def test_a_journal_whose_stroke_leaves_the_image_is_refused(
    runs: list[tuple[int, int]], is_undone: bool, tmp_path: Path
) -> None:
    journal = StrokeJournal(tmp_path / "1.journal")
    journal.add(Stroke(StrokeKind.PAINT, np.array([(*run, 0, 1) for run in runs], VOXEL_RUN_DTYPE)))
    if is_undone:
        journal.undo()
    journal.close()
    with pytest.raises(MedSegError, match="a stroke outside of stack"):
        open_draft(tmp_path)
