"""Measures how long the window does not react, and where its main thread is meanwhile."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

TICK_MS = 2
LATE_S = 0.03
SAMPLE_S = 0.004
SETTLE_S = 1.5
DRAWING = ("vispy", "OpenGL", "backends/_qt.py")


@dataclass(frozen=True)
class Pause:
    """The longest pause of one step, and where the main thread was, in shares of what was seen.

    `busy_ms` is the time that the main thread computed in the longest pause: on a busy machine the rest is waiting.
    `longest_busy_ms` is the longest time that it computed in any pause; `where` tells where it was in that one.
    """

    longest_ms: float
    busy_ms: float
    longest_busy_ms: float
    over_60_ms: int
    seconds: float
    where: dict[str, float]
    deepest: dict[str, int]


class PauseMeter:
    """Milliseconds between two calls of a timer of the window, and where the main thread is while it is late."""

    def __init__(self) -> None:
        self._main = threading.main_thread().ident
        self._last = time.perf_counter()
        self._last_busy = time.thread_time()
        self._gaps: list[tuple[float, float, list[list[str]]]] = []
        self._stacks: list[list[str]] = []
        self._stopped = threading.Event()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def measure(self, begin: Callable[[], None], is_done: Callable[[], bool], limit_s: float = 600.0) -> Pause:
        """Call `begin`, run the event loop until `is_done` and a while longer, and return the longest pause."""
        self._gaps, self._stacks, self._last = [], [], time.perf_counter()
        self._last_busy = time.thread_time()
        self._stopped.clear()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        started = time.perf_counter()
        self._timer.start(TICK_MS)
        QTimer.singleShot(0, begin)
        done_at: float | None = None
        while done_at is None or time.perf_counter() < done_at + SETTLE_S:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
            if done_at is None and is_done():
                done_at = time.perf_counter()
            if time.perf_counter() > started + limit_s:
                raise TimeoutError(f"the step did not end within {limit_s:.0f} s")
        self._timer.stop()
        self._stopped.set()
        watcher.join()
        return self._summarise(done_at - started)

    def _tick(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        stacks, self._stacks = self._stacks, []
        self._gaps.append((now - self._last, busy - self._last_busy, stacks))
        self._last, self._last_busy = now, busy

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            if time.perf_counter() - self._last > LATE_S and self._main is not None:
                self._stacks.append(_read_stack(sys._current_frames()[self._main]))

    def _summarise(self, seconds: float) -> Pause:
        gap, busy, _ = max(self._gaps, key=lambda entry: entry[0])
        _, longest_busy, stacks = max(self._gaps, key=lambda entry: entry[1])
        kinds = Counter(map(_classify, stacks))
        deepest = Counter(" < ".join(_shorten(line) for line in reversed(stack[-6:])) for stack in stacks)
        return Pause(
            round(gap * 1000, 1),
            round(busy * 1000, 1),
            round(longest_busy * 1000, 1),
            sum(length > 0.06 for length, _, _ in self._gaps),
            round(seconds, 2),
            {kind: round(count / max(1, len(stacks)), 2) for kind, count in kinds.most_common()},
            dict(deepest.most_common(4)),
        )


def _read_stack(frame: FrameType | None) -> list[str]:
    """Return file, line and function from the outermost frame to the innermost one, without reading source files."""
    stack = []
    while frame is not None:
        stack.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return stack[::-1]


def _classify(stack: list[str]) -> str:
    """Say what the main thread did: draw, run napari on our behalf, or run this program itself."""
    for line in reversed(stack):
        if any(part in line for part in DRAWING):
            return "drawing"
        if "/napari/" in line:
            return "napari"
        if "napari_medseg" in line:
            return "this program"
    return "Qt"


def _shorten(line: str) -> str:
    path, _, rest = line.partition(":")
    return "/".join(Path(path).parts[-2:]) + ":" + rest
