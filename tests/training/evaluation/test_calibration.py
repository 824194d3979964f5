"""Temperature and calibration error on answers whose faults are known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_phantoms import small_card

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.dataset import LabelledPlane
from training.evaluation.calibration import PixelSample, expected_calibration_error, fit_temperature, sample_pixels


def believed(times: float, n: int = 20_000) -> PixelSample:
    """Logits whose probabilities are true, then multiplied: `times` above 1 is overconfident."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (n, 3)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((n, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=2)
    return PixelSample(logits * times, truth.astype(np.int64))


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_was_multiplied(times: float) -> None:
    assert fit_temperature(believed(times)) == pytest.approx(times, rel=0.05)


def test_overconfidence_is_an_error_that_the_temperature_takes_away() -> None:
    sample = believed(4.0)
    assert expected_calibration_error(sample) > 0.1
    assert expected_calibration_error(sample, fit_temperature(sample)) < 0.02


def test_the_error_is_that_worked_out_by_hand() -> None:
    # four answers of which the model is 0.9 sure: three are right, so it is off by 0.15
    logits = np.log(np.array([[0.9, 0.1]] * 4, np.float32))
    assert expected_calibration_error(PixelSample(logits, np.array([0, 0, 0, 1]))) == pytest.approx(0.15, abs=1e-5)


def test_too_few_pixels_change_nothing() -> None:
    assert fit_temperature(believed(3.0, n=20)) == 1.0
    nothing = PixelSample(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert expected_calibration_error(nothing) == 0.0


class Copies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, planes: Tensor) -> Tensor:
        return self.scale * torch.cat([-planes, planes], dim=1)


def test_background_that_nobody_labels_does_not_count() -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[:, :9] = 1
    image = np.full((1, 30, 30), -1, np.float16)
    image[..., :12] = 1  # it labels three columns too many
    sample = sample_pixels(Copies(), [LabelledPlane((image,), labels)], small_card())
    assert len(sample.truth) == 10 * 4
    assert int(sample.truth.sum()) == 10 * 3
    labels[:15] = IGNORE_INDEX
    sample = sample_pixels(Copies(), [LabelledPlane((image,), labels)], small_card())
    assert len(sample.truth) == 5 * 4
    assert int(sample.truth.sum()) == 5 * 3
