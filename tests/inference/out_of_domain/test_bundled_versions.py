"""The bundled versions know the bundled samples of their task, and no image of another task."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference.events import get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow.workspace import PACKAGE_DIR

SAMPLES = PACKAGE_DIR / "samples"
REGISTRY = ModelRegistry(BUNDLED_MODELS / "none", BUNDLED_MODELS)


@cache
def load(task: str) -> Predictor:
    card = REGISTRY.get_live_card(task)
    assert card.domain is not None, f"run `python -P -m training.evaluation.out_of_domain RUN_DIR` for {card.id}"
    return Predictor.load(REGISTRY.get_folder(card.id), "cpu", REGISTRY.find_roi_folder(card))


def measure(task: str, image: Image) -> float:
    found = get_result(load(task).predict(image), str).domain_distance
    assert found is not None
    return found


def read_sample(folder: str, index: int = 0) -> Image:
    return formats.read(sorted(path for path in (SAMPLES / folder).iterdir() if path.is_file())[index])


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("lungs", "ct_a0001/dicom"),
        ("covid", "ct_a0001/dicom"),
        ("lungs", "xray/images"),
        ("nuclei", "nuclei_dsb/images"),
    ],
)
def test_samples_of_the_task_are_known(task: str, folder: str) -> None:
    files = len(list((SAMPLES / folder).iterdir()))
    distances = [measure(task, read_sample(folder, index)) for index in range(0, files, max(1, files // 4))]
    assert sum(distance <= 1.0 for distance in distances) >= len(distances) - 1, distances


@pytest.mark.parametrize(
    ("task", "folder"),
    [("lungs", "laparoscopy/images"), ("lungs", "nuclei_dsb/images"), ("nuclei", "xray/images")],
)
def test_samples_of_other_tasks_are_foreign(task: str, folder: str) -> None:
    distances = [measure(task, read_sample(folder, index)) for index in range(2)]
    assert max(distances) > 1.0, distances


@pytest.mark.parametrize("task", ["lungs", "covid", "nuclei", "instruments"])
def test_noise_is_foreign_and_the_statistics_are_small(task: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    assert measure(task, Image(noise, "YX")) > 1.0
    folder: Path = REGISTRY.get_folder(REGISTRY.get_live_card(task).id)
    assert (folder / "out_of_domain.safetensors").stat().st_size < 800_000
