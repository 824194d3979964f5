"""A new task out of the window: typed, checked while it is typed, and worked on at once, without any model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from plugin_phantoms import Texts, phantom, write_phantom, write_version
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QToolButton

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Correction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.catalog import write_task
from napari_medseg.core.tasks.custom_task import append_task_labels, make_custom_task
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.task_form import NAME_COLUMN, REMOVE_COLUMN, LabelsDialog, TaskDialog
from napari_medseg.plugin.panels.case_panel import NO_MODEL_TOOLTIP
from napari_medseg.plugin.panels.task_selector import NOT_EDITABLE_TOOLTIP
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def made() -> list[Task]:
    return []


@pytest.fixture
def dialog(qtbot: QtBot, made: list[Task]) -> TaskDialog:
    shown = TaskDialog(made.append)
    qtbot.addWidget(shown)
    return shown


def name_labels(dialog: TaskDialog, *names: str) -> None:
    for row, name in enumerate(names):
        dialog.table.item(row, NAME_COLUMN).setText(name)


def knee(dock: Dock) -> None:
    dock.case_panel.task_selector.make_task(make_custom_task("knee", ["bone", "cartilage"], kind="grey"))


def test_what_is_typed_becomes_a_task(dialog: TaskDialog, made: list[Task]) -> None:
    assert not dialog.save_button.isEnabled()
    dialog.name.value = "knee"
    dialog.kind.value = "mr"
    name_labels(dialog, "bone", "", "cartilage")
    dialog.add_label("meniscus", "#123456")
    assert dialog.save_button.isEnabled()
    dialog.save_button.click()
    assert [(label.value, label.name) for label in made[0].labels] == [(1, "bone"), (2, "cartilage"), (3, "meniscus")]
    assert len({label.colour for label in made[0].labels}) == 3
    assert made[0].labels[2].colour == "#123456"
    assert "C" not in "".join(made[0].axes)


def test_what_is_wrong_is_said_before_the_button_works(dialog: TaskDialog) -> None:
    name_labels(dialog, "bone", "Bone")
    assert dialog.problem == "", "nothing is complained of before there is a name"
    dialog.name.value = "Knee joint"
    assert "is not a valid task name" in dialog.problem
    dialog.name.value = "knee"
    assert "two labels are called bone" in dialog.problem
    assert not dialog.save_button.isEnabled()
    button = dialog.table.cellWidget(1, REMOVE_COLUMN)
    assert isinstance(button, QToolButton)
    button.click()
    assert dialog.problem == ""
    assert dialog.save_button.isEnabled()
    dialog.add_label("cartilage")
    dialog.instances.value = True
    assert "numbered objects has exactly one label" in dialog.problem


def test_a_name_that_is_taken_keeps_the_dialog_open(qtbot: QtBot) -> None:
    def refuse(task: Task) -> None:
        raise MedSegError(f"there is a task {task.name!r} already")

    dialog = TaskDialog(refuse)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.name.value = "knee"
    name_labels(dialog, "bone")
    dialog.save_button.click()
    assert dialog.isVisible()
    assert dialog.problem == "there is a task 'knee' already"


def test_the_chooser_offers_a_new_task_and_stays_where_it_was(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot
) -> None:
    dock = make_dock(ws)
    chooser = dock.case_panel.task_selector
    index = chooser.findText("New task…")
    chooser.setCurrentIndex(index)
    chooser.activated.emit(index)
    (dialog,) = dock.findChildren(TaskDialog)
    assert dialog.isVisible()
    assert chooser.currentData() == "lungs"
    dialog.name.value = "knee"
    dialog.kind.value = "grey"
    name_labels(dialog, "bone", "cartilage")
    dialog.save_button.click()
    assert dock.worklist.task.name == chooser.currentData() == "knee"
    assert "knee" in Workspace(ws.project, ws.registry, ws.engine).tasks


def test_a_task_without_a_model_can_be_painted_and_accepted_but_not_predicted(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    dock = make_dock(ws)
    knee(dock)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.edit_session is not None
    )
    assert dock.case_controller.current.case.task == "knee", "a grey picture fits the task in hand"
    assert not dock.case_panel._predict.isEnabled()
    assert dock.case_panel._predict.toolTip() == NO_MODEL_TOOLTIP
    assert dock.case_panel._no_model.isVisible()
    assert dock.retrain_panel._retrain.text() == "Train first model"
    assert not dock.retrain_panel._retrain.isEnabled()
    dock.labels_panel._uncertainty_checkbox.click()
    assert NO_MODEL_TOOLTIP in told
    assert not dock.labels_panel.is_uncertainty_shown
    dock.labels_panel.choose_label(1)
    layer = dock.case_controller.current.labels_layer
    assert layer.selected_label == 2
    assert layer.features["label"].tolist() == ["background", "bone", "cartilage"]
    layer.data_setitem((np.array([3]), np.array([4])), 2)
    dock.review_panel.accept()
    qtbot.waitUntil(lambda: bool(ws.project.read_records(Correction)))
    qtbot.waitUntil(lambda: dock.retrain_panel._retrain.isEnabled())
    assert dock.retrain_panel._status.text() == "1 correction, no model yet"


def test_the_first_version_that_goes_live_predicts(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    knee(dock)
    task = ws.tasks.get_task("knee")
    write_version(tmp_path / "registry" / "knee-unet" / "1", name="knee-unet", task="knee", own_task=task)
    dock.case_panel.refresh_models()
    assert [dock.case_panel._model.itemText(index) for index in range(2)] == ["none is live: choose one", "knee-unet@1"]
    assert not dock.worklist.can_predict
    ws.registry.promote("knee-unet@1")
    dock.retrain_panel.live_changed.emit()
    assert dock.case_panel._model.itemText(0) == "knee-unet@1 live"
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.saved_state == "predicted"
    )
    assert dock.case_controller.current.image.content_hash == phantom(1).content_hash
    dock.retrain_panel.refresh()
    assert dock.retrain_panel._retrain.text() == "Retrain on corrections"


def edit(dock: Dock) -> LabelsDialog:
    """Ask for the dialog as a person does."""
    chooser = dock.case_panel.task_selector
    index = chooser.findText("Edit labels…")
    chooser.setCurrentIndex(index)
    chooser.activated.emit(index)
    (dialog,) = dock.case_panel.findChildren(LabelsDialog)
    return dialog


def test_labels_of_the_programs_tasks_cannot_be_edited(ws: Workspace, make_dock: Callable[[Workspace], Dock]) -> None:
    chooser = make_dock(ws).case_panel.task_selector
    entry = chooser.model().item(chooser.findText("Edit labels…"))
    assert not entry.isEnabled()
    assert chooser.itemData(chooser.findText("Edit labels…"), Qt.ItemDataRole.ToolTipRole) == NOT_EDITABLE_TOOLTIP


def test_a_label_is_added_while_a_case_is_open(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    knee(dock)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.edit_session is not None
    )
    layer = dock.case_controller.current.labels_layer
    layer.data_setitem((np.array([3]), np.array([4])), 2)
    dialog = edit(dock)
    assert dock.case_panel.task_selector.currentData() == "knee"
    assert dialog.name.value == "knee"
    assert not dialog.name.native.isEnabled()
    item = dialog.table.item(0, NAME_COLUMN)
    assert not item.flags() & Qt.ItemFlag.ItemIsEditable, "a case was begun with these labels"
    dialog.add_label("meniscus", "#123456")
    dialog.save_button.click()
    assert [label.name for label in dock.worklist.task.labels] == ["bone", "cartilage", "meniscus"]
    assert dock.case_controller.current.labels_layer is layer
    assert layer.data[3, 4] == 2
    assert layer.features["label"].tolist() == ["background", "bone", "cartilage", "meniscus"]
    np.testing.assert_allclose(layer.colormap.map(np.array([3]))[0], np.array([0x12, 0x34, 0x56, 255]) / 255)
    layer.keymap[next(key for key in layer.keymap if str(key) == "3")](layer)
    assert layer.selected_label == 3
    assert dock.labels_panel._buttons.button(3).isChecked()
    layer.data_setitem((np.array([5]), np.array([5])), 3)
    dock.review_panel.accept()
    qtbot.waitUntil(lambda: bool(ws.project.read_records(Correction)))


def test_a_label_in_use_is_not_removed_by_the_dialog(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    knee(dock)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.edit_session is not None
    )
    dock.case_controller.current.labels_layer.data_setitem((np.array([3]), np.array([4])), 2)
    dock.review_panel.accept()
    qtbot.waitUntil(lambda: bool(ws.project.read_records(Correction)))
    dialog = edit(dock)
    dialog.show()
    button = dialog.table.cellWidget(1, REMOVE_COLUMN)
    assert isinstance(button, QToolButton)
    button.click()
    dialog.save_button.click()
    assert dialog.isVisible()
    assert "label 2 'cartilage' is used by the correction of patient 1 case 1. It keeps its name" in dialog.problem
    assert len(ws.tasks.get_task("knee").labels) == 2


def test_names_of_a_task_that_nothing_uses_can_change(ws: Workspace, make_dock: Callable[[Workspace], Dock]) -> None:
    dock = make_dock(ws)
    knee(dock)
    dialog = edit(dock)
    dialog.table.item(1, NAME_COLUMN).setText("gristle")
    dialog.save_button.click()
    assert [label.name for label in dock.worklist.task.labels] == ["bone", "gristle"]


def test_an_open_window_sees_what_the_command_line_made(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], tmp_path: Path
) -> None:
    dock = make_dock(ws)
    chooser = dock.case_panel.task_selector
    write_task(make_custom_task("larynx", ["fold"]), ws.registry.tasks_dir)
    assert chooser.findData("larynx") < 0
    QApplication.sendEvent(chooser, QEvent(QEvent.Type.WindowActivate))
    assert chooser.findData("larynx") > 0
    assert chooser.currentData() == "lungs"
    dock.worklist.choose_task("larynx")
    longer = append_task_labels(ws.tasks.get_task("larynx"), ["tool"])
    write_task(longer, ws.registry.tasks_dir)
    chooser.showPopup()
    chooser.hidePopup()
    assert len(dock.worklist.task.labels) == len(dock.labels_panel._buttons.buttons()) == 2
    write_version(tmp_path / "registry" / "larynx-unet" / "1", name="larynx-unet", task="larynx", own_task=longer)
    QApplication.sendEvent(chooser, QEvent(QEvent.Type.WindowActivate))
    assert dock.case_panel._model.findData("larynx-unet@1") > 0, "a version that a command added"
    (ws.registry.tasks_dir / "larynx.json").unlink()
    (tmp_path / "registry" / "larynx-unet" / "1" / "card.json").unlink()
    QApplication.sendEvent(chooser, QEvent(QEvent.Type.WindowActivate))
    assert dock.worklist.task.name == "lungs", "what is gone cannot be worked on"
