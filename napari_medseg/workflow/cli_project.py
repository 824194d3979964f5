"""`medseg queue`, `export` and `train`: what a project holds, brought on by the same functions as the window uses."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.gate import Decision
from napari_medseg.core.records import Run
from napari_medseg.workflow import cli_places as places
from napari_medseg.workflow import cli_show, improve
from napari_medseg.workflow.cli_checks import lines_of
from napari_medseg.workflow.export import accepted_rows, export_corrections, items_of
from napari_medseg.workflow.findings import findings
from napari_medseg.workflow.queue import waiting
from napari_medseg.workflow.workspace import Workspace
from training.events import EpochEnded, Event, Failed, Finished, Notice, Started

POLL_S = 0.3


def queue(
    task: places.TaskOption = "lungs",
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """List the cases that nobody has decided on, the one that teaches most per minute first."""
    with places.opened(project, registry) as ws:
        rows = waiting(ws, task)
    if as_json:
        entries = [
            {"case": row.case.id, "name": row.case.name, "state": row.state, "uncertainty": row.uncertainty}
            | {"group": row.case.group, "held_out": row.case.held_out, "sources": list(row.case.sources)}
            for row in rows
        ]
        places.say_json(entries)
        return
    for row in rows:
        unsure = "" if row.uncertainty is None else f"  uncertainty {row.uncertainty:.4f}"
        places.say(f"{row.case.name}  {row.state}{unsure}{'  hold-out' if row.case.held_out else ''}")
    if not rows:
        places.say("No case is waiting.")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; made where it is missing.")],
    suffix: Annotated[str, typer.Option(help=f"Format: {', '.join(formats.WRITERS)}.")] = ".tif",
    task: places.TaskOption = "lungs",
    with_images: Annotated[bool, typer.Option("--with-images", help="Write each image beside its labels.")] = False,
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """Write accepted labels with provenance.json and measurements.csv."""
    with places.opened(project, registry) as ws:
        paths = export_corrections(items_of(ws, accepted_rows(ws, task)), output, suffix, with_images=with_images)
    if as_json:
        places.say_json([str(path) for path in paths])
        return
    for path in paths:
        places.say(str(path))


def train(
    source: Annotated[
        Path | None,
        typer.Argument(help="With --show-batch: a run folder or a base recipe; the project's last run if left out."),
    ] = None,
    task: places.TaskOption = "lungs",
    budget: Annotated[float, typer.Option(help="Seconds for the run, comparison included.", min=1.0)] = 90.0,
    seed: Annotated[int, typer.Option(help="Same seed, same result on a CPU.")] = 0,
    promote: Annotated[bool, typer.Option("--promote", help="Go live if the hold-out says better.")] = False,
    reason: Annotated[str, typer.Option(help="With --promote: go live in any case; it goes on the card.")] = "",
    show_batch: Annotated[
        Path | None, typer.Option(help="Train nothing: write a picture of what the network sees to this PNG.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="With --show-batch and a base recipe: its folder.")] = None,
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """Retrain the live model on the corrections of a project.

    Ctrl-C asks the run to stop and keeps its best so far. Exit code 1 where the run failed, or --promote was refused.
    """
    if source is not None:
        cli_show.show_batch(show_batch, source, data)
        return
    with places.opened(project, registry) as ws:
        if show_batch is not None:
            cli_show.show_batch(show_batch, cli_show.last_run_folder(ws, task), None)
            return
        console = places.progress_console(quiet=as_json)
        found = findings(ws, task)
        for line in lines_of(ws, task, found):
            console.print(line, markup=False)
        run = improve.start_run(ws, task, budget, seed)
        _watch(ws, run, console, budget)
        view = improve.comparison(ws, run)
        refused = promote and view.verdict.decision is not Decision.BETTER and not reason.strip()
        card = improve.promote(ws, run, reason) if promote and not refused else improve.keep_old(ws, run)
        live = ws.registry.live(task).id
    if as_json:
        cases = [
            {"case": row.compared.case, "old": row.compared.old, "new": row.compared.new, "metric": row.compared.metric}
            for row in view.rows
        ]
        told = view.verdict
        verdict = {
            "decision": told.decision,
            "text": told.text,
            "interval": told.ci,
            "n_groups": told.n_groups,
            "n_needed": told.n_needed,
            "cases": cases,
        }
        answer = {"run": run.id, "folder": run.folder, "model": card.id, "live": live, "verdict": verdict}
        places.say_json(answer | {"findings": [one.text for one in found]})
    else:
        _say_comparison(view)
        places.say(f"{card.id} is kept in the registry; {live} is live.")
    if refused:
        raise MedSegError(f"{card.id} is not promoted: {view.verdict.text} Give a --reason to promote it all the same.")


def _watch(ws: Workspace, run: Run, console: Console, budget_s: float) -> None:
    """Show a run until it ends; raise `MedSegError` where it fails."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)
    shown = bar.add_task("reading", total=budget_s)
    offset, began = 0, time.monotonic()
    with bar:
        while True:
            try:
                events, offset = improve.follow(ws, run, offset)
                for event in events:
                    if isinstance(event, Failed):
                        raise MedSegError(event.message)
                    if isinstance(event, Finished):
                        bar.update(shown, completed=budget_s, description=f"best Dice {event.val_dice:.4f}")
                        return
                    _show(event, bar, console)
                bar.update(shown, completed=min(time.monotonic() - began, budget_s))
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                improve.cancel(ws, run)
                console.print("stopping; the best so far is kept")


def _show(event: Event, bar: Progress, console: Console) -> None:
    match event:
        case Started():
            counts = f"{event.n_train} corrections, {event.n_replay} replayed, {event.n_hold_out} held out"
            console.print(f"{counts}, on {event.device}")
        case EpochEnded():
            text = f"epoch {event.epoch}  loss {event.train_loss:.3f}  Dice {event.val_dice:.4f}"
            bar.update(bar.task_ids[0], description=text)
        case Notice():
            console.print(event.text)


def _say_comparison(view: improve.ComparisonView) -> None:
    metric = view.rows[0].compared.metric if view.rows else ""
    table = Table("case", f"old {metric}", f"new {metric}", "change")
    for row in view.rows:
        scores = (f"{row.compared.old:.4f}", f"{row.compared.new:.4f}", f"{row.change:+.4f}")
        table.add_row(row.compared.case, *scores)
    if view.rows:
        Console().print(table)
    places.say(view.verdict.text)
