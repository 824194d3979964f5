"""Run a training on a project: show progress, compare the new version with the live one, promote it or keep the old."""

from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.train.run_console import exit_paused, follow_run
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Run
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.second_reader.hidden import describe_left_out
from napari_medseg.workflow.workspace import Workspace
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, Paused


def find_resumable_run(ws: Workspace, task: str) -> Run:
    """Return the paused or interrupted run of a task; raise `MedSegError` if there is none."""
    run = run_control.find_paused_run(ws, task) or run_control.get_last_run(ws, task)
    if run is None or not run_control.can_resume(ws, run):
        raise MedSegError(
            f"the task {task!r} has no paused or interrupted run. Start one: medseg train project --task {task}"
        )
    return run


def follow_project_run(ws: Workspace, run: Run, offset: int = 0, *, as_json: bool) -> None:
    """Show the events of a run after the byte `offset` until it ends; a pause ends the command.

    Raises
    ------
    MedSegError
        If the run fails.
    """
    folder = run_control.get_run_folder(ws, run)
    last = follow_run(
        lambda since: run_control.poll_run(ws, run, max(since, offset)),
        partial(run_control.cancel, ws, run),
        make_progress_console(quiet=as_json),
        read_recipe(folder / RECIPE_FILE).run.budget_s,
    )
    if isinstance(last, Paused):
        exit_paused(last, f"medseg train resume --task {run.task}", folder, as_json=as_json)


def finish_project_run(
    ws: Workspace, run: Run, *, promote: bool, reason: str, findings: Sequence[str] = (), as_json: bool
) -> None:
    """Print the comparison of a finished run; with `promote`, promote its version if it is better.

    With a `reason` it is promoted in any case. `findings` are the results of the label checks, for the JSON document.

    Raises
    ------
    MedSegError
        If `promote` is set and the version is not better.
    """
    comparison = retrain.read_comparison(ws, run)
    is_refused = promote and comparison.verdict.decision is not Decision.BETTER and not reason.strip()
    goes_live = promote and not is_refused
    card = retrain.promote(ws, run, reason) if goes_live else retrain.keep_old(ws, run)
    live = ws.registry.get_live_id(run.task)
    if as_json:
        result = {"run": run.id, "folder": run.folder, "model": card.id, "live": live}
        echo_json(result | {"verdict": _describe_comparison(comparison), "findings": list(findings)})
    else:
        _echo_comparison(comparison)
        echo(f"{card.id} is kept in the registry; {live or 'none'} is live.")
    if is_refused:
        raise MedSegError(
            f"{card.id} is not promoted: {comparison.verdict.text} To promote it anyway, say why: "
            f"medseg models promote {card.id} --reason TEXT"
        )


def _describe_comparison(comparison: retrain.CandidateComparison) -> dict[str, object]:
    verdict = comparison.verdict
    cases = [
        {
            "case": row.compared.case,
            "old": row.compared.old,
            "new": row.compared.new,
            "metric": row.compared.metric,
            "in_part": row.is_partly_reviewed,
        }
        for row in comparison.rows
    ]
    return {
        "decision": verdict.decision,
        "text": verdict.text,
        "interval": verdict.ci,
        "n_groups": verdict.n_groups,
        "n_needed": verdict.n_needed,
        "comparison": verdict.n_earlier + 1,
        "confidence_needed": verdict.confidence_needed,
        "confidence_reached": verdict.confidence_reached,
        "cases": cases,
        "n_cases_read_blind": comparison.n_hidden,
    }


def _echo_comparison(comparison: retrain.CandidateComparison) -> None:
    metric = comparison.rows[0].compared.metric if comparison.rows else ""
    table = Table("case", f"old {metric}", f"new {metric}", "change")
    for row in comparison.rows:
        scores = (f"{row.compared.old:.4f}", f"{row.compared.new:.4f}", f"{row.score_change:+.4f}")
        table.add_row(f"{row.compared.case}{', partly reviewed' * row.is_partly_reviewed}", *scores)
    if comparison.rows:
        Console().print(table)
    if comparison.n_hidden:
        echo(describe_left_out(comparison.n_hidden))
    echo(comparison.verdict.text)
