"""Error handling of the window: an error that a user can solve is shown as a notification."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.client import PredictionCancelled

USER_ERRORS = (MedSegError, OSError, MemoryError)
"""Errors that come from the files or the machine and not from a fault of the program."""


def explain_error(error: BaseException) -> MedSegError:
    """Return an error of `USER_ERRORS` as a text that says what to do."""
    match error:
        case MedSegError():
            return error
        case MemoryError():
            return MedSegError(f"there is not enough memory{_add_detail(error)}. Close other programs, then try again.")
        case OSError(strerror=str(reason)):
            place = f" ({error.filename})" if error.filename else ""
            return MedSegError(
                f"a file could not be used: {reason}{place}. Free disk space or check the folder's rights."
            )
        case _:
            return MedSegError(f"a file could not be used{_add_detail(error)}. Check the disk, then try again.")


def show_problem(problem: MedSegError | str) -> None:
    """Show an error message. A cancelled prediction is not reported, and neither is an error without a text."""
    if not isinstance(problem, PredictionCancelled) and str(problem):
        show_error(str(problem))


@contextmanager
def show_errors() -> Iterator[None]:
    """Show one of `USER_ERRORS` raised in the block instead of passing it to Qt. Other exceptions are not caught."""
    try:
        yield
    except USER_ERRORS as error:
        show_problem(explain_error(error))


def _add_detail(error: BaseException) -> str:
    return f": {error}" if str(error) else ""
