"""The errors that users see. Their text says what is wrong, what was expected and what to do."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class MedSegError(Exception):
    """A problem that the user can solve. Its text is shown unchanged, without a traceback.

    Anything that is not a `MedSegError` is a bug and keeps its traceback.
    """


class GridMismatchError(MedSegError):
    """Labels and image differ in size, spacing or position."""


class HeaderMismatchError(GridMismatchError):
    """Labels and image have the same size, but their files state another spacing, position or orientation."""


class IrregularSlicesError(MedSegError):
    """The slices of a series do not form a regular volume, but can be opened one by one."""


def look_up(registry: Mapping[str, T], name: str, kind: str = "name", *, problem: str = "", advice: str = "") -> T:
    """Return the entry with a name.

    Parameters
    ----------
    registry
        Entries by name.
    name
        Name of the entry.
    kind
        Kind of entry, for the error: ``"loss"`` in ``unknown loss 'x'; choose one of [...]``.
    problem
        Start of the error text, instead of ``unknown <kind> <name>``.
    advice
        End of the error text after the choices, including a leading comma.

    Raises
    ------
    MedSegError
        If there is no entry with that name; the text lists all names, sorted.
    """
    if name not in registry:
        raise MedSegError(f"{problem or f'unknown {kind} {name!r}'}; choose one of {sorted(registry)}{advice}")
    return registry[name]
