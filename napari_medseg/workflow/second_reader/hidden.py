"""What a person who has yet to read a case blind does not see: all that comes from the labels of its first reader."""

from collections.abc import Sequence
from typing import TypeVar

from napari_medseg.core.records import Case
from napari_medseg.workflow.workspace import Workspace

Row = TypeVar("Row", bound=tuple[Case, object, object])


def leave_out_unread(ws: Workspace, rows: Sequence[Row]) -> tuple[list[Row], list[Case]]:
    """Split rows that begin with their case into those that may be shown, and the cases of the others."""
    unread = ws.second_readings.list_unread()
    hidden = [row[0] for row in rows if row[0].id in unread]
    return [row for row in rows if row[0].id not in unread], hidden


def describe_left_out(n_cases: int) -> str:
    """Return why cases are left out of what is written, as a sentence; empty if none is."""
    if not n_cases:
        return ""
    these = "1 case is" if n_cases == 1 else f"{n_cases:,} cases are"
    return f"{these} left out: you are to read {'it' if n_cases == 1 else 'them'} blind, and have not decided yet."
