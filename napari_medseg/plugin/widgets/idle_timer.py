"""Detects user activity: review time is counted only while there is input."""

import time
from collections.abc import Callable, Iterable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QGuiApplication

IDLE_AFTER_S = 30.0
_POINTING_EVENTS = frozenset({QEvent.Type.MouseMove, QEvent.Type.Wheel, QEvent.Type.TabletMove})
"""They also reach a window behind that of another program."""
_PRESSES = frozenset(
    {
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.KeyPress,
        QEvent.Type.TabletPress,
    }
)


class IdleTimer(QObject):
    """Add up the time in which the last input was less than 30 s ago and no other program was in front.

    The sum never falls, and a gap counts 30 s at most, however it came about: the clock is monotonic, so that a wall
    clock that is set plays no part, and a computer that was suspended wakes with an old input.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._active_until_s = clock()  # the end of what the inputs so far account for
        self._counted_to_s = clock()
        self._active_s = 0.0
        self._is_behind = False
        app = QGuiApplication.instance()
        if isinstance(app, QGuiApplication):
            app.applicationStateChanged.connect(self._on_application_state)

    def watch(self, widgets: Iterable[QObject]) -> None:
        """Watch these widgets too."""
        for widget in widgets:
            widget.installEventFilter(self)

    def record_input(self) -> None:
        """Record that the user was active now."""
        self._count()
        self._active_until_s = self._clock() + IDLE_AFTER_S

    def pause(self) -> None:
        """Count nothing until the next input, because the user turned to something else."""
        self._count()
        self._active_until_s = self._counted_to_s

    def take_active_s(self) -> float:
        """Return active seconds since the last call: time during which the last input was less than 30 s ago."""
        self._count()
        active_s, self._active_s = self._active_s, 0.0
        return active_s

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Record input; never block an event."""
        if event is not None:
            if event.type() in _PRESSES:
                self._is_behind = False
                self.record_input()
            elif event.type() in _POINTING_EVENTS and not self._is_behind:
                self.record_input()
        return False

    def _count(self) -> None:
        """Add what the inputs until now account for."""
        now = self._clock()
        self._active_until_s = min(self._active_until_s, now + IDLE_AFTER_S)  # whatever the clock does
        self._active_s += max(0.0, min(now, self._active_until_s) - self._counted_to_s)
        self._counted_to_s = now

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        self._is_behind = state != Qt.ApplicationState.ApplicationActive
        if self._is_behind:
            self.pause()
