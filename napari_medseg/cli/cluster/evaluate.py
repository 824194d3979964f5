"""`medseg evaluate` on several workers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_medseg.cli.cluster.progress import follow_cases
from napari_medseg.cli.console import echo_notice
from napari_medseg.cli.options import choose_wish
from napari_medseg.core.file_names import read_or_make_key
from napari_medseg.workflow.cluster.case_request import ModelRequest, make_model_request
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.evaluation_run import (
    EvaluationJob,
    begin_evaluation,
    collect_figures,
    collect_scores,
)
from napari_medseg.workflow.cluster.evaluation_task import EvaluationChoices

if TYPE_CHECKING:
    from napari_medseg.cli.evaluate import Scored
    from training.data.labelled_cases import LabelledCase
    from training.evaluation.scores import Evaluation
    from training.reports.case_figure import CaseFigure


def evaluate_on_cluster(
    cluster: Cluster, scored: "Scored", cases: "Sequence[LabelledCase]", *, quiet: bool
) -> "tuple[Evaluation, list[CaseFigure]]":
    """Score the cases, and return what a run in one process returns.

    Raises
    ------
    MedSegError
        As `CaseRun.run`, and if a case cannot be scored.
    """
    from training.evaluation.scores import Evaluation
    from training.reports.evaluation_report import N_SHOWN_EACH

    assert scored.output is not None
    model = _request_model(scored)
    job = EvaluationJob(cases, scored.output, _make_choices(scored), model)
    with begin_evaluation(cluster, job) as run:
        follow_cases(run, scored.name, quiet=quiet)
        for record in run.records_of:
            for note in () if record is None else record.notes:
                echo_notice(note)
        scores = collect_scores(run, scored.encoding.task)
        figures = collect_figures(run, scored.output, scores, N_SHOWN_EACH)
    return Evaluation(scored.name, scored.encoding.task.name, scores), figures


def _request_model(scored: "Scored") -> ModelRequest | None:
    if scored.card is None:
        return None
    wish = choose_wish(scored.models, scored.runtime)
    return make_model_request(scored.models, scored.card, scored.device, wish, is_constant=True)


def _make_choices(scored: "Scored") -> EvaluationChoices:
    encoding = scored.encoding
    return EvaluationChoices(
        registry=str(scored.models.user_dir.absolute()),
        task=encoding.task.name,
        values=encoding.values,
        binarise=encoding.binarise,
        ignore=encoding.ignore,
        mask_orientation=encoding.placement.orientation,
        same_voxels=encoding.placement.same_voxels,
        predictions="" if scored.predictions is None else str(scored.predictions.absolute()),
        n_classes=None if scored.card is None else scored.card.architecture.classes,
        groups_key=read_or_make_key(scored.models.user_dir).hex(),
    )
