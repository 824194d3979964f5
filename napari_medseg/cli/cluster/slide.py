"""`medseg slides predict` on several workers."""

from pathlib import Path

from napari_medseg.cli.cluster.progress import follow_cases
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.case_request import ModelRequest
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.slide_run import SlideJob, begin_slide
from napari_medseg.workflow.whole_slide.prediction import WholeSlide


def predict_slide_on_cluster(
    cluster: Cluster, whole: WholeSlide, path: Path, model: ModelRequest, *, quiet: bool
) -> None:
    """Predict the chunks that are left.

    Raises
    ------
    MedSegError
        As `CaseRun.run`, and if chunks are left that are not damaged: the same command tries them again.
    """
    with begin_slide(cluster, SlideJob(whole, path, model)) as run:
        follow_cases(run, f"{model.model} on the workers", quiet=quiet)
        if n_left := whole.table.count("waiting"):
            reason = next(error for error in run.errors if error)
            raise MedSegError(f"{n_left:,} chunks are left: {reason} The same command goes on with them.")
