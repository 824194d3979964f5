"""The longest pause of the window with a list of 10,000 cases: opened, scrolled, sorted, searched, and predicted into.

xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/case_list.py --pictures list_pictures
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drop_pause import StandInEngine
from many_cases import TASK, make_project
from pause_meter import Pause, PauseMeter

from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.workflow import review
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.workspace import Workspace


def run_steps(stage: WindowDriver, workspace: Workspace) -> Iterator[tuple[str, Pause]]:
    """Go through the steps in the unfolded list."""
    meter, dock = PauseMeter(), stage.dock
    worklist, panel = dock.worklist, dock.case_panel.list_panel
    dock.prompt.hide()
    for what, task in (
        ("another task", "nuclei"),
        ("back to the task (reads all)", TASK),
        ("another one again", "nuclei"),
        ("back again", TASK),
    ):
        yield what, meter.measure(lambda task=task: worklist.choose_task(task), lambda: worklist.case_list.is_complete)
    yield "list unfolded", meter.measure(lambda: dock.case_panel._unfold.setChecked(True), panel.isVisible)
    bar = panel.table.verticalScrollBar()
    for share in (0.1, 0.5, 1.0):
        yield (
            f"scrolled to {share:.0%}",
            meter.measure(lambda share=share: bar.setValue(int(bar.maximum() * share)), lambda: True),
        )
    for order in (CaseOrder.RANDOM, CaseOrder.USEFUL):
        place = panel._order.findData(order)
        yield (
            f"order: {order}",
            meter.measure(lambda n=place: (panel._order.setCurrentIndex(n), panel._on_order(n)), lambda: True),
        )
    yield "sorted by name", meter.measure(lambda: panel._on_sort("case", True), lambda: True)
    yield (
        "searched",
        meter.measure(lambda: panel._search.setText("patient 12"), lambda: panel.model.rowCount() < 10_000),
    )
    yield "search cleared", meter.measure(lambda: panel._search.setText(""), lambda: panel.model.rowCount() > 9_000)
    waiting = [row.case for row in worklist.rows if row.state == "new"][:3]
    for number, case in enumerate(waiting):
        labels = np.zeros(case.spatial_shape, np.uint8)
        result = PredictionResult(labels, 0.5 + number / 10, None, 1.0, "CPU")
        prediction = review.record_prediction(workspace, case, result, "lungs-unet@1")
        yield (
            f"prediction {number + 1} arrives",
            meter.measure(
                lambda case=case, prediction=prediction, labels=labels: dock.prediction_queue.predicted.emit(
                    case, prediction, labels
                ),
                lambda: True,
            ),
        )


def main() -> None:
    """Measure, print a table, and take pictures if a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder / "project", arguments.cases).close()
        registry = ModelRegistry(folder / "registry", BUNDLED_MODELS)
        workspace = Workspace(Project.open(folder / "project"), registry, StandInEngine())
        viewer, widget = open_window(workspace)
        stage = WindowDriver(viewer, widget, arguments.pictures or folder)
        stage.folder.mkdir(exist_ok=True)
        stage.process_events(3.0)
        stage.dock.worklist.predicts_automatically = False
        for step, pause in run_steps(stage, workspace):
            print(
                f"{step:<36}{pause.longest_busy_ms:>6.0f} ms processor {pause.longest_ms:>6.0f} ms clock {pause.where}"
            )
            if pause.longest_busy_ms > 60:
                for stack, count in pause.deepest.items():
                    print(f"      {count:>4} {stack}")
        if arguments.pictures:
            take_pictures(stage)
        viewer.close()
        workspace.close()


def take_pictures(stage: WindowDriver) -> None:
    """Save the window with the list in the dock and in its own window, dark and light."""
    panel = stage.dock.case_panel.list_panel
    for theme in ("dark", "light"):
        stage.viewer.theme = theme
        stage.save_screenshot(f"dock-{theme}")
        panel.move_requested.emit()
        stage.process_events(0.5)
        stage.dock.case_panel.list_place.window_dock.grab().save(str(stage.folder / f"window-{theme}.png"))
        panel.move_requested.emit()


if __name__ == "__main__":
    main()
