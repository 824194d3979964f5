"""`medseg train` on a project: start a run or go on with one, show it, compare, and promote or keep the old one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from napari_medseg.cli.check import format_findings
from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.options import open_workspace
from napari_medseg.cli.run_console import say_paused, watch
from napari_medseg.cli.train_folders import changes_of
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Run
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.data_checks import check_corrections
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides
from training.recipe import read_recipe
from training.recipe_keys import find_keys, list_stages
from training.run_folder import RECIPE_FILE, Paused, get_events_offset

Where = tuple[Path | None, Path | None]
"""Folders of the project and of the registry, where they are not the window's."""


@dataclass(frozen=True)
class Retraining:
    """What was asked for on the command line; see the help of `medseg train`."""

    task: str
    budget_s: float | None = None
    seed: int = 0
    promote: bool = False
    reason: str = ""
    base: str = ""
    recipe: Path | None = None
    epochs: int | None = None


def retrain_project(wanted: Retraining, where: Where, *, as_json: bool) -> None:
    """Retrain on the corrections of a project; raises as `retrain.start_run` does, and where it is not promoted."""
    with open_workspace(*where) as ws:
        console = make_progress_console(quiet=as_json)
        found = check_corrections(ws, wanted.task)
        for line in format_findings(ws, wanted.task, found):
            console.print(line, markup=False)
        changes = changes_of(wanted.recipe, wanted.epochs, wanted.budget_s, wanted.seed)
        budget_s = None if _says_how_long(changes) else retrain.DEFAULT_BUDGET_S
        run = retrain.start_run(ws, wanted.task, budget_s, wanted.seed, wanted.base, changes)
        _follow(ws, run, wanted, 0, [one.text for one in found], as_json=as_json)


def continue_run(wanted: Retraining, where: Where, *, as_json: bool) -> None:
    """Let the task's run go on that was paused or interrupted; raises where there is none."""
    with open_workspace(*where) as ws:
        run = _waiting_run(ws, wanted.task)
        folder = run_control.get_run_folder(ws, run)
        offset = get_events_offset(folder)
        run = run_control.resume(ws, run)
        _follow(ws, run, wanted, offset, [], as_json=as_json)


def discard_run(task: str, where: Where) -> None:
    """Give up the task's run that was paused or interrupted; raises where there is none."""
    with open_workspace(*where) as ws:
        run = _waiting_run(ws, task)
        run_control.discard(ws, run)
    echo(f"The run {run.id} is discarded; its corrections wait to be learnt again.")


def _says_how_long(changes: RecipeOverrides) -> bool:
    """Whether seconds or epochs are named, so that the usual budget does not cut them short."""
    tables = [changes.recipe, *list_stages(changes.recipe)]
    return any(find_keys(table, {("schedule", "n_epochs"), ("run", "budget_s")}) for table in tables)


def _waiting_run(ws: Workspace, task: str) -> Run:
    run = run_control.find_paused_run(ws, task) or run_control.get_last_run(ws, task)
    if run is None or not run_control.can_resume(ws, run):
        raise MedSegError(f"no run of the task {task!r} was paused or interrupted. Start one: medseg train -t {task}")
    return run


def _follow(ws: Workspace, run: Run, wanted: Retraining, offset: int, found: Sequence[str], *, as_json: bool) -> None:
    """Show what a run says behind `offset`, and decide on its candidate as asked for; a pause ends the command."""
    last = watch(
        lambda since: run_control.poll_run(ws, run, max(since, offset)),
        partial(run_control.cancel, ws, run),
        make_progress_console(quiet=as_json),
        read_recipe(run_control.get_run_folder(ws, run) / RECIPE_FILE).run.budget_s,
    )
    if isinstance(last, Paused):
        say_paused(last, f"medseg train --task {wanted.task}", run_control.get_run_folder(ws, run), as_json=as_json)
    view = retrain.read_comparison(ws, run)
    refused = wanted.promote and view.verdict.decision is not Decision.BETTER and not wanted.reason.strip()
    goes_live = wanted.promote and not refused
    card = retrain.promote(ws, run, wanted.reason) if goes_live else retrain.keep_old(ws, run)
    live = ws.registry.get_live_id(wanted.task)
    if as_json:
        answer = {"run": run.id, "folder": run.folder, "model": card.id, "live": live, "verdict": _entry(view)}
        echo_json(answer | {"findings": found})
    else:
        _say_comparison(view)
        echo(f"{card.id} is kept in the registry; {live or 'none'} is live.")
    if refused:
        raise MedSegError(f"{card.id} is not promoted: {view.verdict.text} Give a --reason to promote it all the same.")


def _entry(view: retrain.CandidateComparison) -> dict[str, object]:
    told = view.verdict
    cases = [
        {
            "case": row.compared.case,
            "old": row.compared.old,
            "new": row.compared.new,
            "metric": row.compared.metric,
            "in_part": row.is_partly_reviewed,
        }
        for row in view.rows
    ]
    return {
        "decision": told.decision,
        "text": told.text,
        "interval": told.ci,
        "n_groups": told.n_groups,
        "n_needed": told.n_needed,
        "cases": cases,
    }


def _say_comparison(view: retrain.CandidateComparison) -> None:
    metric = view.rows[0].compared.metric if view.rows else ""
    table = Table("case", f"old {metric}", f"new {metric}", "change")
    for row in view.rows:
        scores = (f"{row.compared.old:.4f}", f"{row.compared.new:.4f}", f"{row.score_change:+.4f}")
        table.add_row(f"{row.compared.case}{', in part' * row.is_partly_reviewed}", *scores)
    if view.rows:
        Console().print(table)
    echo(view.verdict.text)
