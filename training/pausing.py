"""How a run is told to stop, from outside: by an empty file in its folder, or by a signal, which makes such a file."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from training.events import CANCEL_FILE, PAUSE_FILE

SIGNALS = ("SIGTERM", "SIGUSR1")
"""What schedulers of clusters send before they take the machine away; Windows lacks the second."""


def is_cancelled(run_dir: Path) -> bool:
    """Whether the file `cancel` lies in the run folder: the run is over, and its best so far is the result."""
    return (run_dir / CANCEL_FILE).exists()


def is_paused(run_dir: Path) -> bool:
    """Whether the file `pause` lies in the run folder: this process ends, and the same command goes on later.

    A run that is cancelled ends for good.
    """
    return (run_dir / PAUSE_FILE).exists() and not is_cancelled(run_dir)


@contextmanager
def pausing_on_signals(run_dir: Path) -> Iterator[None]:
    """Take SIGTERM and SIGUSR1 for a wish to pause; a wish that an earlier process left is forgotten."""
    (run_dir / PAUSE_FILE).unlink(missing_ok=True)
    if threading.current_thread() is not threading.main_thread():  # only there do signals arrive
        yield
        return

    def pause(number: int, frame: FrameType | None) -> None:
        (run_dir / PAUSE_FILE).touch()

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = [signal.signal(number, pause) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
