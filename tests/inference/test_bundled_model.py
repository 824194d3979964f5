"""The bundled model on the bundled CT: what is computed faster must still be what was trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.preprocess import prepare
from napari_medseg.networks import load_version

PACKAGE = Path(napari_medseg.__file__).parent


@pytest.fixture(scope="module")
def model() -> tuple[nn.Module, ModelCard]:
    """Without cleaning, which would hide differences, and without reduction of large planes."""
    network, card = load_version(PACKAGE / "models/lungs-unet/4")
    large = card.preprocessing.model_copy(update={"max_side_px": 4096})
    return network, card.model_copy(update={"postprocessing": [], "preprocessing": large})


@pytest.fixture(scope="module")
def series() -> Image:
    return formats.read(PACKAGE / "samples/ct_a0001/dicom")


def in_one_fp32_pass(network: nn.Module, card: ModelCard, image: Image) -> np.ndarray:
    with torch.inference_mode():
        logits = network(torch.from_numpy(prepare(image, card).planes))
    return logits.argmax(dim=1).numpy().reshape(image.spatial_shape)


def test_a_stack_in_the_cards_precision_agrees_with_fp32(model: tuple[nn.Module, ModelCard], series: Image) -> None:
    network, card = model
    stack = series.replace_pixels(series.pixels[4:12:2])
    truth = in_one_fp32_pass(network, card, stack)
    assert np.mean(truth > 0) > 0.05
    assert np.mean(Predictor(network, card, "cpu").predict_labels(stack) == truth) >= 0.999


def test_a_picture_in_tiles_agrees_with_one_pass_over_all_of_it(
    model: tuple[nn.Module, ModelCard], series: Image
) -> None:
    network, card = model
    mosaic = np.block([[series.pixels[8], series.pixels[10], series.pixels[6]]])
    picture = Image(mosaic, "YX", units="HU")
    labels = Predictor(network, card, "cpu").predict_labels(picture)
    assert np.mean(labels == in_one_fp32_pass(network, card, picture)) >= 0.9985
