"""The one error that people see: it says what is wrong, what was expected and what to do."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class MedSegError(Exception):
    """A condition a person can act on. Its text is shown as it is, without a traceback.

    Anything that is not a `MedSegError` is a bug and keeps its traceback.
    """


class GridMismatchError(MedSegError):
    """Labels and image differ in size or place."""


class IrregularSlicesError(MedSegError):
    """Slices of one series that are no regular volume, but can still be opened one by one."""


def look_up(registry: Mapping[str, T], name: str, kind: str = "name", *, problem: str = "", advice: str = "") -> T:
    """Return the entry of that name.

    Parameters
    ----------
    registry
        Entries by name.
    name
        Asked for.
    kind
        What the entries are, for the error: ``"loss"`` in ``unknown loss 'x'; choose one of [...]``.
    problem
        Beginning of the error where ``unknown <kind> <name>`` does not fit.
    advice
        End of the error, behind the choices, with its own comma.

    Raises
    ------
    MedSegError
        If there is no entry of that name; the text lists the names, sorted.
    """
    if name not in registry:
        raise MedSegError(f"{problem or f'unknown {kind} {name!r}'}; choose one of {sorted(registry)}{advice}")
    return registry[name]
