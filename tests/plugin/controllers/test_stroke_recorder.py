"""Strokes on a real Labels layer, found again in the journal of a real draft."""

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from plugin_phantoms import Texts, phantom, phantom_labels

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder, merge_paint_atoms
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def draft(ws: Workspace) -> Draft:
    (case,) = cases.add_cases(ws, [phantom(n_slices=4)], "lungs")
    return review.open_review(ws, case, None)


def painted_on(draft: Draft, changes: list[int]) -> tuple[Labels, StrokeRecorder]:
    layer = ViewerModel().add_labels(draft.labels.copy())
    return layer, StrokeRecorder(layer, draft, lambda: changes.append(draft.changed_voxels))


def test_a_brush_stroke_is_in_the_draft_at_once(draft: Draft) -> None:
    changes: list[int] = []
    layer, _ = painted_on(draft, changes)
    layer.brush_size = 9
    layer.paint((2, 20, 20), 1)
    assert np.array_equal(layer.data, draft.labels)
    assert draft.changed_voxels == np.count_nonzero(layer.data) > 0
    assert changes == [draft.changed_voxels]


def test_a_drag_over_itself_is_one_stroke_with_each_voxel_once(draft: Draft) -> None:
    layer, recorder = painted_on(draft, [])
    layer.brush_size = 7
    with layer.block_history():
        for column in (20, 22, 21, 20):
            layer.paint((1, 20, column), 1)
        layer.paint((1, 20, 21), 2)
    assert np.array_equal(layer.data, draft.labels)
    recorder.undo()
    assert not layer.data.any()
    assert not draft.can_undo


@pytest.mark.parametrize("dims", [2, 3])
def test_fill_and_polygon_are_recorded(draft: Draft, dims: int) -> None:
    layer, recorder = painted_on(draft, [])
    layer.n_edit_dimensions = dims
    layer.fill((1, 5, 5), 2)
    assert np.array_equal(layer.data, draft.labels)
    assert np.count_nonzero(draft.labels) == (layer.data[1].size if dims == 2 else layer.data.size)
    layer.n_edit_dimensions = 2
    layer.paint_polygon([(1, 5, 5), (1, 5, 20), (1, 20, 20)], 1)
    assert np.array_equal(layer.data, draft.labels)
    recorder.undo()
    recorder.undo()
    assert not layer.data.any()


def test_undo_goes_across_slices_without_a_limit_and_redo_brings_all_back(draft: Draft) -> None:
    layer, recorder = painted_on(draft, [])
    layer.brush_size = 1
    for number in range(150):  # napari keeps 100
        layer.paint((number % 4, 1 + number // 4, 5), 1)
    painted = layer.data.copy()
    while recorder.undo() is not None:
        pass
    assert not layer.data.any()
    while recorder.redo() is not None:
        pass
    assert np.array_equal(layer.data, painted)


def test_a_draft_of_yesterday_is_there_and_can_be_undone(
    draft: Draft, ws: Workspace, open_workspace: Callable[[], Workspace]
) -> None:
    layer, recorder = painted_on(draft, [])
    layer.paint((0, 20, 20), 1)
    layer.paint((3, 20, 20), 2)
    painted = layer.data.copy()
    recorder.close()
    draft.close()
    again = review.open_review(open_workspace(), draft.case, None)
    layer, recorder = painted_on(again, [])
    assert np.array_equal(layer.data, painted)
    recorder.undo()
    assert not layer.data[3].any()
    assert layer.data[0].any()


def test_what_came_without_a_paint_event_is_recorded_too(draft: Draft) -> None:
    layer, recorder = painted_on(draft, [])
    layer.data[2, :5] = 1
    layer.refresh()
    recorder.record_external_changes_if_refreshed()
    assert np.array_equal(draft.labels, layer.data)
    layer.data = phantom_labels(4)
    assert np.array_equal(draft.labels, phantom_labels(4))
    recorder.undo()
    assert np.count_nonzero(layer.data) == 5 * layer.data.shape[2]


def test_data_setitem_is_recorded(draft: Draft) -> None:
    layer, _ = painted_on(draft, [])
    layer.data_setitem((np.array([0, 3]), np.array([1, 2]), np.array([4, 5])), 2)
    assert draft.labels[0, 1, 4] == draft.labels[3, 2, 5] == 2
    assert draft.changed_voxels == 2


def test_an_array_of_another_shape_is_refused_and_the_draft_shown_again(draft: Draft, told: Texts) -> None:
    layer, recorder = painted_on(draft, [])
    layer.paint((0, 20, 20), 1)
    painted = layer.data.copy()
    layer.data = np.zeros((2, 9, 9), np.uint8)
    assert np.array_equal(layer.data, painted)
    assert "was given an array of shape (2, 9, 9)" in told
    layer.events.data.disconnect()
    layer.data = np.zeros((2, 9, 9), np.uint8)
    with pytest.raises(MedSegError, match="shape"):
        recorder.record_external_changes()


def test_after_close_nothing_is_recorded(draft: Draft) -> None:
    layer, recorder = painted_on(draft, [])
    recorder.close()
    layer.paint((0, 20, 20), 1)
    assert draft.changed_voxels == 0


def test_an_edit_takes_the_first_old_and_the_last_new_value() -> None:
    first = (np.array([1]), np.array([1])), np.array([0], np.uint8), 1
    second = (np.array([1, 0]), np.array([1, 2])), np.array([1, 0], np.uint8), 2
    edit = merge_paint_atoms([first, second], (3, 4))
    assert edit.indices.tolist() == [2, 5]
    assert edit.old.tolist() == [0, 0]
    assert edit.new.tolist() == [2, 2]
    assert merge_paint_atoms([first, (*first[:1], np.array([1], np.uint8), 0)], (3, 4)).indices.size == 0


def test_an_edit_during_a_stroke_is_refused_before_anything_is_written(draft: Draft) -> None:
    layer, recorder = painted_on(draft, [])
    change = Change((slice(0, 1), slice(0, 1), slice(0, 4)), np.ones((1, 1, 4), np.bool_), 1)
    edit = Canvas(draft.labels, get_task("lungs")).make_edit("x", [change])
    with layer.block_history():
        layer.paint((1, 20, 20), 1)
        with pytest.raises(MedSegError, match="in progress"):
            recorder.apply_edit(edit)
        assert not draft.has_records
    recorder.apply_edit(edit)
    assert np.array_equal(layer.data, draft.labels)
