"""The scores of one case on a worker, and its figure for the report."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.formats.mask_placement import MaskOrientation, MaskPlacement
from napari_medseg.core.grouping.keyed_groups import compute_group_digest
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.case_task import CaseOutcome, run_case
from napari_medseg.workflow.cluster.warm_models import WarmModels, read_task

if TYPE_CHECKING:
    from training.evaluation.evaluate import LabelReader
    from training.evaluation.scores import EvaluatedCase

FIGURE_END = "-figure.npz"


@dataclass(frozen=True)
class EvaluationChoices:
    """The options of an evaluation, as plain data.

    `values`, `binarise`, `ignore`, `mask_orientation` and `same_voxels` are as of `MaskEncoding`. `predictions` is a
    folder of label files to score; empty: a model is scored, which can predict `n_classes`. `groups_key` is the
    hexadecimal key that makes hashes of groups, because a group may be the ID of a patient.
    """

    registry: str = field(repr=False)
    task: str
    values: tuple[tuple[int, ...], ...]
    binarise: bool
    ignore: int | None
    mask_orientation: MaskOrientation | None
    same_voxels: bool
    predictions: str = field(repr=False)
    n_classes: int | None
    groups_key: str = field(repr=False)


def evaluate_case_on_worker(request: CaseRequest) -> dict[str, Any]:
    """Score one case: a task. Returns its record, see `case_task.run_case`."""
    return run_case(request, _evaluate)


def _evaluate(request: CaseRequest, models: WarmModels) -> CaseOutcome:
    from training.evaluation.evaluate import add_full_metrics
    from training.reports.case_figure import draw_case_figure, write_case_figures

    chosen = EvaluationChoices(**request.options["choices"])
    task = read_task(chosen.registry, chosen.task, request.token)
    outcome = CaseOutcome({})
    scored = add_full_metrics(_score(request, chosen, task, models, outcome), task)
    figure = CaseRecords(Path(request.output)).get_staged_file(request.key, request.fingerprint, FIGURE_END)
    with atomic_write(figure) as beside:
        write_case_figures([draw_case_figure(scored, task)], beside)
    group = compute_group_digest(scored.score.group, bytes.fromhex(chosen.groups_key)) if scored.score.group else ""
    outcome.result["score"] = asdict(replace(scored.score, group=group))
    outcome.content_sha256 = scored.image.content_hash
    return outcome


def _score(
    request: CaseRequest, chosen: EvaluationChoices, task: Task, models: WarmModels, outcome: CaseOutcome
) -> "EvaluatedCase":
    """Read the case, predict it or read its labels, and compare; `outcome` gets notices and what predicted."""
    import time

    from training.data.ignore_regions import ReviewedPart
    from training.data.labelled_cases import LabelledCase
    from training.evaluation.evaluate import load_case, make_folder_source, make_predictor_source, score_labels

    part = None if chosen.ignore is None else ReviewedPart(ignored_value=request.options["ignored_value"])
    image, labels = map(Path, request.paths)
    name, group, source = (str(request.options[word]) for word in ("name", "group", "source"))
    parts = tuple((label, Path(path)) for label, path in request.options["parts"])
    case = LabelledCase(name, image, labels, group, source, part, parts=parts)
    loaded = load_case(case, _make_reader(task, chosen))
    began = time.monotonic()
    if request.model is None:
        placed = EvaluationChoices(**{**asdict(chosen), "values": (), "binarise": False, "ignore": None})
        predicted = make_folder_source(Path(chosen.predictions), _make_reader(task, placed))(loaded.image, case.name)
    else:
        with models.lend(request.model) as predictor:
            began = time.monotonic()
            predicted = make_predictor_source(predictor, outcome.notes.append)(loaded.image, case.name)
            outcome.result.update(device=predictor.device_title, runtime=predictor.runtime_title)
    return score_labels(loaded, predicted, task, chosen.n_classes, time.monotonic() - began)


def _make_reader(task: Task, chosen: EvaluationChoices) -> "LabelReader":
    from training.from_folders.mask_reading import make_label_reader
    from training.from_folders.mask_values import MaskEncoding

    placement = MaskPlacement(chosen.mask_orientation, chosen.same_voxels)
    return make_label_reader(MaskEncoding(task, chosen.values, chosen.binarise, chosen.ignore, placement))
