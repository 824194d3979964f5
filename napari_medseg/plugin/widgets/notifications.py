"""Error handling of the window: a `MedSegError` is shown as a notification."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.client import PredictionCancelled


def show_problem(problem: MedSegError | str) -> None:
    """Show an error message. A cancelled prediction is not reported."""
    if not isinstance(problem, PredictionCancelled):
        show_error(str(problem))


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a `MedSegError` raised in the block instead of passing it to Qt. Other exceptions are not caught."""
    try:
        yield
    except MedSegError as error:
        show_problem(error)
