"""Time of the correction tools in napari's window: p50 and p99 in ms on the clock, and in brackets of the processor.

`preview` is what a move of the mouse or the press of a key takes, `apply` what the release takes, with the journal on
disk; `draw` is the window's drawing after each of them, which depends on the graphics card: without one, Mesa needs
most of the time. Limits (p99, without drawing): 100 ms on a slice of 512 x 512, 200 ms on one of 3000 x 3000; "!" marks
a tool above its limit, "~" one that is above it on the clock only. The whole piece of a volume of 300 x 512 x 512 is
computed in a thread: `preview` lasts until the shown slice is drawn, `whole` from the key until all slices are changed
(limit 1 s), on the clock and in brackets of the processor with all drawing in it; `thread` is what the thread computed.
`pause` is the longest time in which the window did not answer, on the clock, and in brackets what its thread computed
in it; `undo` is the undo of the whole piece.

    xvfb-run -s "-screen 0 1280x720x24" python benchmarks/tools_in_window.py --repeats 30
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from editing import PITCH_PX, make_nuclei
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_medseg.core.image import Image
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.correction import editor as editor_module
from napari_medseg.plugin.correction.drags import Drag
from napari_medseg.plugin.correction.request import compute_edit
from napari_medseg.plugin.correction.tools import OBJECT_BRUSH, PIECE_ACTIONS, TOOLS, Tool
from napari_medseg.plugin.main_widget import MedSegWidget
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

LIMIT_MS = {512: 100.0, 3000: 200.0, 300: 1000.0}
VOLUME = (300, 512, 512)
N_MOVES = 9
"""Moves of the mouse in a stroke of a brush; the preview that is measured is that of the last one."""


def clock(call: Callable[[], object]) -> tuple[float, float]:
    """Return the time of a call on the clock and of the processor, s."""
    began, began_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - began_cpu


def main() -> None:
    """Print one row for each tool and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 3000, 300])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "project", Path(folder) / "registry")
        viewer = napari.Viewer(show=True)
        widget = MedSegWidget(viewer, workspace)
        viewer.window.add_dock_widget(widget, name="MedSeg")
        bench = Bench(viewer, widget)
        for size in options.sizes:
            if size == VOLUME[0]:
                bench.measure_volume(max(2, options.repeats // 6))
            else:
                bench.measure_slice(size, options.repeats)
        widget.close_down()
        viewer.close()


class Bench:
    """A window with one case, on which tools are used at random places."""

    def __init__(self, viewer: napari.Viewer, widget: MedSegWidget) -> None:
        self.viewer = viewer
        self.widget = widget
        self.rng = np.random.default_rng(0)
        self.thread_s = 0.0
        editor_module.compute_edit = self.compute_and_measure

    def compute_and_measure(self, *arguments: Any) -> Iterator[Any]:  # noqa: ANN401 - those of `compute_edit`
        """Measure what the thread of a whole piece computes."""
        began = time.thread_time()
        yield from compute_edit(*arguments)
        self.thread_s = time.thread_time() - began

    @property
    def editor(self) -> Any:  # noqa: ANN401 - a benchmark reaches in
        """What applies the edits."""
        return self.widget.dock.correction.editor

    def open(self, image: Image, task: str, labels: NDArray[Any]) -> None:
        """Open a case with predicted labels."""
        dock, workspace = self.widget.dock, self.widget.workspace
        dock.worklist.set_predicts_automatically(False)
        (case,) = cases.add_cases(workspace, [image], task)
        review.record_prediction(workspace, case, PredictionResult(labels, 0.1, None, 1.0, "CPU"), "x@1")
        dock.case_controller.open(case, image)
        self.wait_until(lambda: self.editor.layer is not None and self.editor.layer.data.shape == labels.shape)
        self.viewer.reset_view()
        self.draw()

    def draw(self) -> None:
        """Handle all events and draw the canvas."""
        QApplication.processEvents()
        self.viewer.window._qt_viewer.canvas.native.repaint()

    def wait_until(self, is_done: Callable[[], bool]) -> tuple[float, float]:
        """Handle events until something is done; return the longest pause on the clock and of this thread, s."""
        longest, busiest = 0.0, 0.0
        while not is_done():
            began, began_busy = time.perf_counter(), time.thread_time()
            QApplication.processEvents()
            longest = max(longest, time.perf_counter() - began)
            busiest = max(busiest, time.thread_time() - began_busy)
            time.sleep(0.004)  # more often, looking would take a fifth of the time
        return longest, busiest

    def measure_slice(self, side: int, repeats: int) -> None:
        """Measure drags and keys on nuclei."""
        labels = make_nuclei(side).astype(np.uint16)
        pixels = np.full((side, side, 3), 220, np.uint8)
        pixels[labels > 0] = (110, 60, 140)
        self.open(Image(pixels, "YXC", None, units="rgb", name=f"{side}", group=f"g{side}"), "nuclei", labels)
        tools = {tool.name: tool for tool in TOOLS}
        for name, tool, steps in (
            ("cut", tools["cut"], [(-12, -3), (0, 0), (12, 3)]),
            ("join", tools["join"], [(0, 0), (0, PITCH_PX)]),
            ("new nucleus", OBJECT_BRUSH, [(-10, -10), (12, -10)]),
            ("extend", OBJECT_BRUSH, [(0, 0), (14, 3)]),
            ("smart brush", tools["smart"], [(0, 0), (40, 45)]),
            ("border", tools["border"], [(0, 9), (0, 13)]),
        ):
            self.measure(name, side, repeats, lambda tool=tool, steps=steps: self.make_drag(tool, steps))
        for action in PIECE_ACTIONS:
            self.measure(action.name, side, repeats, lambda action=action: self.make_key(action))

    def make_drag(self, tool: Tool, steps: list[tuple[float, float]]) -> Callable[[], None]:
        """Return what shows a drag at a random place."""
        place = self.find_place()
        drags = self.widget.dock.correction.mouse_tools._drags
        drag = Drag(tool, None, np.add(place, steps[0]), with_shift=False)
        drag.points += [np.add(place, step) for step in steps[1:]]
        if not tool.has_line:  # the moves before: what they computed is known when the last one comes
            start, end = drag.points
            drag.points = [start + (end - start) * share for share in np.linspace(0, 1, N_MOVES - 1, endpoint=False)]
            drags._drag = drag
            drags.show()
            drag.points.append(end)

        def show() -> None:
            drags._drag = drag
            drags.show()
            drags._drag = None

        return show

    def make_key(self, action: Any) -> Callable[[], None]:  # noqa: ANN401
        """Return what shows an action over a random nucleus."""
        layer = self.editor.layer
        self.viewer.cursor.position = tuple(layer.data_to_world(tuple(self.find_place())))
        return lambda: self.widget.dock.correction.piece_actions.begin(action)

    def find_place(self) -> NDArray[np.float64]:
        """Return the middle of a random nucleus."""
        side = self.editor.layer.data.shape[0]
        return self.rng.integers(1, side // PITCH_PX - 3, 2) * PITCH_PX + 9.5

    def measure(self, name: str, size: int, repeats: int, prepare: Callable[[], Callable[[], None]]) -> None:
        """Use a tool several times; the first use warms up."""
        times = []
        for _ in range(repeats + 1):
            show = prepare()
            times.append([*clock(show), *clock(self.draw), *clock(self.editor.commit), *clock(self.draw)])
        p50, p99 = (1000 * np.percentile(times[1:], q, axis=0) for q in (50, 99))
        mark = " " if max(p99[0], p99[4]) <= LIMIT_MS[size] else "~" if max(p99[1], p99[5]) <= LIMIT_MS[size] else "!"
        text = " ".join(
            f"{what} {p50[i]:4.0f} {p99[i]:4.0f} ({p50[i + 1]:4.0f} {p99[i + 1]:4.0f})"
            for what, i in (("preview", 0), ("draw", 2), ("apply", 4), ("draw", 6))
        )
        print(f"{size:5} {name:14} {text} {mark} {self.editor.message}", flush=True)

    def measure_volume(self, repeats: int) -> None:
        """Measure whole pieces of a volume: two lungs of 10 million voxels each."""
        z, y, x = np.ogrid[: VOLUME[0], : VOLUME[1], : VOLUME[2]]
        labels = np.zeros(VOLUME, np.uint8)
        for value, middle in ((1, 140), (2, 372)):
            labels[((z - 150) / 140) ** 2 + ((y - 256) / 160) ** 2 + ((x - middle) / 110) ** 2 < 1] = value
        pixels = np.where(labels > 0, np.int16(-800), np.int16(40))
        image = Image(pixels, "ZYX", (1.5, 0.7, 0.7), units="HU", name="volume", group="v")
        self.open(image, "lungs", labels)
        self.viewer.dims.set_current_step(0, 150)
        self.widget.dock.correction.mouse_tools.set_in_volume(True)
        layer, actions = self.editor.layer, self.widget.dock.correction.piece_actions
        begins = {action.name: partial(actions.begin, action) for action in PIECE_ACTIONS}
        for name, begin in ({"swap": lambda: actions.begin_swapping(1, 2)} | begins).items():
            times = []
            for _ in range(repeats + 1):
                self.viewer.cursor.position = tuple(layer.data_to_world((150, 256, 140)))
                began, began_cpu = time.perf_counter(), time.process_time()
                begin()
                self.draw()
                shown = time.perf_counter()
                self.editor.commit()
                pause = self.wait_until(lambda: not self.editor.has_request)
                whole = time.perf_counter() - began, time.process_time() - began_cpu
                message, undo = self.editor.message, (0.0, 0.0)
                if self.editor.session.draft.can_undo:
                    undo = clock(self.widget.dock.case_controller.undo)
                times.append((shown - began, *whole, self.thread_s, *pause, *undo))
            preview, whole_s, whole_cpu, thread, pause_s, busy, undo_s, undo_cpu = 1000 * np.max(times[1:], axis=0)
            mark = " " if whole_s <= LIMIT_MS[300] else "~" if whole_cpu <= LIMIT_MS[300] else "!"
            print(
                f"  300 {name:14} preview {preview:5.0f} whole {whole_s:5.0f} ({whole_cpu:5.0f}) thread {thread:4.0f} "
                f"pause {pause_s:5.0f} ({busy:3.0f}) undo {undo_s:5.0f} ({undo_cpu:4.0f}) {mark} {message}",
                flush=True,
            )


if __name__ == "__main__":
    main()
