"""What a person set is law: no new prediction changes it, whatever tool set it, and also if it is only called right."""

from collections.abc import Callable

import numpy as np
from workflow_phantoms import phantom, predicted

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.doubtful_places import DoubtfulPlace, confirm_place
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.merge_labels import keep_object_numbers
from napari_medseg.workflow.review import merge_prediction, open_review, record_prediction
from napari_medseg.workflow.workspace import Workspace

LUNGS = TASKS["lungs"]
PLACE = DoubtfulPlace((12, 20), (slice(10, 14), slice(18, 24)), np.ones((4, 6), np.bool_), 12.0, 1)


def test_a_new_prediction_keeps_what_was_painted_erased_and_called_right(
    open_workspace: Callable[[], Workspace], ws: Workspace
) -> None:
    case, prediction = predicted(ws, phantom(1))
    draft = open_review(ws, case, prediction)
    draft.record_edit(confirm_place(Canvas(draft.labels, LUNGS), PLACE))
    draft.record(np.arange(5), 0, 2)  # painted
    erased = np.ravel_multi_index((np.full(4, 30), np.arange(10, 14)), draft.labels.shape)
    draft.record(erased, 1, 0)
    before = draft.labels.copy()
    assert draft.edited_indices.size == 24 + 5 + 4
    merge_prediction(draft, np.full_like(before, 2), "lungs-unet@1")
    flat, edited = draft.labels.reshape(-1), draft.edited_indices
    np.testing.assert_array_equal(flat[edited], before.reshape(-1)[edited])
    assert (np.delete(flat, edited) == 2).all()
    shown = draft.labels.copy()
    draft.close()
    again = open_workspace()
    newer = record_prediction(
        again, case, PredictionResult(np.zeros_like(before), 0.1, None, 1.0, "CPU"), "lungs-unet@1"
    )
    np.testing.assert_array_equal(open_review(again, case, newer).labels, shown)


def test_a_case_with_nothing_but_a_confirmation_keeps_it_when_it_is_predicted_again(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(2))
    draft = open_review(ws, case, prediction)
    draft.record_edit(confirm_place(Canvas(draft.labels, LUNGS), PLACE))
    merge_prediction(draft, np.zeros_like(draft.labels))
    assert (draft.labels[PLACE.box] == 1).all()
    assert np.count_nonzero(draft.labels) == 24
    draft.undo()
    draft.undo()
    assert draft.edited_indices.size == 0


def test_tools_leave_what_is_called_right(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(3))
    draft = open_review(ws, case, prediction)
    draft.record_edit(confirm_place(Canvas(draft.labels, LUNGS), PLACE))
    protected = np.zeros(draft.labels.shape, np.bool_)
    protected.reshape(-1)[draft.edited_indices] = True
    canvas = Canvas(draft.labels, LUNGS, protected=protected)
    from napari_medseg.core.editing.piece_tools import delete_piece
    from napari_medseg.core.editing.pieces import find_piece

    edit: Edit = delete_piece(canvas, find_piece(canvas.labels, (12, 20)))
    draft.record_edit(edit)
    assert (draft.labels[PLACE.box] == 1).all()
    assert np.count_nonzero(draft.labels == 1) == 24


def test_a_new_object_joins_none_that_a_person_set() -> None:
    labels = np.zeros((20, 40), np.uint16)
    labels[2:8, 2:8], labels[2:8, 20:26] = 1, 2
    labels[12:18, 20:26] = 7  # drawn by a person
    edited = np.flatnonzero((labels == 7) | (np.arange(40) == 26) & (labels == 2))
    labels[3, 26] = 2  # a pixel more of object 2
    edited = np.union1d(edited, [3 * 40 + 26])
    new = np.zeros_like(labels)
    new[2:8, 2:8], new[2:8, 20:26], new[12:18, 2:8] = 2, 3, 7
    found = keep_object_numbers(new, labels, edited)
    assert (found[2:8, 20:26] == 2).all()  # the same object as that of the pixel
    others = {int(found[4, 4]), int(found[14, 4])}
    assert len(others) == 2
    assert not others & {0, 2, 7}
    np.testing.assert_array_equal(found > 0, new > 0)


def test_numbers_stay_if_a_person_set_no_object() -> None:
    new = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert keep_object_numbers(new, np.zeros_like(new), np.arange(5)) is new
