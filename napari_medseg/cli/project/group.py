"""`medseg project`: pack, unpack and check a project, its disk use, and clearing of caches."""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.table import Column, Table

from napari_medseg.cli.console import echo, echo_json, echo_notice, make_progress_console
from napari_medseg.cli.options import (
    JsonOption,
    RegistryOption,
    check_output_file,
    check_output_folder,
    open_registry,
    open_workspace,
)
from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.storage.pack import Progress

app = typer.Typer(no_args_is_help=True, help="Move, check and tidy a whole project.")
ProjectArgument = Annotated[Path, typer.Argument(metavar="PROJECT", help="Project folder.")]
Result = TypeVar("Result")


@app.command()
def pack(
    project: ProjectArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", callback=check_output_file, help="Archive to write, such as lungs.medseg.zip."),
    ],
    without_identities: Annotated[
        bool,
        typer.Option(
            "--without-identities",
            help="Leave out clear names, paths, accounts and exports, to pass the archive on; see docs/privacy.md.",
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Pack a project with its models into one archive file. A window may have it open; it is not changed.

    By default the archive is for your own work: it holds the table of clear names, and exports. Caches are left out.
    """
    from napari_medseg.workflow.storage.pack import pack_project

    packing = pack_project(
        project, file, open_registry(registry), with_identities=not without_identities, replace=replace
    )
    done = run_to_end(packing, f"packing {project.name}", quiet=as_json)
    for notice in done.notices:
        echo_notice(notice)
    if done.manifest.has_identities:
        echo_notice("the archive holds clear names of patients. Keep it as you keep the project.")
        echo_notice(f"to go on with it elsewhere: medseg project unpack {file.name} DIR --own")
    if as_json:
        models = [one.id for one in done.manifest.versions if not one.is_bundled]
        echo_json({"file": str(file), "bytes": done.n_bytes, "files": len(done.manifest.files), "models": models})
        return
    echo(f"{file}: {len(done.manifest.files):,} files, {format_bytes(done.n_bytes)}")


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Archive of a project.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", callback=check_output_folder, help="New project folder.")],
    own: Annotated[
        bool,
        typer.Option(
            "--own",
            help="You packed it yourself: keep the paths of images outside of it, and make its models live where you "
            "chose none.",
        ),
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Unpack an archive into a new project folder, and its models into your registry.

    Everything is checked first; nothing is replaced. Anybody may have made an archive, so without --own no path in it
    that leads out of the project is kept, and no model of it goes live.
    """
    from napari_medseg.workflow.storage.unpack import unpack_project

    unpacking = unpack_project(file, folder, open_registry(registry), is_own=own)
    done = run_to_end(unpacking, f"unpacking {file.name}", quiet=as_json)
    for notice in done.notices:
        echo_notice(notice)
    if as_json:
        echo_json({"folder": str(folder), "files": len(done.manifest.files), "models": list(done.added_models)})
        return
    models = f", and {', '.join(done.added_models)}" if done.added_models else ""
    echo(f"{folder}: {len(done.manifest.files):,} files{models}")


@app.command()
def check(
    place: Annotated[Path, typer.Argument(metavar="PROJECT_OR_FILE", help="Project folder, or archive of one.")],
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Check every file of a project or an archive: missing, changed, unused. Nothing is changed.

    Exit code 1 if something is missing or changed; an unused file does no harm.
    """
    from napari_medseg.workflow.storage.check import check_archive, check_project

    is_folder = place.is_dir()
    checking = check_project(place, open_registry(registry)) if is_folder else check_archive(place)
    found = run_to_end(checking, f"checking {place.name}", quiet=as_json)
    if as_json:
        faults = [{"path": fault.path, "problem": fault.problem} for fault in found.faults]
        echo_json({"checked": found.n_checked, "faults": faults, "unused": list(found.unused)})
    else:
        for fault in found.faults:
            echo(f"{fault.path}: {fault.problem}")
        for path in found.unused:
            echo(f"{path}: nothing in the database names it. It does no harm, and may be moved away.")
        echo(f"{found.n_checked:,} files checked, {len(found.faults):,} faults, {len(found.unused):,} unused.")
    if found.faults:
        raise MedSegError(f"{place} is not as it was written; see above.")


@app.command()
def size(project: ProjectArgument, as_json: JsonOption = False) -> None:
    """Show how much disk a project uses, and how much of it can be cleared."""
    from napari_medseg.workflow.storage.disk_use import (
        describe_kinds,
        list_clearable_files,
        list_ended_runs,
        measure_disk_use,
    )
    from napari_medseg.workflow.storage.project_copy import open_project_copy

    with open_project_copy(project) as rows:
        ended = list_ended_runs(rows)
    use = measure_disk_use(project)
    clearable = sum(file.n_bytes for file in list_clearable_files(project, ended))
    if as_json:
        kinds = [{"kind": kind, "bytes": n_bytes, "files": n_files} for kind, n_bytes, n_files in describe_kinds(use)]
        echo_json({"bytes": use.total_bytes, "clearable": clearable, "free": use.free_bytes, "kinds": kinds})
        return
    table = Table("what", Column("size", justify="right"), Column("files", justify="right"))
    for kind, n_bytes, n_files in describe_kinds(use):
        table.add_row(kind, format_bytes(n_bytes), f"{n_files:,}")
    table.add_row("all", format_bytes(use.total_bytes), f"{sum(use.n_files.values()):,}", style="bold")
    Console().print(table)
    echo(f"{format_bytes(clearable)} can be cleared (medseg project clean). {format_bytes(use.free_bytes)} are free.")


@app.command()
def clean(
    project: ProjectArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files.")] = False,
    paused_runs: Annotated[
        bool,
        typer.Option("--paused-runs", help="Also discard runs that are paused or failed; they cannot go on then."),
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Clear caches, leftovers of killed processes, and checkpoints of runs that have ended.

    Images, labels, strokes, corrections, snapshots, exports and model versions always stay.
    """
    from napari_medseg.core.records import Run
    from napari_medseg.workflow.run_control import can_resume, discard, find_running_run
    from napari_medseg.workflow.storage.disk_use import Cleared, clear_files, list_clearable_files, list_ended_runs

    with open_workspace(project, registry) as ws:
        find_running_run(ws)  # updates the state of runs that ended meanwhile
        parked = [run for run in ws.project.read_records(Run) if paused_runs and can_resume(ws, run)]
        for run in parked:
            if not dry_run:
                discard(ws, run)
        files = list_clearable_files(project, {*list_ended_runs(ws.project), *(run.id for run in parked)})
        done = Cleared(0, 0, ()) if dry_run else clear_files(project, files)
    total = sum(file.n_bytes for file in files)
    if as_json:
        echo_json({"files": [file.path for file in files], "bytes": total, "cleared": done.n_bytes})
    elif dry_run:
        for file in files:
            echo(f"{file.path}  {format_bytes(file.n_bytes)}")
        echo(f"{format_bytes(total)} in {len(files):,} files can be cleared.")
    else:
        echo(done.text)
    if done.problems:
        raise MedSegError("some files could not be removed; close the programs that use them, then try again.")


def run_to_end(work: Generator[Progress, None, Result], title: str, *, quiet: bool) -> Result:
    """Run a generator to its result, with a progress bar on stderr."""
    with ProgressBar(console=make_progress_console(quiet=quiet), transient=True) as bar:
        row = bar.add_task(title, total=None)
        while True:
            try:
                step = next(work)
            except StopIteration as ended:
                result: Result = ended.value
                return result
            bar.update(row, completed=step.done, total=step.total)
