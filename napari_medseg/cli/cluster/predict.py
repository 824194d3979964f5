"""`medseg predict` on several workers."""

from collections.abc import Sequence
from pathlib import Path

from napari_medseg.cli.cluster.progress import follow_cases
from napari_medseg.cli.console import echo_notice
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.workflow.cluster.case_request import ModelRequest
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.prediction_run import PredictionJob, begin_predictions, describe_predicted
from napari_medseg.workflow.image_files.prediction import FilePrediction, PredictedFiles
from napari_medseg.workflow.output.predictions import PredictionFolder


def predict_on_cluster(
    cluster: Cluster,
    sources: Sequence[ImageSource],
    settings: FilePrediction,
    place: tuple[Path, PredictionFolder],
    model: ModelRequest,
    *,
    quiet: bool,
) -> PredictedFiles:
    """Predict images into a folder, and return what a run in one process returns; raises as `CaseRun.run`."""
    written, job = PredictedFiles(""), PredictionJob(sources, *place, settings, model)
    with begin_predictions(cluster, job) as run:
        follow_cases(run, f"{settings.model} on the workers", quiet=quiet)
        for record, error in zip(run.records_of, run.errors, strict=True):
            if error or record is None:
                written.errors.append(error)
                continue
            for note in record.notes:
                echo_notice(note)
            written.device = written.device or record.result["device"]
            written.entries.append(describe_predicted(job, record))
    return written
