"""A day at the desk: cases of several tasks dropped, corrected, accepted and rejected with real mouse and keys.

The window is the real one under a window manager, driven by events of the X server (`real_hands.py`). Each case gets a
stroke or a tool, some a note or a flag; some are rejected. Between them the list, its window, the meter, a new task, a
training run, the export and the keys are used, and each state is photographed. The table says how long the next case
took, from the key until it was drawn, how long the window's thread computed, and what the program's own meter counted.

    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/driven_day.py PROJECT IMAGES OUT --cases 25 \
        --tasks lungs covid --theme dark --limit-s 480

IMAGES holds a folder of images for each task, named by the task. The same PROJECT can be used again for the next part
of the day, on another screen: cases that are decided stay decided.
"""

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractSpinBox
from real_hands import Point, RealHands

from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.workflow.meter.rows import list_meter_rows
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.main_widget import MedSegWidget

PAUSE_S = 0.06
BEAT_MS = 5
PATIENCE_S = 40.0


@dataclass(frozen=True)
class NextCase:
    """What a person waits for after Accept or Reject.

    `seconds` last from the key until the next case can be edited and is drawn; `busy_s` is the processor time of the
    window's thread meanwhile, `pause_s` the longest time without an answer, `busy_pause_s` the processor's part of it.
    """

    task: str
    by: str
    seconds: float
    busy_s: float
    pause_s: float
    busy_pause_s: float


