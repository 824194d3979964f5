"""The edge where errors are caught, once: a `MedSegError` becomes one readable notification."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.client import PredictionCancelled


def show_problem(problem: MedSegError | str) -> None:
    """Show what a person can act on; what they cancelled themselves is no news."""
    if not isinstance(problem, PredictionCancelled):
        show_error(str(problem))


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a `MedSegError` that the block raises, instead of passing it on to Qt; a bug keeps its traceback."""
    try:
        yield
    except MedSegError as error:
        show_problem(error)
