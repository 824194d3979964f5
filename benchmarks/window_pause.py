"""The longest pause of the window while a user paints and a stack is predicted, or a model is retrained.

A timer of the window should fire every few milliseconds. The longest time between two of its calls is the time in which
the window did not react. A brush stroke is made ten times a second in every condition, also in the one without other
work, so that the figures of one run can be compared.

    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/window_pause.py --out window_pause.json
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.plugin.reader_writer import make_layer_data
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

TICK_MS = 2
STROKE_EVERY_MS = 100
BRUSH_PX = 15
SECONDS = 12.0
N_SLICES = 64
BUDGET_TEXT = "≤ 30 s"


class PauseMeter:
    """Milliseconds between two calls of a timer of the window, while a brush stroke is made now and then."""

    def __init__(self, stage: WindowDriver) -> None:
        self._stage = stage
        self._rng = np.random.default_rng(0)
        self._gaps_ms: list[float] = []
        self._last: float | None = None
        self._ticks, self._strokes = QTimer(), QTimer()
        self._ticks.setTimerType(Qt.TimerType.PreciseTimer)
        self._ticks.timeout.connect(self._tick)
        self._strokes.timeout.connect(self._stroke)

    def measure_while(self, goes_on: Callable[[], bool]) -> dict[str, float]:
        """Run the event loop of the window until the work ends, and return the times of the timer."""
        self._gaps_ms, self._last = [], None
        began = time.perf_counter()
        self._ticks.start(TICK_MS)
        self._strokes.start(STROKE_EVERY_MS)
        while goes_on():
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        self._ticks.stop()
        self._strokes.stop()
        gaps = np.array(self._gaps_ms)
        return {
            "longest_ms": round(float(gaps.max()), 1),
            "p99_ms": round(float(np.percentile(gaps, 99)), 1),
            "over_50_ms": int((gaps > 50).sum()),
            "seconds": round(time.perf_counter() - began, 1),
        }

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._gaps_ms.append((now - self._last) * 1000)
        self._last = now

    def _stroke(self) -> None:
        layer = self._stage.labels_layer
        place = tuple(int(self._rng.integers(40, side - 40)) for side in layer.data.shape[-2:])
        here = self._stage.viewer.dims.current_step[: layer.ndim - 2]
        layer.paint((*here, *place), int(self._rng.integers(1, 3)))


def main() -> None:
    """Measure the three conditions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder))
    print(f"{'while painting and ...':<34}{'longest':>10}{'99 %':>9}{'> 50 ms':>9}{'for':>8}")
    for name, row in results.items():
        print(
            f"{name:<34}{row['longest_ms']:>7.1f} ms{row['p99_ms']:>6.1f} ms{row['over_50_ms']:>9}{row['seconds']:>6} s"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Open the real window on a temporary project and measure in it."""
    workspace = Workspace.open(folder / "project", folder / "registry")
    _accept_some_corrections(workspace)
    viewer, widget = open_window(workspace)
    try:
        return _measure(WindowDriver(viewer, widget, folder))
    finally:
        viewer.close()
        workspace.close()


def _measure(stage: WindowDriver) -> dict[str, dict[str, float]]:
    pixels, arguments, _ = make_layer_data(_stack())
    stage.viewer.add_image(pixels, **arguments)
    stage.wait_until("the stack's prediction", lambda: _is_predicted(stage))
    stage.labels_layer.brush_size = BRUSH_PX
    stage.process_events(2.0)
    pauses = PauseMeter(stage)
    ends = time.perf_counter() + SECONDS
    results = {"nothing else": pauses.measure_while(lambda: time.perf_counter() < ends)}
    stage.dock.worklist.predict()
    results[f"a {N_SLICES}-slice stack is predicted"] = pauses.measure_while(
        lambda: stage.dock.prediction_queue.has_urgent_request
    )
    stage.process_events(1.0)
    stage.choose_entry(BUDGET_TEXT)
    stage.click_button("Retrain on corrections")
    stage.wait_until("the run", lambda: stage.dock.run_monitor.is_running)
    results[f"a model retrains ({BUDGET_TEXT})"] = pauses.measure_while(lambda: stage.dock.run_monitor.is_running)
    return results


def _is_predicted(stage: WindowDriver) -> bool:
    return (
        stage.dock.case_controller.current is not None and stage.dock.case_controller.current.labels_layer is not None
    )


def _stack() -> Image:
    """Repeat the sample series up to the wanted number of slices."""
    series = formats.read(SAMPLES / "ct_a0001" / "dicom")
    repeated = itertools.islice(itertools.cycle(series.pixels), N_SLICES)
    return Image(np.stack(list(repeated)), "ZYX", series.spacing_mm, None, series.modality, series.units, name="stack")


def _accept_some_corrections(workspace: Workspace) -> None:
    """Accept four X-rays with their labels, so that there is something to retrain on."""
    for path in sorted((SAMPLES / "xray" / "images").glob("*.jpg"))[:4]:
        image = formats.read(path)
        (case,) = cases.add_cases(workspace, [image], "lungs")
        labels = formats.read_labels(SAMPLES / "xray" / "labels" / f"{path.stem}.png", image)
        review.accept(workspace, review.open_review(workspace, case, None), labels, image)


if __name__ == "__main__":
    main()
