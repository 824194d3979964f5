"""What `medseg share` and `medseg dataset` have in common: the accepted cases of a task, a folder, and what is told."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import check_output_folder, open_workspace
from napari_medseg.cli.output.accepted_rows import list_rows_to_write
from napari_medseg.workflow.output.export_plan import Row
from napari_medseg.workflow.sharing.written_cases import WrittenCases
from napari_medseg.workflow.workspace import Workspace

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
]


@contextlib.contextmanager
def open_accepted(
    project: Path | None, registry: Path | None, task: str, *, with_blind: bool
) -> Iterator[tuple[Workspace, list[Row]]]:
    """Yield an open project and its accepted cases of a task; errors as of `open_workspace`."""
    with open_workspace(project, registry) as ws:
        yield ws, list_rows_to_write(ws, task, with_blind=with_blind)


def tell_written(output: Path, written: WrittenCases, *, as_json: bool) -> None:
    """Print what was written and left out; the exit code is 1 if a case was left out."""
    if as_json:
        echo_json(
            {"files": [str(path) for path in written.files], "remarks": written.remarks, "refused": written.refused}
        )
    else:
        echo(f"{output}: {len(written.files)} files")
        for remark in written.remarks:
            echo_notice(remark)
    for reason in written.refused:
        typer.echo(f"medseg: {reason}", err=True)
    if written.refused:
        raise typer.Exit(1)
