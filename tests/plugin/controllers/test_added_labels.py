"""A labels layer that the user added is merged at Accept or ignored, as the user says; never without a word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from plugin_phantoms import Texts, phantom, phantom_labels, write_phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Case, Correction
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path) -> Dock:
    """Two predicted cases, the first one open."""
    dock = make_dock(ws)
    dock.worklist.importer.read([write_phantom(tmp_path / "in", number) for number in (1, 2)])
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted", "predicted"])
    qtbot.waitUntil(lambda: dock.case_controller.current.labels_layer is not None)
    return dock


def add_layer(dock: Dock, value: int = 2) -> Labels:
    """As a click on napari's button for a new labels layer, then a stroke."""
    dock._viewer.layers.selection.active = dock.case_controller.current.image_layer
    dock._viewer._new_labels()
    (layer,) = [layer for layer in dock._viewer.layers if layer.name.endswith("- Labels")]
    layer.data_setitem((np.array([2, 2, 20]), np.array([2, 3, 10])), value)
    return layer


def accept(dock: Dock, qtbot: QtBot, answer: str) -> np.ndarray:
    """Accept with an answer to the question and return the correction's labels."""
    dock.review_panel.accept()
    assert "'patient 1 case 1 - Labels' with 3 labelled voxels" in dock.prompt.text
    assert not dock.case_controller.is_busy, "nothing is accepted before the answer"
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.prompt.press_answer(answer)
    project = dock._workspace.project
    (correction,) = project.read_records(Correction)
    return read_case_labels(project.folder, project.get_record(Case, correction.case_id), correction)


def test_yes_merges_the_voxels_and_undo_takes_them_back(dock: Dock, qtbot: QtBot) -> None:
    layer = add_layer(dock)
    accepted = accept(dock, qtbot, "Merge")
    expected = phantom_labels()
    expected[[2, 2, 20], [2, 3, 10]] = 2
    assert np.array_equal(accepted, expected)
    assert not layer.visible, "it would lie over the next image"
    qtbot.waitUntil(lambda: dock.case_panel._name.text() == "patient 2 case 2")
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()  # merged already, so nothing is asked


def test_merging_is_one_stroke(dock: Dock) -> None:
    layer = add_layer(dock, value=1)
    dock.added_labels.call_when_settled(lambda: None)
    dock.prompt.press_answer("Merge")
    current = dock.case_controller.current
    assert current.labels_layer.data[2, 2] == 1
    dock.case_controller.undo()
    assert np.array_equal(current.labels_layer.data, phantom_labels())
    layer.data_setitem((np.array([3]), np.array([3])), 2)
    asked: list[int] = []
    dock.added_labels.call_when_settled(lambda: asked.append(1))
    assert "with 1 labelled voxels" in dock.prompt.text, "only what was painted since"
    dock.prompt.press_answer("Merge")
    assert asked == [1]
    assert np.count_nonzero(current.labels_layer.data != phantom_labels()) == 1


def test_no_ignores_the_layer_now_and_later(dock: Dock, qtbot: QtBot) -> None:
    layer = add_layer(dock)
    assert np.array_equal(accept(dock, qtbot, "Ignore it"), phantom_labels())
    assert layer.visible
    qtbot.waitUntil(lambda: dock.case_panel._name.text() == "patient 2 case 2")
    layer.data_setitem((np.array([3]), np.array([3])), 2)
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()


def test_cancel_accepts_nothing(dock: Dock) -> None:
    add_layer(dock)
    dock.review_panel.accept()
    dock.prompt.press_answer("Cancel")
    assert not dock.case_controller.is_busy
    assert dock.case_controller.current.state == "predicted"


def test_an_empty_layer_is_no_question(dock: Dock, qtbot: QtBot) -> None:
    dock._viewer.add_labels(np.zeros((48, 64), int))
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()


def test_a_value_that_is_no_label_is_said_and_nothing_is_accepted(dock: Dock, told: Texts) -> None:
    add_layer(dock, value=5)
    dock.review_panel.accept()
    dock.prompt.press_answer("Merge")
    assert "value 5, which Lungs" in told
    assert not dock.case_controller.is_busy
    assert np.array_equal(dock.case_controller.current.labels_layer.data, phantom_labels())


@pytest.mark.parametrize("kind", ["no scale", "coarse", "shifted", "plane of a volume"])
def test_a_layer_on_another_grid_lands_where_it_is_seen(dock: Dock, told: Texts, kind: str) -> None:
    drawn = np.zeros((48, 64), np.uint8)
    drawn[4:6, 4:8] = 1
    arguments = {"scale": (0.5, 0.5), "units": ("mm", "mm")}
    expected = drawn
    if kind == "no scale":
        arguments = {}
    if kind == "coarse":
        # a voxel of 1 mm lies over two of 0.5 mm; the centre of the first one is at 0
        drawn, arguments["scale"] = np.zeros((24, 32), np.uint8), (1.0, 1.0)
        drawn[2:4, 2:4] = 1
        expected = np.repeat(np.repeat(drawn, 2, 0), 2, 1)
    if kind == "shifted":
        arguments["translate"] = (1.0, 2.0)
        expected = np.roll(drawn, (2, 4), (0, 1))
    if kind == "plane of a volume":
        drawn = drawn[None]
        arguments = {}
    dock._viewer.add_labels(drawn, **arguments)
    dock.added_labels.call_when_settled(lambda: None)
    dock.prompt.press_answer("Merge")
    if kind == "plane of a volume":
        assert "has 3 dimensions, but the image has 2" in told
        return
    changed = dock.case_controller.current.labels_layer.data != phantom_labels()
    if kind == "coarse":
        assert changed.sum() == expected.sum()
        assert np.abs(np.argwhere(changed).mean(0) - np.argwhere(expected).mean(0)).max() <= 1
    else:
        assert np.array_equal(changed, expected > 0)


def test_objects_get_numbers_of_their_own(dock: Dock, qtbot: QtBot) -> None:
    dock.task_assigner.use_open_image("nuclei")
    qtbot.waitUntil(lambda: dock.case_controller.current.case.task == "nuclei")
    dock.case_controller.restart_review()
    current = dock.case_controller.current
    current.labels_layer.data_setitem((np.array([30, 31]), np.array([30, 30])), 1)
    drawn = np.zeros((48, 64), np.uint8)
    drawn[4:6, 4:8] = drawn[40:42, 4:8] = 1
    dock._viewer.add_labels(drawn)
    dock.added_labels.call_when_settled(lambda: None)
    dock.prompt.press_answer("Merge")
    data = current.labels_layer.data
    assert len({int(data[30, 30]), int(data[4, 4]), int(data[40, 4]), 0}) == 4
    assert phantom(1).name