class Day:
    """Works through the cases of some tasks.

    Parameters
    ----------
    widget, hands
        The dock, and mouse and keys.
    """

    def __init__(self, widget: "MedSegWidget", hands: RealHands) -> None:
        self.widget, self.hands, self.began = widget, hands, time.monotonic()
        self.waits: list[NextCase] = []
        self.faults: list[str] = []
        self.n_decided = 0
        self.task = ""
        self._rng = np.random.default_rng(7)
        self._pauses: list[tuple[float, float]] = []
        self._last = time.perf_counter(), time.thread_time()
        self._n_drawn = 0
        hands.viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._on_draw)
        self._beat = QTimer()
        self._beat.setInterval(BEAT_MS)
        self._beat.timeout.connect(self._on_beat)
        self._beat.start()

    @property
    def dock(self) -> "MedSegWidget":
        """The content of the dock."""
        return self.widget.dock

    @property
    def current(self) -> object:
        """The open case, or `None`."""
        return self.dock.case_controller.current

    def say(self, text: str) -> None:
        """Print a line with the time."""
        print(f"{time.monotonic() - self.began:7.1f} {text}", flush=True)

    def check(self, what: str, holds: bool) -> None:
        """Report whether something holds."""
        self.say(f"{'ok   ' if holds else 'FAULT'} {what}")
        if not holds:
            self.faults.append(f"{self.task}: {what}")

    def picture(self, name: str) -> None:
        """Save a picture of this state, and report texts that are cut."""
        self.hands.take_picture(f"{self.task}-{name}")
        for top in (self.widget, *self.hands.list_dialogs()):
            for line in find_cut_texts(top):
                self.say(f"CUT   {name}: {line}")

    def work(self, task: str, images: Path, n_cases: int, limit_s: float, trains: bool) -> None:
        """Drop the images of a task, and decide as many cases as there is time for."""
        self.task = task
        self.hands.choose(self.dock.case_panel.task_selector, self.widget.workspace.tasks.get_task(task).title)
        self.dock.worklist.set_predicts_automatically(True)
        began = time.monotonic()
        self.hands.drop([images])
        self._wait_for_case()
        self.say(f"{task}: first case {time.monotonic() - began:.1f} s after the drop")
        self.picture("first")
        self.hands.rest()
        for number in range(n_cases):
            if self._is_done() or time.monotonic() - self.began > limit_s or not self._wait_for_case():
                break
            self._correct(number)
            self._visit(number)
            if number == n_cases // 2 and trains:
                self._step(self.train)
            if self._is_done() or not self._wait_for_case():
                break
            self._decide(number)
        self.picture("end")
        if trains:
            self._step(self.decide_run)
        self._step(self.export)

    def _correct(self, number: int) -> None:
        tools = [self.stroke, self.tab, self.smart_brush, self.border, self.rename, self.cut, self.undo, self.look]
        if number % 10 != 5:  # one case of ten is right as it is
            self._step(self.stroke)
            self._step(tools[number % len(tools)])
        if number in (1, 2, 3, 4, 5, 7):
            self.picture(f"tool-{tools[number % len(tools)].__name__}")

    def _visit(self, number: int) -> None:
        visits = {3: self.note, 4: self.flag, 6: self.list_window, 8: self.go_back, 9: self.keep_promises}
        visits |= {11: self.meter, 13: self.new_task, 14: self.note, 16: self.other_task, 20: self.flag}
        if number in visits:
            self._step(visits[number])

    def _decide(self, number: int) -> None:
        by = ("A", "Accept", "A", "R", "A", "Accept", "A", "reason")[number % 8]
        before, n_drawn = self.current.case.id, self._n_drawn
        self._pauses.clear()
        began, busy = time.perf_counter(), time.thread_time()
        if by == "reason":
            if not self.hands.choose_in_menu(self.dock.review_panel._reject, "Reject:", self._arrow()):
                self.hands.key("r")
        elif by == "Accept":
            self.hands.press("Accept", self.widget)
        else:
            self.hands.send(f"key {by.lower()}")
        arrived = self.hands.wait_until(
            lambda: self._is_done() or (self._is_ready() and self.current.case.id != before), PATIENCE_S
        )
        self.hands.wait_until(lambda: self._n_drawn > n_drawn, 2)
        seconds, busy = time.perf_counter() - began, time.thread_time() - busy
        if not arrived:
            self.check(f"case {number}: {by} opens the next case; said: {self.widget.messages.texts[:2]}", holds=False)
            self.picture(f"stuck-{number}")
            self.hands.key("d")
            return
        self.n_decided += 1
        pause, busy_pause = max(self._pauses, default=(0.0, 0.0))
        if not self._is_done() and by != "reason":
            self.waits.append(NextCase(self.task, by, seconds, busy, pause, busy_pause))

    def _step(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # noqa: BLE001 -- one step that fails must not end the day
            self.check(f"{action.__name__} works\n{traceback.format_exc(limit=-3)}", holds=False)
            self.picture(f"failed-{action.__name__}")
            self.hands.close_dialogs()

    def stroke(self) -> None:
        """Paint with the first label."""
        self.hands.key("1")
        x, y = self._rng.uniform(0.35, 0.6, 2)
        self.hands.drag([(x, y), (x + 0.04, y + 0.03)])

    def tab(self) -> None:
        """Visit two doubtful places and accept one."""
        for key in ("Tab", "Tab", "grave"):
            self.hands.key(key, 0.4)

    def smart_brush(self) -> None:
        """Paint along edges."""
        self.hands.key("y")
        self.hands.drag([(0.45, 0.45), (0.5, 0.48)])
        self.hands.key("Escape")

    def border(self) -> None:
        """Push a border."""
        self.hands.key("h")
        self.hands.drag([(0.4, 0.5), (0.42, 0.5)])
        self.hands.key("Escape")

    def rename(self) -> None:
        """Give the piece under the mouse the second label, and take it back."""
        layer = self.current.labels_layer
        places = np.argwhere(np.asarray(layer.data) == 1)
        if layer.ndim != 2 or not len(places) or len(self.dock.worklist.open_task.labels) < 2:
            return
        self.hands.move(self.hands.canvas, self._on_canvas(places[len(places) // 2]))
        n_before = int((layer.data == 2).sum())
        self.hands.send("keydown shift")
        self.hands.key("2", 0.3)
        self.hands.send("keyup shift")
        self.check("Shift+2 over a piece gives it the second label", int((layer.data == 2).sum()) > n_before)
        self.hands.key("ctrl+z", 0.2)

    def cut(self) -> None:
        """Cut the largest object, and join its parts."""
        layer = self.current.labels_layer
        if layer.ndim != 2 or not self.dock.worklist.open_task.instances or not np.any(layer.data):
            return
        values, counts = np.unique(layer.data[layer.data > 0], return_counts=True)
        rows, columns = np.nonzero(layer.data == values[np.argmax(counts)])
        middle = columns.mean()
        self.hands.key("n")
        ends = (rows.min() - 3, middle), (rows.max() + 3, middle)
        size = np.array([self.hands.canvas.width(), self.hands.canvas.height()])
        self.hands.drag([tuple(self._on_canvas(end) / size) for end in ends])
        self.hands.wait(0.3)
        self.check("a line cuts an object in two", len(np.unique(layer.data)) > len(values) + 1)
        self.hands.key("Escape")

    def undo(self) -> None:
        """Undo and redo."""
        before = self.current.edit_session.draft.changed_voxels
        self.hands.key("ctrl+z", 0.2)
        self.hands.key("ctrl+shift+z", 0.2)
        self.check("undo and redo keep the voxels", before == self.current.edit_session.draft.changed_voxels)

    def look(self) -> None:
        """Contours and back, the unsure places and back, labels hidden for a moment."""
        for key in ("w", "w", "t"):
            self.hands.key(key, 0.5)
        self.picture("unsure")
        self.hands.key("t", 0.3)
        self.hands.hold("q", 0.3)

    def note(self) -> None:
        """Write a note."""
        reject = self.dock.review_panel._reject
        if not self.hands.choose_in_menu(reject, "Write a note", self._arrow()):
            self.check("a note can be written", holds=False)  # and typing would press keys of the window
            return
        self.hands.type("blurred edge")
        self.picture("note")
        self.hands.key("Return", 0.3)
        self.check("the note is kept", "blurred" in reject.note.note)

    def flag(self) -> None:
        """Flag the case."""
        self.check(
            "a case can be flagged", self.hands.choose_in_menu(self.dock.review_panel._reject, "Flag", self._arrow())
        )

    def list_window(self) -> None:
        """Unfold the list, search, hold two cases out, and show it as a window."""
        case_panel = self.dock.case_panel
        self.hands.click(case_panel._unfold)
        self.hands.wait(0.6)
        self.check("the list unfolds", case_panel.list_panel.isVisible())
        self.picture("list")
        self.hands.click(case_panel.list_panel._search)
        self.hands.type("1")
        self.hands.wait(0.4)
        self.picture("list-search")
        self.hands.key("BackSpace", 0.3)
        view = case_panel.list_panel.table.viewport()
        self.hands.click(view, (60, 30))
        self.hands.send("keydown shift")
        self.hands.click(view, (60, 75))
        self.hands.send("keyup shift")
        self.check("two cases can be held out", self.hands.choose_in_menu(view, "Hold out", (60, 50), button=3))
        self.picture("held-out")
        self.hands.press("window", case_panel.list_panel)
        self.hands.wait(0.6)
        self.picture("list-window")
        self.hands.press("into the dock", case_panel.list_panel)
        self.hands.click(case_panel._unfold)
        self.hands.rest()

    def go_back(self) -> None:
        """Go back to the case that was accepted last, change it, and accept it again."""
        before = self.current.case.id
        self.hands.key("shift+s", 0.5)
        self.hands.wait_until(lambda: self._is_ready() and self.current.case.id != before)
        self.check("Shift+S opens the case that was accepted last", self.current.state == "accepted")
        self.stroke()
        self.hands.key("a", 0.5)
        self._wait_for_case()

    def keep_promises(self) -> None:
        """Digits without a label, a label in pan, keys in a field, a deleted layer, and the reviewed part."""
        hands, layer = self.hands, self.current.labels_layer
        hands.rest()
        hands.key("z", 0.3)
        was = layer.mode, layer.selected_label
        hands.key("7")
        hands.key("9")
        self.check(f"digits without a label do nothing {was}", (layer.mode, layer.selected_label) == was)
        button = self.dock.labels_panel._buttons.buttons()[0]
        self.check("a chosen label does not look like painting in pan", button.property("paints") is False)
        self.picture("label-in-pan")
        hands.key("1", 0.2)
        self.check("it does while painting", button.property("paints") is True)
        self.picture("label-paints")
        controls = hands.viewer.window._qt_viewer.controls.widgets[layer]
        fields = controls.findChildren(QAbstractSpinBox)
        field = next(each for each in fields if each.isVisible() and each.parent() is controls)
        hands.click(field, (40, field.height() / 2))
        was_contour = layer.contour
        hands.key("w", 0.3)
        self.check(f"W acts while a field has the keyboard ({field.hasFocus()})", layer.contour != was_contour)
        hands.key("w", 0.3)
        hands.rest()
        self._delete_layer()
        hands.key("c")
        hands.drag([(0.4, 0.4), (0.6, 0.6)])
        hands.wait(0.6)
        self.check("the rest is dimmed", any(each.name.startswith("not reviewed") for each in hands.viewer.layers))
        self.picture("region")
        self.dock.review_region.mark_whole_image()
        hands.wait(0.3)
        hands.key("z")
        hands.rest()

    def _delete_layer(self) -> None:
        layer = self.current.labels_layer
        n_labelled = int(np.count_nonzero(layer.data))
        self.hands.viewer.layers.selection.active = layer
        self.hands.click(self.hands.viewer.window._qt_viewer.layerButtons.deleteButton)
        self.hands.wait(0.8)
        new = self.current.labels_layer
        is_back = new is not None and new is not layer and int(np.count_nonzero(new.data)) == n_labelled
        self.check("a deleted labels layer comes back from the draft", is_back)
        self.picture("layer-back")
        self.hands.rest()

    def meter(self) -> None:
        """Look at the page of the meter."""
        self.dock.meter.open()
        self.hands.wait(2.5)
        self.picture("meter")
        self.dock.meter._dock.hide()
        self.hands.rest()

    def new_task(self) -> None:
        """Look at the form of a new task: it takes the kind of the open image, and offers the images of the project."""
        self.dock.show_new_task_form()
        self.hands.wait(0.6)
        self.picture("new-task")
        self.hands.close_dialogs()

    def other_task(self) -> None:
        """Change the task, and back."""
        selector, tasks = self.dock.case_panel.task_selector, self.widget.workspace.tasks
        other = "nuclei" if self.task != "nuclei" else "lungs"
        self.hands.choose(selector, tasks.get_task(other).title)
        self.hands.wait(0.6)
        self.picture("other-task")
        self.hands.choose(selector, tasks.get_task(self.task).title)
        self.hands.wait(0.6)
        self.hands.rest()
        if self.current is None or self.current.case.task != self.task:
            self.hands.key("d", 0.5)

    def train(self) -> None:
        """Start a training run."""
        self.hands.press("Retrain", self.widget)
        self.hands.wait_until(lambda: self.dock.run_monitor.is_running, 4)
        self.picture("retrain")
        if not self.dock.run_monitor.is_running:
            self.check("Retrain shows why not", self.hands.press("Retrain anyway", self.widget))
            self.hands.wait_until(lambda: self.dock.run_monitor.is_running, 8)
            self.picture("retrain-anyway")
        self.check("a run is training", self.dock.run_monitor.is_running)
        self.hands.rest()

    def decide_run(self) -> None:
        """Wait for the run, look at the comparison, and press its main button."""
        ended = self.hands.wait_until(lambda: not self.dock.run_monitor.is_running, 150)
        self.check("the run ended", ended)
        self.hands.wait(1.5)
        self.picture("run-ended")
        self.hands.press("Show", self.widget)
        self.hands.wait(0.5)
        self.picture("comparison")
        for text in ("Promote", "Keep"):
            button = self.hands.find_button(text, self.widget)
            if button is not None and button.property("main"):
                self.say(f"main button: {button.text()}")
                self.hands.click(button)
                break
        self.hands.wait(1)
        self.picture("decided")
        self.hands.rest()

    def export(self) -> None:
        """Export the accepted labels."""
        self.hands.press("Export", self.widget)
        self.hands.wait(0.8)
        self.picture("export")
        dialogs = self.hands.list_dialogs()
        self.check("Export shows its form", bool(dialogs))
        if dialogs:
            self.hands.press("Export", dialogs[0])
        self.hands.wait(4)
        self.picture("exported")
        self.hands.rest()

    def _arrow(self) -> tuple[float, float]:
        reject = self.dock.review_panel._reject
        return reject.width() - 8, reject.height() / 2

    def _on_canvas(self, pixel: Sequence[float]) -> Point:
        world = np.asarray(self.current.labels_layer.data_to_world(tuple(pixel)))[-2:]
        camera, canvas = self.hands.viewer.scene.camera, self.hands.canvas
        y, x = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return float(canvas.width() / 2 + x), float(canvas.height() / 2 + y)

    def _is_ready(self) -> bool:
        current = self.current
        is_open = current is not None and current.labels_layer is not None and current.edit_session is not None
        return is_open and not self.dock.case_controller.is_busy

    def _is_done(self) -> bool:
        return any("are done" in text for text in self.widget.messages.texts)

    def _wait_for_case(self) -> bool:
        arrived = self.hands.wait_until(lambda: self._is_ready() or self._is_done(), PATIENCE_S)
        if not arrived:
            self.check("a case with labels is open", holds=False)
            self.picture("no-case")
        return arrived

    def _on_draw(self, _event: object) -> None:
        self._n_drawn += self._is_ready()

    def _on_beat(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self._pauses.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def find_cut_texts(top: object) -> list[str]:
    """Return what the tests of the window find to be cut."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugin"))
    from cut_texts import find_cut_texts as find

    return find(top)


def main() -> None:
    """Drive a part of the day and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="folder for project and registry")
    parser.add_argument("images", type=Path, help="a folder with a folder of images for each task")
    parser.add_argument("out", type=Path, help="folder for pictures and figures")
    parser.add_argument("--tasks", nargs="+", default=["lungs", "covid", "nuclei", "instruments"])
    parser.add_argument("--cases", type=int, default=25, help="of each task")
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--limit-s", type=float, default=480.0, help="no further case after this time")
    parser.add_argument("--train", action="store_true", help="train in the first task, and decide about the run")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    workspace = Workspace.open(options.project / "ward 7", options.project / "registry")
    viewer, widget = open_window(workspace)
    viewer.theme = options.theme
    day = Day(widget, RealHands(viewer, options.out))
    sys.excepthook = lambda *error: day.check("".join(traceback.format_exception(*error)), holds=False)
    for number, task in enumerate(options.tasks):
        limit_s = options.limit_s * (number + 1) / len(options.tasks)
        day.work(task, options.images / task, options.cases, limit_s, options.train and number == 0)
    print_table(day, [row for task in options.tasks for row in list_meter_rows(workspace, task)])
    (options.out / "waits.json").write_text(json.dumps([asdict(wait) for wait in day.waits], indent=1) + "\n")
    day.hands.close()
    viewer.close()
    workspace.close()


def print_table(day: Day, rows: list) -> None:
    """Print the waits per task, what the meter counted, and the faults."""
    print(f"{day.n_decided} cases decided in {time.monotonic() - day.began:.0f} s")
    print("next case     n  median s  90 % s  processor ms  pause ms (processor)  largest ms (processor)")
    for task in dict.fromkeys(wait.task for wait in day.waits):
        waits = [wait for wait in day.waits if wait.task == task]
        seconds = sorted(wait.seconds for wait in waits)
        busy, pauses = [wait.busy_s for wait in waits], [wait.pause_s for wait in waits]
        busy_pauses = [wait.busy_pause_s for wait in waits]
        print(
            f"{task:<12}{len(waits):>3}{statistics.median(seconds):>10.2f}{seconds[int(0.9 * len(seconds))]:>8.2f}"
            f"{statistics.median(busy) * 1000:>14.0f}"
            f"{statistics.median(pauses) * 1000:>10.0f} ({statistics.median(busy_pauses) * 1000:.0f})"
            f"{max(pauses) * 1000:>14.0f} ({max(busy_pauses) * 1000:.0f})"
        )
    timed = [row.correction.seconds for row in rows if row.is_timed]
    if timed:
        print(f"the program's meter: {len(timed)} timed cases, median {statistics.median(timed):.1f} s of work")
    for fault in day.faults:
        print(f"FAULT {fault}")


if __name__ == "__main__":
    main()
