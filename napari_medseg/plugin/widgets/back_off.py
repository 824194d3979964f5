"""Back-off for work that the window repeats by itself: after a failure it waits, longer each time, and reports once."""

import time
from collections.abc import Callable

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.plugin.widgets.notifications import show_problem

FIRST_DELAY_S = 4.0
MAX_DELAY_S = 300.0


class BackOff:
    """Decides when failing work may be tried again, and whether its failure is news.

    Parameters
    ----------
    clock
        Monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._n_failures = 0
        self._retry_at_s = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the work may be tried again; 0 if it may be tried now."""
        return max(0.0, self._retry_at_s - self._clock())

    def record_failure(self) -> bool:
        """Double the delay, and return whether this failure is the first one since the last success."""
        self._retry_at_s = self._clock() + min(MAX_DELAY_S, FIRST_DELAY_S * 2.0**self._n_failures)
        self._n_failures += 1
        return self._n_failures == 1

    def record_success(self) -> None:
        """Allow the work at once, and report the next failure."""
        self._n_failures, self._retry_at_s = 0, 0.0

    def call(self, work: Callable[[], None]) -> None:
        """Call `work` unless it must wait; show the first of several errors in a row."""
        if self.seconds_left:
            return
        try:
            with translate_errors():
                work()
        except MedSegError as error:
            if self.record_failure():
                show_problem(error)
        else:
            self.record_success()
