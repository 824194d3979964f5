"""Whether more corrections of a kind still help: only said with two pieces of evidence, and never of few cases.

1. The versions of the last two retrains, of which the second had more corrections, label the undecided cases alike: the
   mean Dice is `ALIKE` or more, and so is the lower end of its interval. Cases in which neither finds anything do not
   count.
2. The edited share is flat: from one version that people corrected to the next, its median fell by less than
   `FLAT_SHARE`, and the interval allows no larger fall.
"""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.case_history import WaitingCase
from napari_medseg.core.readings.agreement import compute_agreement
from napari_medseg.core.readings.records import VersionAgreement
from napari_medseg.core.records import Case, Prediction, Run, RunState, now
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import load_image
from napari_medseg.workflow.meter.kinds import describe_kind
from napari_medseg.workflow.meter.rows import MeterRow
from napari_medseg.workflow.meter.statistics import MIN_CASES, Estimate, estimate_mean, estimate_median_change
from napari_medseg.workflow.workspace import Workspace

ALIKE = 0.99
FLAT_SHARE = 0.02
"""Two of a hundred edited voxels."""
MAX_COMPARED = 40
"""Undecided cases that are compared at most, chosen by a hash of their content."""

_ENDED = (RunState.FINISHED, RunState.CANCELLED, RunState.PROMOTED, RunState.KEPT_OLD)


@dataclass(frozen=True)
class RetrainPair:
    """The versions that the last two retrains of a task made, and the corrections that each learnt from."""

    older: str
    newer: str
    n_older: int
    n_newer: int


@dataclass(frozen=True)
class Saturation:
    """The evidence for one kind of image.

    `alike` is the mean Dice of both versions on `n_compared` undecided cases. `share_change` is the change of the
    median edited share from the drafts of `drafted` to those of the version after it. `missing` says what is not known
    or speaks against it; it is empty if more corrections no longer help.
    """

    kind: str
    pair: RetrainPair | None
    n_compared: int
    alike: Estimate | None
    drafted: tuple[str, str] | None
    share_change: Estimate | None
    missing: tuple[str, ...]

    @property
    def no_longer_helps(self) -> bool:
        """Whether both pieces of evidence are there."""
        return not self.missing

    @property
    def text(self) -> str:
        """The conclusion with its numbers."""
        numbers = []
        if self.pair is not None and self.alike is not None:
            interval = f"{self.alike.low:.3f} to {self.alike.high:.3f}"
            numbers.append(
                f"{self.pair.older} and {self.pair.newer} agree on {self.n_compared} undecided cases: "
                f"Dice {self.alike.value:.3f} ({interval})"
            )
        if self.drafted is not None and self.share_change is not None:
            change = self.share_change
            numbers.append(
                f"edited share from {self.drafted[0]} to {self.drafted[1]}: {100 * change.value:+.1f} points "
                f"({100 * change.low:+.1f} to {100 * change.high:+.1f})"
            )
        evidence = "; ".join(numbers)
        if self.no_longer_helps:
            return f"More corrections of this kind ({self.kind}) no longer help: {evidence}."
        open_points = "; ".join(self.missing)
        return f"{self.kind}: it is not shown that more corrections no longer help: {open_points}." + (
            f" Known: {evidence}." if evidence else ""
        )


@dataclass(frozen=True)
class ToCompare:
    """An undecided case, with the stored predictions of both versions; `None` is predicted for the comparison."""

    case: Case
    older: Prediction | None
    newer: Prediction | None


def find_retrain_pair(ws: Workspace, task: str) -> RetrainPair | None:
    """Return the versions of the last two retrains of a task that became versions; `None` if there are not two."""
    runs = [run for run in ws.project.read_records(Run, "task", task) if run.state in _ENDED and run.result_model]
    known = {card.id for card in ws.registry.list_versions(task)}
    latest = {run.result_model: run for run in runs if run.result_model in known}
    if len(latest) < 2:
        return None
    before, last = list(latest.values())[-2:]
    unread = ws.project.listed.count_unread_corrections()
    n_older, n_newer = (run.n_corrections - unread.get(run.id, 0) for run in (before, last))
    return RetrainPair(str(before.result_model), str(last.result_model), n_older, n_newer)


def list_to_compare(ws: Workspace, pair: RetrainPair, waiting: Sequence[WaitingCase]) -> list[ToCompare]:
    """Return the undecided cases whose labels by both versions are not compared yet; in the main thread.

    `waiting` are the undecided cases of the task, from `Project.listed`. At most `MAX_COMPARED` of each kind are
    compared: the same ones each time.
    """
    stored: dict[tuple[int, str], Prediction] = {}
    for prediction in ws.project.read_records(Prediction):
        if prediction.model in (pair.older, pair.newer):
            stored[prediction.case_id, prediction.model] = prediction
    known = {one.case_id for one in _read_agreements(ws, pair)}
    chosen = [one.id for one in _choose_cases(waiting) if one.id not in known]
    return [
        ToCompare(
            ws.project.get_record(Case, case_id),
            *(stored.get((case_id, pair.older)), stored.get((case_id, pair.newer))),
        )
        for case_id in chosen
    ]


