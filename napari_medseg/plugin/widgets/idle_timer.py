"""Detects user activity: review time is counted only while there is input."""

import time
from collections.abc import Callable, Iterable

from qtpy.QtCore import QEvent, QObject

IDLE_AFTER_S = 30.0
INPUT_EVENTS = frozenset(
    {
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseButtonRelease,
        QEvent.Type.MouseMove,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.TabletPress,
        QEvent.Type.TabletMove,
    }
)


class IdleTimer(QObject):
    """Remember when the last input reached one of the watched widgets.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last_input_s = -IDLE_AFTER_S
        self._counted_to_s = clock()

    def watch(self, widgets: Iterable[QObject]) -> None:
        """Watch these widgets too."""
        for widget in widgets:
            widget.installEventFilter(self)

    def record_input(self) -> None:
        """Record that the user was active now."""
        self._last_input_s = self._clock()

    def take_active_s(self) -> float:
        """Return active seconds since the last call: time during which the last input was less than 30 s ago."""
        start, self._counted_to_s = self._counted_to_s, self._clock()
        return max(0.0, min(self._counted_to_s, self._last_input_s + IDLE_AFTER_S) - start)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Record input; never block an event."""
        if event is not None and event.type() in INPUT_EVENTS:
            self.record_input()
        return False
