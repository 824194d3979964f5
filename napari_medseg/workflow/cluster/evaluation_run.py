"""The evaluation of many cases on workers: the scores and figures of a run in one process."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, make_keyed_group
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords, make_case_key, make_fingerprint
from napari_medseg.workflow.cluster.case_request import CaseRequest, ModelRequest, get_program_version
from napari_medseg.workflow.cluster.case_run import CaseKind, CaseRun
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.evaluation_task import FIGURE_END, EvaluationChoices, evaluate_case_on_worker
from napari_medseg.workflow.cluster.manifest import Manifest, Row

if TYPE_CHECKING:
    from training.data.labelled_cases import LabelledCase
    from training.evaluation.scores import CaseScore
    from training.reports.case_figure import CaseFigure


@dataclass(frozen=True, eq=False)
class EvaluationJob:
    """Cases to score into a folder; `model` is `None` if label files are scored."""

    cases: Sequence["LabelledCase"]
    output: Path
    choices: EvaluationChoices
    model: ModelRequest | None


@contextlib.contextmanager
def begin_evaluation(cluster: Cluster, job: EvaluationJob) -> Iterator[CaseRun]:
    """Hold the output folder, and begin or continue a run in it; iterate over its `run`.

    Raises
    ------
    MedSegError
        If another command works there.
    """
    from training.data.labelled_cases import LabelFolder

    records = CaseRecords(job.output)
    scored = LabelFolder(Path(job.choices.predictions)) if job.choices.predictions else None
    with records.hold() as token:
        requests = [
            _make_request(job, case, None if scored is None else scored.find(case.name), token) for case in job.cases
        ]
        kind = CaseKind(
            evaluate_case_on_worker,
            is_complete=lambda record: True,  # a figure that is gone is left out of the report
            finish=lambda index, record: record,
        )
        yield CaseRun(cluster, records, requests, kind, Manifest(job.output, requests, _describe))


def collect_scores(run: CaseRun, task: Task) -> "tuple[CaseScore, ...]":
    """Return the scores of all cases with keyed groups, as `hide_groups` makes them.

    Raises
    ------
    MedSegError
        If a case failed: the mean of the others would be another figure than the one that was asked for.
    """
    from training.evaluation.scores import CaseScore

    if failed := [error for error in run.errors if error]:
        raise MedSegError(
            f"{len(failed)} of {len(run.errors)} cases could not be scored, so there is no report: {failed[0]} "
            "manifest.csv lists all of them. The same command tries these again and keeps the others."
        )
    reader = TypeAdapter(CaseScore)
    scores = [reader.validate_python(record.result["score"]) for record in run.records_of if record is not None]
    ranked = sorted({score.group for score in scores if score.group})
    noun = choose_group_noun(task)
    keyed = {digest: make_keyed_group(noun, number, digest) for number, digest in enumerate(ranked, start=1)}
    return tuple(replace(score, group=keyed.get(score.group, "")) for score in scores)


def collect_figures(run: CaseRun, output: Path, scores: "Sequence[CaseScore]", n_each: int) -> "list[CaseFigure]":
    """Return the figures of the worst, median and best cases, and remove the others."""
    from training.reports.case_figure import choose_positions, read_case_figures

    records = CaseRecords(output)
    wanted = set(choose_positions([score.mean_dice for score in scores], n_each, n_each, n_each))
    figures: list[CaseFigure] = []
    for position, record in enumerate(run.records_of):
        if record is None:
            continue
        file = records.get_staged_file(record.key, record.fingerprint, FIGURE_END)
        if position in wanted and file.exists():
            figures += read_case_figures(file)
        else:
            file.unlink(missing_ok=True)
    return figures


def _make_request(job: EvaluationJob, case: "LabelledCase", scored: Path | None, token: str) -> CaseRequest:
    """Return the request of a case; `scored` is its label file if files are scored, and there is one."""
    paths = (str(case.image.absolute()), str(case.labels.absolute()))
    part = case.reviewed_part
    options = {
        "choices": asdict(job.choices),
        "name": case.name,
        "group": case.group,
        "source": case.source,
        "ignored_value": None if part is None else part.ignored_value,
        "parts": [[name, str(path.absolute())] for name, path in case.parts],
    }
    version = [get_program_version(), *([] if job.model is None else [job.model.weights_sha256, job.model.roi_sha256])]
    choices = {name: value for name, value in asdict(job.choices).items() if name != "registry"}
    decisive = {"choices": choices, "name": case.name, "group": case.group, "version": version}
    if case.parts:
        decisive["parts"] = [name for name, _ in case.parts]
    files = [case.image, case.labels, *(path for _, path in case.parts), *([] if scored is None else [scored])]
    return CaseRequest(
        key=make_case_key(job.choices.task, "evaluation", *paths),
        fingerprint=make_fingerprint(files, decisive),
        paths=paths,
        output=str(job.output.absolute()),
        token=token,
        model=job.model,
        options=options,
        max_memory=get_max_memory(),
    )


def _describe(record: CaseRecord) -> Row:
    score = record.result.get("score", {})
    dice = {f"dice_{name}": value for name, value in score.get("dice", {}).items()}
    objects = {f"objects_{name}": value for name, value in (score.get("objects") or {}).items()}
    done_by = {name: record.result.get(name) for name in ("device", "runtime")}
    return {**done_by, "swapped": score.get("swapped"), **dice, **objects}
