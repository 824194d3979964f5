"""A predictor without a network for worker processes, and images that tell it to be slow or to kill its worker."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from whole_slide_phantoms import DiscModel

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import PredictionEvent, PredictionNotice, PredictionResult
from napari_medseg.workflow.cluster.case_request import ModelRequest
from napari_medseg.workflow.cluster.connection import Cluster, ClusterChoice, open_cluster
from napari_medseg.workflow.cluster.prediction_run import PredictionJob
from napari_medseg.workflow.cluster.warm_models import WarmModels
from napari_medseg.workflow.image_files.prediction import FilePrediction
from napari_medseg.workflow.image_files.search import search_path
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.output.predictions import PredictionFolder

SHAPE = (24, 32)
CALM, SLOW, KILLS_ONCE, KILLS, TELLS = 10, 20, 30, 40, 50
"""What the first pixel of an image makes of the worker that predicts it."""
MODEL = ModelRequest(registry="", model="lungs-unet@77", weights_sha256="0" * 64)


class FakePredictor:
    """Labels what is dark, and does what the first pixel says."""

    device_title = "no network"
    card = SimpleNamespace(architecture=SimpleNamespace(classes=3))

    def __init__(self, marks: Path) -> None:
        self._marks = marks

    def predict(self, image: Image) -> Iterator[PredictionEvent]:
        mood = int(image.pixels.flat[0])
        mark = self._marks / f"{image.name}.killed"
        if mood == KILLS or (mood == KILLS_ONCE and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == SLOW:
            time.sleep(0.4)
        if mood == TELLS:
            yield PredictionNotice("the GPU failed")
        yield PredictionResult((image.pixels < 100).astype(np.uint8), 0.25, None, 0.01, self.device_title)


def load_fake(request: ModelRequest, device: str | None) -> FakePredictor | DiscModel:
    """Stand for the loading of a version; its registry is where the marks of the killed are kept."""
    if request.model == "discs@1":
        return DiscModel()
    return FakePredictor(Path(request.registry))


def write_images(folder: Path, *moods: int) -> Path:
    for number, mood in enumerate(moods):
        pixels = np.random.default_rng(number).integers(60, 200, SHAPE).astype(np.uint8)
        pixels[0, 0] = mood
        formats.write_image(folder / f"im{number}.tif", Image(pixels, "YX", name=f"im{number}"))
    return folder


def make_job(images: Path, output: Path, sha256: str = "0" * 64, *, overwrite: bool = False) -> PredictionJob:
    model = ModelRequest(str(images), MODEL.model, sha256)
    out = PredictionFolder(output, ".tif", "lungs", model.model, overwrite=overwrite)
    settings = FilePrediction(model.model, get_task("lungs"), ImageNamer(key=b"k" * 32), find_label_format(".tif"))
    return PredictionJob(search_path(images).sources, output, out, settings, model)


def open_fake_cluster(choice: ClusterChoice = ClusterChoice(n_workers=2)):  # noqa: ANN201, B008
    return open_cluster(choice, WarmModels(load_fake))


def run_job(cluster: Cluster, job: PredictionJob):  # noqa: ANN201
    """Run all cases; return the run."""
    from napari_medseg.workflow.cluster.prediction_run import begin_predictions

    with begin_predictions(cluster, job) as run:
        list(run.run())
    return run


if __name__ == "__main__":  # a client that a test kills
    with open_fake_cluster(ClusterChoice(n_workers=1)) as opened:
        run_job(opened, make_job(Path(sys.argv[1]), Path(sys.argv[2])))
