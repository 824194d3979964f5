"""Error handling of the window: an error that the user can solve is shown as a notification."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.inference.engine.client import PredictionCancelled


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