def compare_versions(ws: Workspace, pair: RetrainPair, cases: Sequence[ToCompare]) -> Generator[VersionAgreement]:
    """Compare both versions on each case; labels that are not stored are predicted. It may run in a worker thread.

    What is predicted is not recorded: drafts stay as they are. Give each result to `store_version_agreement`.
    """
    for one in cases:
        task = ws.tasks.get_task(one.case.task)
        labels = []
        for model, stored in ((pair.older, one.older), (pair.newer, one.newer)):
            if stored is not None:
                labels.append(read_case_labels(ws.project.folder, one.case, stored))
            else:
                labels.append(_predict_labels(ws, model, one.case).labels)
        dice = compute_agreement(labels[0], labels[1], task).dice
        yield VersionAgreement(0, one.case.id, pair.older, pair.newer, dice, now())


def store_version_agreement(ws: Workspace, agreement: VersionAgreement) -> None:
    """Write one result of `compare_versions`; in the main thread."""
    pair = RetrainPair(agreement.older, agreement.newer, 0, 0)
    if all(one.case_id != agreement.case_id for one in _read_agreements(ws, pair)):
        ws.project.insert(agreement)


def read_compared(ws: Workspace, pair: RetrainPair | None) -> list[VersionAgreement]:
    """Return what is stored of the agreement of two versions; in the main thread."""
    return [] if pair is None else _read_agreements(ws, pair)


def judge_saturation(
    pair: RetrainPair | None,
    stored: Sequence[VersionAgreement],
    meter: Sequence[MeterRow],
    waiting: Sequence[WaitingCase],
) -> list[Saturation]:
    """Return the evidence for each kind of image among the undecided cases of a task; in any thread.

    Parameters
    ----------
    pair, stored
        `find_retrain_pair` of the task, and `read_compared`.
    meter, waiting
        `rows.list_meter_rows`, and the undecided cases of the task.
    """
    kind_of = {case.id: describe_kind(case) for case in waiting}
    compared = [one for one in stored if one.case_id in kind_of]
    found = []
    for kind in dict.fromkeys(kind_of.values()):
        scores = [one.dice for one in compared if one.dice is not None and kind_of[one.case_id] == kind]
        found.append(_judge_kind(kind, pair, scores, [row for row in meter if row.counts and row.kind == kind]))
    return found


def _judge_kind(kind: str, pair: RetrainPair | None, scores: Sequence[float], drafts: Sequence[MeterRow]) -> Saturation:
    shares: dict[str, list[float]] = {}
    for row in drafts:
        if row.edited_share is not None:
            shares.setdefault(row.model, []).append(row.edited_share)
    models = [model for model, values in shares.items() if len(values) >= MIN_CASES][-2:]
    drafted = (models[0], models[1]) if len(models) == 2 else None
    change = estimate_median_change(shares[drafted[0]], shares[drafted[1]]) if drafted else None
    alike = estimate_mean(scores)
    missing = (*_list_objections_to_versions(pair, alike, len(scores)), *_list_objections_to_share(change))
    return Saturation(kind, pair, len(scores), alike, drafted, change, missing)


def _list_objections_to_versions(pair: RetrainPair | None, alike: Estimate | None, n_compared: int) -> list[str]:
    if pair is None:
        return ["two retrains are needed"]
    objections = []
    if pair.n_newer <= pair.n_older:
        objections.append(f"{pair.newer} learnt from no more corrections than {pair.older}")
    if alike is None:
        objections.append(f"{MIN_CASES} undecided cases with labels must be compared, {n_compared} are")
    elif alike.low < ALIKE:
        objections.append(f"both versions differ on undecided cases (Dice from {alike.low:.3f}, {ALIKE} is needed)")
    return objections


def _list_objections_to_share(change: Estimate | None) -> list[str]:
    if change is None:
        return [f"two versions with {MIN_CASES} corrected cases each are needed for the edited share"]
    if change.low < -FLAT_SHARE:
        return [f"the edited share may still fall (by up to {-100 * change.low:.1f} points)"]
    return []


def _read_agreements(ws: Workspace, pair: RetrainPair) -> list[VersionAgreement]:
    return [one for one in ws.project.read_records(VersionAgreement, "newer", pair.newer) if one.older == pair.older]


def _choose_cases(waiting: Sequence[WaitingCase]) -> list[WaitingCase]:
    chosen: dict[str, list[WaitingCase]] = {}
    for case in sorted(waiting, key=lambda case: hashlib.sha256(case.content_hash.encode()).digest()):
        of_kind = chosen.setdefault(describe_kind(case), [])
        if len(of_kind) < MAX_COMPARED:
            of_kind.append(case)
    return [case for of_kind in chosen.values() for case in of_kind]


def _predict_labels(ws: Workspace, model: str, case: Case) -> PredictionResult:
    registry = ws.registry
    folder, roi_folder = registry.get_folder(model), registry.find_roi_folder(registry.get_card(model))
    for event in ws.engine.predict(load_image(ws, case), folder, roi_folder=roi_folder):
        if isinstance(event, PredictionResult):
            return event
    raise MedSegError(f"{model} gave no labels for {case.name}. Try again; nothing was changed.")
