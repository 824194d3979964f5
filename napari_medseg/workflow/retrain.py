"""Retraining: corrections -> snapshot -> run folder -> comparison -> promote, or keep the old version.

`workflow.run_control` starts, pauses, resumes and discards the process of a run.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.open_folders import ensure_in_place
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.quality.label_set_checks import NOTHING_TO_LEARN
from napari_medseg.core.quality.promotion_gate import Decision, Verdict
from napari_medseg.core.quality.repeated_comparisons import Comparison, count_earlier_comparisons
from napari_medseg.core.readings.hidden_names import hide_names
from napari_medseg.core.records import Case, Correction, Run, RunState, now
from napari_medseg.core.replay import write_replay_images
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, make_paths_relative, read_snapshot, write_snapshot
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.data_checks import CheckedCorrections, check_corrections, describe_label_mixups
from napari_medseg.workflow.findings.case_finding import CaseFinding, hide_blind
from napari_medseg.workflow.hold_out.replayed import read_user_images
from napari_medseg.workflow.remote.run_place import choose_place, ensure_trainable
from napari_medseg.workflow.run_control import ensure_no_running_run, find_paused_run, get_run_folder, launch_run
from napari_medseg.workflow.run_outcome import find_waiting_comparison
from napari_medseg.workflow.run_plan import RunPlan, RunRequest, make_run_id, plan_run
from napari_medseg.workflow.training_set import build_snapshot, read_learnt_corrections
from napari_medseg.workflow.workspace import Workspace
from training.evaluation.run_verdict import (
    read_compared_cases,
    read_earlier_comparisons,
    read_verdict,
    write_earlier_comparisons,
)
from training.from_folders.default_recipe import NO_OVERRIDES, RecipeOverrides
from training.recipe import write_recipe
from training.run_folder import LABEL_PROBLEM_FILE, RECIPE_FILE, SNAPSHOT_FILE, Compared
from training.start_plan import write_start_plan

DEFAULT_BUDGET_S = 90.0
"""Default time budget of a run, in seconds."""
STATES_WITH_CANDIDATE = (RunState.FINISHED, RunState.CANCELLED, RunState.KEPT_OLD)


@dataclass(frozen=True)
class ComparisonRow:
    """Comparison of old and new version on one hold-out case; `case` and `labels_file` are those of the project.

    `is_partly_reviewed`: only a part of the case was reviewed, and both versions are evaluated on that part.
    """

    case: Case | None
    labels_file: str
    compared: Compared
    is_partly_reviewed: bool = False

    @property
    def score_change(self) -> float:
        """Change of the score, new minus old."""
        return self.compared.new - self.compared.old


@dataclass(frozen=True)
class CandidateComparison:
    """Scores of a candidate on the hold-out, worst change first, and the verdict of the promotion gate.

    `n_hidden` compared cases are not in `rows`, because the person who works now has yet to read them blind.
    """

    rows: tuple[ComparisonRow, ...]
    verdict: Verdict
    n_hidden: int = 0


def count_unlearnt_corrections(ws: Workspace, task: str) -> int:
    """Return the number of corrections outside the hold-out that the live version was not trained on."""
    learnt = read_learnt_corrections(ws, task)
    pairs = list_current_corrections(ws, task)
    return sum(not case.held_out and correction.id not in learnt for case, correction in pairs)


def count_hold_out_groups(ws: Workspace, task: str) -> int:
    """Return the number of hold-out groups with an accepted case; the gate needs `promotion_gate.MIN_GROUPS`."""
    return len({case.group for case, _ in list_current_corrections(ws, task) if case.held_out})


def start_run(
    ws: Workspace,
    task: str,
    budget_s: float | None = DEFAULT_BUDGET_S,
    seed: int = 0,
    base: str = "",
    changes: RecipeOverrides = NO_OVERRIDES,
    since: float | None = None,
) -> Run:
    """Check all corrections and train on them; parameters as of `RunRequest` and `start_checked_run`."""
    return start_checked_run(ws, task, RunRequest(budget_s, seed, base, changes), None, since)


def start_checked_run(
    ws: Workspace,
    task: str,
    request: RunRequest,
    checked: CheckedCorrections | None = None,
    since: float | None = None,
) -> Run:
    """Train on all corrections in a separate process that continues if the window closes.

    By default it starts from the live version and is compared with it. If the task has no live version, a first model
    is trained: it starts from the weights of the version with the most similar images, and is compared with empty
    labels.

    Parameters
    ----------
    ws, task, request
        Workspace, name of the task, and what was asked for.
    checked
        The check of the corrections, if it was made before: that of thousands takes seconds.
    since
        `time.time()` when the user asked for the run; `None`: now. The time budget counts from then.

    Raises
    ------
    MedSegError
        If there is no correction for training or nothing to learn, a check blocks training, a run is active, a run of
        the task is paused, the version does not exist, or the changes are not allowed.
    """
    since = time.time() if since is None else since
    ensure_trainable(ws)
    ensure_no_running_run(ws)
    if (waiting := find_paused_run(ws, task)) is not None:
        raise MedSegError(f"the run {waiting.id} is paused. Resume or discard it before you start another run.")
    if (ended := find_waiting_comparison(ws, task)) is not None:
        raise MedSegError(
            f"the new version of the run {ended.id} waits for a decision. Promote it or keep the old one, in the dock "
            f"or by medseg train decide --task {task}; the next run then begins with the better one."
        )
    found = check_corrections(ws, task, checked)
    if blocking := [one.text for one in hide_blind(ws, found) if one.finding.blocking]:
        raise MedSegError(f"{'; '.join(blocking)}. Nothing is trained on such labels: correct them first.")
    beginning = plan_run(ws, ws.tasks.get_task(task), request)
    snapshot, seen = build_snapshot(ws, task, beginning.base)
    if not beginning.uses_replay:
        snapshot = snapshot.model_copy(update={"items": tuple(snapshot.filter_by_role(*{*Role} - {Role.REPLAY}))})
    _refuse_nothing_to_learn(found, snapshot)
    run_id = make_run_id(beginning.recipe.run.name)
    folder = _write_run_folder(ws, ws.project.folder / "runs" / run_id, beginning, snapshot)
    if doubt := describe_label_mixups(found):
        (folder / LABEL_PROBLEM_FILE).write_text(doubt, encoding="utf-8")
    choose_place(ws, folder)
    rival = "" if beginning.baseline is None else beginning.baseline.id
    run = Run(run_id, task, rival, f"runs/{run_id}", RunState.RUNNING, len(seen), None, now())
    write_earlier_comparisons(folder, _count_earlier_comparisons(ws, run, _read_hold_out_groups(ws, folder)))
    with ws.project.transaction():
        ws.project.insert(run)
        ws.project.add_run_items([RunItem(run_id, item.correction_id, item.group, item.role) for item in seen])
    return launch_run(ws, run, since)


def _refuse_nothing_to_learn(found: Sequence[CaseFinding], snapshot: Snapshot) -> None:
    nothing = [one.text for one in found if one.finding.kind == NOTHING_TO_LEARN]
    if nothing and not snapshot.filter_by_role(Role.REPLAY):
        raise MedSegError(f"there is nothing to learn: {nothing[0]}, and there are none.")


def read_comparison(ws: Workspace, run: Run) -> CandidateComparison:
    """Read the comparison of candidate and baseline for each hold-out case, worst change first."""
    folder = get_run_folder(ws, run)
    compared = read_compared_cases(folder)
    files = {item.name: Path(item.labels).name for item in _read_snapshot_items(folder)}
    corrections = {Path(correction.labels_file).name: correction for correction in ws.project.read_records(Correction)}
    cases = {case.id: case for case in ws.project.read_records(Case)}
    rows: list[ComparisonRow] = []
    hidden: set[str] = set()
    unread = ws.second_readings.list_unread(run.task)
    for event in compared:
        correction = corrections.get(files.get(event.case, ""))
        case = None if correction is None else cases.get(correction.case_id)
        if case is not None and case.id in unread:
            hidden.add(event.case)
            continue
        labels_file, in_part = "", False
        if correction is not None:
            labels_file, in_part = correction.labels_file, bool(correction.reviewed_file)
        rows.append(ComparisonRow(case, labels_file, event, in_part))
    rows.sort(key=lambda row: row.score_change)
    n_earlier = read_earlier_comparisons(folder)
    if n_earlier is None:  # the run is older than this file, or the file is damaged
        n_earlier = _count_earlier_comparisons(ws, run, _read_hold_out_groups(ws, folder))
    return CandidateComparison(tuple(rows), _hide_in_verdict(read_verdict(folder, n_earlier), hidden), len(hidden))


def _hide_in_verdict(verdict: Verdict, names: Collection[str]) -> Verdict:
    return replace(
        verdict,
        worst_case=hide_names(verdict.worst_case, names),
        answer=hide_names(verdict.answer, names),
        figures=hide_names(verdict.figures, names),
    )


def promote(ws: Workspace, run: Run, reason: str = "") -> ModelCard:
    """Make a run's candidate the live version.

    Raises
    ------
    MedSegError
        If the run has no candidate, or the promotion gate does not find it better and no reason is given.
    """
    run = _get_run_with_candidate(ws, run)
    verdict = read_comparison(ws, run).verdict
    reason = reason.strip()
    if verdict.decision is not Decision.BETTER and not reason:
        raise MedSegError(f"{verdict.text} To promote it anyway, type a reason; it is stored in the model card.")
    model = run.result_model or ws.registry.add(get_run_folder(ws, run), reason).id
    card = ws.registry.promote(model, reason)
    ws.project.set_run_state(run, RunState.PROMOTED, model)
    return card


def keep_old(ws: Workspace, run: Run) -> ModelCard:
    """Keep the live version. The candidate becomes a version that can be promoted later; return its card."""
    run = _get_run_with_candidate(ws, run)
    model = run.result_model or ws.registry.add(get_run_folder(ws, run)).id
    ws.project.set_run_state(run, RunState.KEPT_OLD, model)
    return ws.registry.get_card(model)


def roll_back(ws: Workspace, task: str) -> ModelCard:
    """Make the previous live version live again."""
    return ws.registry.roll_back(task)


def _count_earlier_comparisons(ws: Workspace, run: Run, groups: frozenset[str]) -> int:
    """Count the comparisons on these hold-out groups before a run; the run may not be in the project yet."""
    earlier = []
    for other in ws.project.read_records(Run, "task", run.task):
        if other.id == run.id:
            break
        folder = get_run_folder(ws, other)
        if read_compared_cases(folder):
            earlier.append(
                Comparison(_read_hold_out_groups(ws, folder), other.base_model, _was_found_better(ws, other))
            )
    return count_earlier_comparisons(earlier, groups, run.base_model)


def _read_hold_out_groups(ws: Workspace, folder: Path) -> frozenset[str]:
    """Return the hold-out groups of a run; a time budget may have ended the comparison before the last of them.

    Runs of older versions wrote clear names; they are keyed like those of the project.
    """
    items = _read_snapshot_items(folder)
    groups = {item.group for item in items if item.role is Role.HOLD_OUT}
    if not items:
        groups = {event.group for event in read_compared_cases(folder)}
    return frozenset(ws.project.identities.find_group(group) or group for group in groups)


def _read_snapshot_items(folder: Path) -> tuple[SnapshotItem, ...]:
    """Read the items of a run that has ended. A damaged snapshot is reported, and no other run depends on it."""
    try:
        return read_snapshot(folder / SNAPSHOT_FILE).items
    except MedSegError as error:
        report_damage(f"{error} Other runs, and the comparison of this one, are used as before.")
        return ()


def _was_found_better(ws: Workspace, run: Run) -> bool:
    """Whether the version of a run went live because it was better; whoever promotes another one types a reason."""
    if run.state is not RunState.PROMOTED or not run.result_model:
        return False
    card = next((card for card in ws.registry.list_versions(run.task) if card.id == run.result_model), None)
    return card is not None and not card.lineage.promotion_reason


def _write_run_folder(ws: Workspace, folder: Path, beginning: RunPlan, snapshot: Snapshot) -> Path:
    """Write all files that the training process reads to the run folder."""
    ensure_in_place(folder)
    folder.mkdir(parents=True)
    write_snapshot(make_paths_relative(snapshot, folder, ws.project.folder), folder / SNAPSHOT_FILE)
    write_recipe(beginning.recipe, folder / RECIPE_FILE)
    if beginning.start is not None:
        write_start_plan(beginning.start, folder)
    elif beginning.base is not None:  # the new version also replays the images of its parent
        write_replay_images(folder, read_user_images(ws, beginning.base))
    return folder


def _get_run_with_candidate(ws: Workspace, run: Run) -> Run:
    now_is = ws.project.get_record(Run, run.id)
    if now_is.state not in STATES_WITH_CANDIDATE:
        raise MedSegError(f"the run {run.id} is {now_is.state}: it has no candidate to promote or keep. Train again.")
    return now_is
