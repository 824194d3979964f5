"""Error handling of the window: an error that the user can solve is shown as a notification."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error, show_warning

from napari_medseg.core.errors import MedSegError, damage_logger, translate_errors
from napari_medseg.inference.engine.interface import PredictionCancelled


def show_problem(problem: MedSegError | str) -> None:
    """Show an error message. A cancelled prediction is not reported, and neither is an error without a text."""
    if not isinstance(problem, PredictionCancelled) and str(problem):
        show_error(str(problem))


@contextmanager
def show_errors() -> Iterator[None]:
    """Show an error raised in the block instead of passing it to Qt.

    Errors of files, disks, memory and libraries are shown as a message, like a `MedSegError`. Faults of this program
    are not caught.
    """
    try:
        with translate_errors():
            yield
    except MedSegError as error:
        show_problem(error)


class DamageNotifier(logging.Handler):
    """Shows each report of a damaged file as a notification, from `start` until `stop`."""

    def start(self) -> None:
        """Show the reports from now on."""
        damage_logger.addHandler(self)

    def stop(self) -> None:
        """Show no more reports; a second call has no effect."""
        damage_logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one report."""
        show_warning(record.getMessage())
