"""The play of the demo: predict, correct, accept, export, retrain, compare, promote, on images that may be shipped."""

import csv
import shutil
from functools import partial
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run
from napari_medseg.plugin.demo.window_driver import Stage
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow import retrain, run_control
from training.run_folder import EpochEnded, Event

CT_SLICE = "A0001_z031"
N_XRAYS = 14
BRUSH_PX = 12
BUDGET_TEXT = "≤ 60 s"
N_EPOCHS_SHOWN = 2
TASK = "lungs"


def play(stage: Stage) -> None:
    """Go through the whole loop; pictures, exports and the report are left in the stage's folder."""
    _predict_and_correct_a_ct(stage)
    _correct_xrays(stage)
    _export(stage)
    _retrain(stage)
    _decide(stage)


def _predict_and_correct_a_ct(stage: Stage) -> None:
    stage.say("The play uses lungs-unet@1, which has seen CT only. (lungs-unet@3, live for you, knows X-rays too.)")
    stage.say("A chest CT slice is dropped, and predicted without a click.")
    stage.drop([SAMPLES / "ct_a0001" / "dicom" / f"{CT_SLICE}.dcm"])
    stage.wait_until("the prediction of the CT slice", lambda: _is_predicted(stage, CT_SLICE))
    stage.picture("1-predicted")
    layer = stage.labels_layer
    layer.brush_size = BRUSH_PX
    height, width = layer.data.shape
    layer.paint((height // 2, width // 3), 1)
    stage.picture("2-painted")
    image = stage.current.image
    truth = formats.read_labels(SAMPLES / "ct_a0001" / "labels" / f"{CT_SLICE}.tif", image)
    n_changed = stage.correct(truth)
    stage.say(f"It is corrected with brush strokes ({n_changed:,} voxels), and accepted.")
    stage.picture("3-corrected")
    _accept(stage, CT_SLICE)


def _correct_xrays(stage: Stage) -> None:
    names = _xray_names()
    stage.say(f"{len(names)} chest X-rays of other patients, which the CT model finds hard, are dropped and corrected.")
    stage.drop([SAMPLES / "xray" / "images" / f"{name}.jpg" for name in names])
    for index in range(len(names)):
        stage.wait_until("the next X-ray", lambda: _is_open(stage, names))
        name = stage.current.case.name
        stem = Path(name).stem
        stage.wait_until(f"the prediction of {name}", partial(_is_predicted, stage, stem))
        if index == 0:
            stage.picture("4-xray-predicted")
        labels = SAMPLES / "xray" / "labels" / f"{stem}.png"
        stage.correct(formats.read_labels(labels, stage.current.image))
        _accept(stage, stem)
        names.remove(stem)
    stage.picture("5-all-accepted")


def _export(stage: Stage) -> None:
    folder = stage.folder / "exports"
    stage.say("The accepted labels are exported with provenance and measurements.")
    stage.dock.exporter.with_images = False
    stage.dock.exporter.write(TASK, ".tif", folder)
    stage.wait_until("the export", lambda: (folder / "measurements.csv").exists())
    stage.live(1.0)
    stage.leave(*sorted(folder.rglob("*.*")))


def _retrain(stage: Stage) -> None:
    stage.say(f"Retrain on corrections, {BUDGET_TEXT} at most, in its own process.")
    events: list[Event] = []
    stage.dock.watch.said.connect(events.append)
    stage.choose(BUDGET_TEXT)
    stage.click("Retrain on corrections")
    stage.wait_until("the training run to begin", lambda: stage.dock.watch.running)
    stage.wait_until("the first epochs", lambda: _n_epochs(events) >= N_EPOCHS_SHOWN or not stage.dock.watch.running)
    stage.picture("6-training")
    stage.wait_until("the end of the training run", lambda: not stage.dock.watch.running)
    stage.picture("7-compared")
    report = run_control.run_folder(stage.workspace, _run(stage)) / "report.html"
    stage.leave(Path(shutil.copy(report, stage.folder / "report.html")))


def _n_epochs(events: list[Event]) -> int:
    return sum(isinstance(event, EpochEnded) for event in events)


def _decide(stage: Stage) -> None:
    workspace = stage.workspace
    view = retrain.comparison(workspace, _run(stage))
    stage.say(f"On the hold-out: {view.verdict.text}")
    before = workspace.registry.live(TASK).id
    stage.click("Promote")
    stage.wait_until("the promotion", lambda: workspace.registry.live(TASK).id != before, patience_s=10)
    stage.say(f"{workspace.registry.live(TASK).id} is live in place of {before}.")
    stage.picture("8-promoted")


def _run(stage: Stage) -> Run:
    if stage.dock.watch.run is None:
        raise MedSegError("no training run was started. Look at the last picture.")
    return stage.dock.watch.run


def _accept(stage: Stage, stem: str) -> None:
    stage.click("Accept")
    stage.wait_until(f"{stem} to be accepted", lambda: _state_of(stage, stem) == "accepted")


def _is_open(stage: Stage, stems: list[str]) -> bool:
    current = stage.dock.desk.current
    return current is not None and Path(current.case.name).stem in stems


def _is_predicted(stage: Stage, stem: str) -> bool:
    current = stage.dock.desk.current
    return current is not None and Path(current.case.name).stem == stem and current.labels_layer is not None


def _state_of(stage: Stage, stem: str) -> str:
    states = {Path(row.case.name).stem: row.state for row in stage.dock.worklist.rows}
    return states.get(stem, "")


def _xray_names() -> list[str]:
    with (SAMPLES / "xray" / "index.csv").open(encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)][:N_XRAYS]
