"""What Dask may write into the logs of its machines: no path and no key."""

from pathlib import Path

from cluster_phantoms import CALM, make_job, write_images
from dask.task_spec import Task

from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.evaluation_run import EvaluationJob, begin_evaluation
from napari_medseg.workflow.cluster.evaluation_task import EvaluationChoices
from napari_medseg.workflow.cluster.prediction_run import begin_predictions
from napari_medseg.workflow.cluster.prediction_task import PredictionChoices, predict_case
from napari_medseg.workflow.cluster.spreading import call_each
from training.data.labelled_cases import LabelledCase

NO_CLUSTER: Cluster = None  # type: ignore[assignment]  # no case is run
KEY = (b"k" * 32).hex()


def test_the_text_of_a_task_has_no_path_and_no_key(tmp_path: Path) -> None:
    images = write_images(tmp_path / "MEIER", CALM)
    with begin_predictions(NO_CLUSTER, make_job(images, tmp_path / "MEIER" / "out")) as run:
        (request,) = run.requests
    assert request.options["choices"]["names_key"] == KEY
    for text in (repr(request), repr(Task("key", call_each, predict_case, [(request,)]))):  # the latter is logged
        assert "MEIER" not in text
        assert KEY not in text

    (tmp_path / "MEIER" / "scored").mkdir()
    case = LabelledCase("MEIER", images / "im0.tif", images / "im0.tif", group="MEIER")
    scored = str(tmp_path / "MEIER" / "scored")
    choices = EvaluationChoices("", "lungs", (), False, None, None, False, scored, None, KEY)
    with begin_evaluation(NO_CLUSTER, EvaluationJob([case], tmp_path / "out", choices, None)) as run:
        text = repr(run.requests)
    chosen = PredictionChoices("lungs", ".tif", "stem", KEY, straighten=False, force=False)
    assert "MEIER" not in text + repr(choices)
    assert KEY not in text + repr(choices) + repr(chosen)
