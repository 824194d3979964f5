"""Four tasks in one window: the file chooses, a person can choose otherwise, and each shows its own figures."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import Texts, write_phantom, write_version
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import InstanceSeparation, RegionOfInterest
from napari_medseg.core.records import Case
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.export_form import ExportChoice
from napari_medseg.plugin.sample_data import SAMPLES, drawn_lesions
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

TILE = SAMPLES / "nuclei_dsb" / "images" / "ad473063dab4bf4f.png"


@pytest.fixture(autouse=True)
def models(tmp_path: Path) -> None:
    instances = InstanceSeparation(levels=[0.0, 0.5])
    for task, changes in (("covid", {"field": RegionOfInterest(task="lungs")}), ("nuclei", {"instances": instances})):
        write_version(tmp_path / "bundled" / f"{task}-unet" / "1", name=f"{task}-unet", task=task, **changes)


def drop(worklist: SimpleNamespace, qtbot: QtBot, *paths: Path) -> None:
    with qtbot.waitSignal(worklist.importer.finished):
        worklist.importer.read(list(paths))


def test_the_file_chooses_the_task_and_the_window_says_so(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(window.worklist, qtbot, TILE)
    assert window.worklist.task.name == "nuclei"
    assert "task set to Nuclei" in told
    qtbot.waitUntil(
        lambda: window.case_controller.current is not None and window.case_controller.current.saved_state == "predicted"
    )
    assert window.case_controller.current.case.task == "nuclei"
    assert window.case_controller.current.labels_layer.name.startswith("nuclei: slide 1 case 1")
    drop(window.worklist, qtbot, write_phantom(tmp_path / "in", 1))
    assert window.worklist.task.name == "lungs"


def test_choosing_a_task_only_changes_the_list(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window.worklist, qtbot, write_phantom(tmp_path / "in", 1))
    qtbot.waitUntil(lambda: window.case_controller.current.saved_state == "predicted")
    current = window.case_controller.current
    before = window.ws.project.read_records(Case)
    for task in ("covid", "nuclei", "instruments", "lungs", "covid"):
        window.worklist.choose_task(task)
        assert window.worklist.task.name == task
        assert [row.case.task for row in window.worklist.rows] == ["lungs"] * (task == "lungs")
    assert window.case_controller.current is current
    assert window.ws.project.read_records(Case) == before
    assert window.worklist.open_case_model == "lungs-unet@1", "the open case is predicted by a model of its own task"
    drop(window.worklist, qtbot, write_phantom(tmp_path / "in", 2))
    assert window.worklist.task.name == "covid", "a grey picture fits the task whose list is shown"


def test_a_task_without_a_model_is_painted_by_hand(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    frame = SAMPLES / "laparoscopy" / "images" / "00009-23254-frame-28698.jpg"
    drop(window.worklist, qtbot, frame)
    assert window.worklist.task.name == "instruments"
    assert window.case_controller.current.labels_layer.data.dtype == np.uint8, "a blank start, as nothing can predict"
    assert not window.worklist.can_predict
    window.worklist.predict()
    assert window.prediction_queue.running_request is None


def test_a_case_of_yesterday_brings_its_task_along(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, open_workspace: Callable[[], Workspace]
) -> None:
    drop(window.worklist, qtbot, TILE)
    nucleus_case = window.case_controller.current.case
    drop(window.worklist, qtbot, write_phantom(tmp_path / "in", 1))
    assert window.worklist.task.name == "lungs"
    window.worklist.open(nucleus_case)
    assert window.worklist.task.name == "nuclei"


def test_lesions_are_shown_as_a_share_of_the_lungs(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    dock.worklist.choose_task("covid")
    drop(dock.worklist, qtbot, write_phantom(tmp_path / "in", 1))
    qtbot.waitUntil(lambda: "%" in dock.labels_panel._sizes[1].text())
    assert "all lungs" in dock.labels_panel._sizes[1].toolTip()
    effusion = dock.labels_panel._sizes[3]
    assert effusion.text() == "never predicted", "the network has no class for it"
    assert "No training image of covid-unet@1 had this label" in effusion.toolTip()
    case = dock.case_controller.current.case
    prediction = next(row.prediction for row in dock.worklist.rows if row.case.id == case.id)
    assert prediction.field_model == "lungs-unet@1"
    assert (ws.project.folder / prediction.field_file).exists()


def test_each_nucleus_has_a_number_and_one_painted_gets_a_new_one(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot
) -> None:
    dock = make_dock(ws)
    drop(dock.worklist, qtbot, TILE)
    qtbot.waitUntil(lambda: dock.labels_panel._sizes[1].text() != "")
    assert dock.labels_panel._sizes[1].text().startswith("2, mean")
    layer = dock.case_controller.current.labels_layer
    assert layer.data.dtype == np.uint16, "room for more objects than the file's type holds"
    dock.labels_panel.choose_label(0)
    assert (layer.mode, layer.selected_label) == ("paint", 3)
    layer.paint((10, 10), 3)
    dock.labels_panel.choose_label(0)
    assert layer.selected_label == 4
    assert dock.labels_panel._buttons.button(1).isChecked()


def test_numbers_beyond_sixteen_bits_survive_a_draft(ws: Workspace, tmp_path: Path) -> None:
    image = Image(np.zeros((20, 30, 3), np.uint8), "YXC", units="rgb", group="g", name="slide")
    (case,) = cases.add_cases(ws, [image], "nuclei")
    draft = review.open_review(ws, case, None)
    assert draft.labels.dtype == np.uint16
    draft.record(np.array([5, 6]), 0, 70_001)
    draft.close()
    again = review.open_review(ws, case, None)
    assert again.labels.reshape(-1)[5] == 70_001
    assert formats.read_labels(write_large(tmp_path, again.labels), image).max() == 70_001
    again.close()


def write_large(folder: Path, labels: np.ndarray) -> Path:
    path = folder / "large.tif"
    formats.write_labels(path, labels, Image(labels, "YX"))
    return path


def test_accepted_nuclei_are_exported_with_their_numbers_and_count(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    drop(dock.worklist, qtbot, TILE)
    qtbot.waitUntil(lambda: dock.case_controller.current.edit_session is not None)
    layer = dock.case_controller.current.labels_layer
    layer.data_setitem((np.array([10, 10, 11]), np.array([20, 21, 20])), 1000)
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    dock.exporter.write("nuclei", ExportChoice(".png", tmp_path / "out"))
    qtbot.waitUntil(lambda: (tmp_path / "out" / "measurements.csv").exists())
    (path,) = (tmp_path / "out").glob("*_labels.png")
    exported = formats.read_labels(path, formats.read(TILE))
    assert np.count_nonzero(exported == 1000) == 3
    header, row = (tmp_path / "out" / "measurements.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["objects"] == "3"


def test_a_sample_can_say_which_task_it_is_for(window: SimpleNamespace, qtbot: QtBot) -> None:
    pixels, arguments, _ = drawn_lesions()[0]
    with qtbot.waitSignal(window.worklist.importer.finished):
        window.viewer.add_image(pixels, **arguments)
    assert window.worklist.task.name == "covid"
    assert window.case_controller.current.case.task == "covid"
