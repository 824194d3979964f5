"""The accepted cases that a command may write: not those that the person is to read blind, unless asked for."""

from typing import Annotated

import typer

from napari_medseg.cli.console import echo_notice
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow.output.export import list_accepted_rows
from napari_medseg.workflow.second_reader.hidden import describe_left_out, leave_out_unread
from napari_medseg.workflow.workspace import Workspace

WithBlindOption = Annotated[
    bool,
    typer.Option(
        "--with-blind", help="Also write cases that you are to read a second time: you would see the first reading."
    ),
]


def list_rows_to_write(ws: Workspace, task: str, *, with_blind: bool) -> list[tuple[Case, Correction, str]]:
    """Return the accepted cases of a task, and say how many are left out; errors as of `check_task`."""
    check_task(ws, task)
    rows = list_accepted_rows(ws, task)
    if with_blind:
        return rows
    shown, hidden = leave_out_unread(ws, rows)
    tell_left_out(len(hidden))
    return shown


def tell_left_out(n_cases: int) -> None:
    """Say how many cases are left out, and how they are written, too."""
    if n_cases:
        echo_notice(f"{describe_left_out(n_cases)} --with-blind exports the labels of their first readers")
