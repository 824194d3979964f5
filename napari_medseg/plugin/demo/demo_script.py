"""The script of the demo: predict, correct, accept, export, retrain, compare and promote, on bundled images."""

import csv
import shutil
from functools import partial
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Run
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.plugin.forms.export_form import ExportChoice
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow import retrain, run_control
from training.run_folder import REPORT_FILE, EpochEnded, Event

CT_SLICE = "A0001_z031"
N_XRAYS = 14
BRUSH_PX = 12
BUDGET_TEXT = "≤ 90 s"
N_EPOCHS_SHOWN = 2
TASK = "lungs"


def run_demo_script(driver: WindowDriver) -> None:
    """Run the complete workflow; screenshots, exports and the report are written to the folder of `driver`."""
    _predict_and_correct_ct(driver)
    _correct_xrays(driver)
    _export_labels(driver)
    _retrain_model(driver)
    _promote_model(driver)


def _predict_and_correct_ct(driver: WindowDriver) -> None:
    driver.print_message(
        "The demo uses lungs-ct@1, a small model that was trained on CT only. (The program's own choice, lungs-unet@4, "
        "supports X-rays too.)"
    )
    driver.print_message("A chest CT slice is dropped and predicted automatically.")
    driver.drop_files([SAMPLES / "ct_a0001" / "dicom" / f"{CT_SLICE}.dcm"])
    driver.wait_until("the prediction of the CT slice", lambda: _is_predicted(driver, CT_SLICE))
    driver.save_screenshot("1-predicted")
    layer = driver.labels_layer
    layer.brush_size = BRUSH_PX
    height, width = layer.data.shape
    layer.paint((height // 2, width // 3), 1)
    driver.save_screenshot("2-painted")
    image = driver.current_case.image
    truth = formats.read_labels(SAMPLES / "ct_a0001" / "labels" / f"{CT_SLICE}.tif", image)
    n_changed = driver.correct_labels(truth)
    driver.print_message(f"It is corrected with brush strokes ({n_changed:,} voxels) and accepted.")
    driver.save_screenshot("3-corrected")
    _accept_case(driver, CT_SLICE)


def _correct_xrays(driver: WindowDriver) -> None:
    names = _read_xray_names()
    driver.print_message(
        f"{len(names)} chest X-rays of other patients are dropped and corrected. They are difficult for the CT model."
    )
    driver.drop_files([SAMPLES / "xray" / "images" / f"{name}.jpg" for name in names])
    for index in range(len(names)):
        driver.wait_until("the next X-ray", lambda: _is_open(driver, names))
        name = driver.current_case.case.file_name
        stem = Path(name).stem
        driver.wait_until(f"the prediction of {name}", partial(_is_predicted, driver, stem))
        if index == 0:
            driver.save_screenshot("4-xray-predicted")
        labels = SAMPLES / "xray" / "labels" / f"{stem}.png"
        driver.correct_labels(formats.read_labels(labels, driver.current_case.image))
        _accept_case(driver, stem)
        names.remove(stem)
    driver.save_screenshot("5-all-accepted")


def _export_labels(driver: WindowDriver) -> None:
    folder = driver.folder / "exports"
    driver.print_message("The accepted labels are exported with provenance and measurements.")
    driver.dock.exporter.write(TASK, ExportChoice(".tif", folder))
    driver.wait_until("the export", lambda: (folder / "measurements.csv").exists())
    driver.process_events(1.0)
    driver.add_files(*sorted(folder.rglob("*.*")))


def _retrain_model(driver: WindowDriver) -> None:
    driver.print_message(f"The model is retrained on the corrections in a separate process, {BUDGET_TEXT}.")
    events: list[Event] = []
    driver.dock.run_monitor.event_received.connect(events.append)
    driver.choose_entry(BUDGET_TEXT)
    driver.click_button("Retrain on corrections")
    driver.wait_until("the training run to begin", lambda: driver.dock.run_monitor.is_running)
    driver.wait_until(
        "the first epochs", lambda: _count_epochs(events) >= N_EPOCHS_SHOWN or not driver.dock.run_monitor.is_running
    )
    driver.save_screenshot("6-training")
    driver.wait_until("the end of the training run", lambda: not driver.dock.run_monitor.is_running)
    driver.save_screenshot("7-compared")
    report = run_control.get_run_folder(driver.workspace, _get_run(driver)) / REPORT_FILE
    driver.add_files(Path(shutil.copy(report, driver.folder / REPORT_FILE)))


def _count_epochs(events: list[Event]) -> int:
    return sum(isinstance(event, EpochEnded) for event in events)


def _promote_model(driver: WindowDriver) -> None:
    workspace = driver.workspace
    view = retrain.read_comparison(workspace, _get_run(driver))
    driver.print_message(f"On the hold-out: {view.verdict.text}")
    live = workspace.registry.get_live_card(TASK)
    before = live.id
    if view.verdict.decision is not Decision.BETTER:  # a slow or busy machine does not get far in that time
        driver.click_button(f"Keep @{live.version}")
        driver.print_message(f"The new version is not better, so {before} stays live. Corrections and run are kept.")
        driver.save_screenshot("8-kept")
        return
    driver.click_button("Promote")
    driver.wait_until("the promotion", lambda: workspace.registry.get_live_card(TASK).id != before, timeout_s=10)
    driver.print_message(f"{workspace.registry.get_live_card(TASK).id} is live now; it replaces {before}.")
    driver.save_screenshot("8-promoted")


def _get_run(driver: WindowDriver) -> Run:
    if driver.dock.run_monitor.run is None:
        raise MedSegError("no training run was started. Look at the last screenshot.")
    return driver.dock.run_monitor.run


def _accept_case(driver: WindowDriver, stem: str) -> None:
    driver.click_button("Accept")
    driver.wait_until(f"{stem} to be accepted", lambda: _get_case_state(driver, stem) == "accepted")


def _is_open(driver: WindowDriver, stems: list[str]) -> bool:
    current = driver.dock.case_controller.current
    return current is not None and Path(current.case.file_name).stem in stems


def _is_predicted(driver: WindowDriver, stem: str) -> bool:
    current = driver.dock.case_controller.current
    return current is not None and Path(current.case.file_name).stem == stem and current.labels_layer is not None


def _get_case_state(driver: WindowDriver, stem: str) -> str:
    states = {Path(row.case.file_name).stem: row.state for row in driver.dock.worklist.rows}
    return states.get(stem, "")


def _read_xray_names() -> list[str]:
    with (SAMPLES / "xray" / "index.csv").open(encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)][:N_XRAYS]
