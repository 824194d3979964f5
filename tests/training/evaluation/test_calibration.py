"""Temperature and calibration error on answers whose faults are known, and a sample that does not see the reference."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from training_phantoms import small_card

from napari_medseg.core.model_card import InstanceSeparation
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.dataset import LabelledPlane
from training.evaluation.calibration import (
    MAX_SURE_PIXELS,
    PixelSample,
    compare_error_shares,
    expected_calibration_error,
    fit_temperature,
    sample_pixels,
)

SIDE = 900


def believed(times: float, n: int = 20_000) -> PixelSample:
    """Logits whose probabilities are true, then multiplied: `times` above 1 is overconfident."""
    logits = np.random.default_rng(0).normal(0, 1.5, (n, 3)).astype(np.float32)
    return PixelSample(logits * times, draw_truth(logits), np.ones(n))


def draw_truth(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """True classes (n,) that are drawn with the probabilities of logits (n, classes)."""
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = np.random.default_rng(1).random((len(logits), 1))
    return (drawn > shares.cumsum(axis=1)).sum(axis=1).clip(max=logits.shape[1] - 1).astype(np.int64)


class Logits(nn.Module):
    """A network whose logits are the channels of its input, multiplied."""

    def __init__(self, times: float = 1.0) -> None:
        super().__init__()
        self.times = nn.Parameter(torch.tensor(times))

    def forward(self, planes: Tensor) -> Tensor:
        return self.times * planes


@pytest.fixture(scope="module")
def calibrated() -> LabelledPlane:
    """A plane like a segmentation: much sure background, a few objects with unsure edges, truth as the logits say.

    Of 100 pixels, 80 are sure background, 5 are sure objects, and the rest lie between.
    """
    rng = np.random.default_rng(0)
    kind = rng.choice(3, (SIDE, SIDE), p=[0.8, 0.05, 0.15])
    margin = np.choose(
        kind, [rng.normal(-7, 1, kind.shape), rng.normal(7, 1, kind.shape), rng.normal(0, 2, kind.shape)]
    )
    logits = np.stack([-margin / 2, margin / 2, np.full(kind.shape, -9.0)]).astype(np.float16)
    truth = draw_truth(logits.reshape(3, -1).T.astype(np.float32)).reshape(kind.shape)
    return LabelledPlane((logits,), truth.astype(np.uint8))


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_temperature_and_error_of_a_sample_are_those_of_all_pixels(calibrated: LabelledPlane, times: float) -> None:
    sample = sample_pixels(Logits(times), [calibrated], small_card())
    assert len(sample.truth) < 0.5 * sample.weights.sum(), "most of the sure background is left out"
    assert sample.weights.sum() == pytest.approx((SIDE // 3) ** 2)
    assert fit_temperature(sample) == pytest.approx(times, rel=0.03)
    assert expected_calibration_error(sample, times) < 0.01
    if times > 1:
        assert expected_calibration_error(sample) > 0.02


def test_a_calibrated_model_expects_the_true_share_of_errors(calibrated: LabelledPlane) -> None:
    sample = sample_pixels(Logits(), [calibrated], small_card())
    shares = compare_error_shares(sample)
    assert 0.1 < shares.true < 0.5
    assert shares.expected == pytest.approx(shares.true, rel=0.1)
    assert compare_error_shares(sample, 3.0).expected > 1.5 * shares.true


def test_objects_of_an_instance_task_are_calibrated_as_one_class(calibrated: LabelledPlane) -> None:
    card = small_card().model_copy(update={"instances": InstanceSeparation(levels=[0.0, 0.5])})
    sample = sample_pixels(Logits(), [calibrated], card)
    assert sample.logits.shape[1] == 2
    assert fit_temperature(sample) == pytest.approx(1.0, abs=0.03)
    assert expected_calibration_error(sample) < 0.01


def test_which_pixels_are_sampled_does_not_depend_on_the_reference(calibrated: LabelledPlane) -> None:
    other = LabelledPlane(calibrated.views, np.zeros_like(calibrated.labels))
    with_truth, without = (sample_pixels(Logits(), [plane], small_card()) for plane in (calibrated, other))
    np.testing.assert_array_equal(with_truth.logits, without.logits)
    np.testing.assert_array_equal(with_truth.weights, without.weights)


def test_small_planes_are_sampled_without_weights_and_large_ones_within_limits(calibrated: LabelledPlane) -> None:
    corner = LabelledPlane((calibrated.views[0][:, :60, :60],), calibrated.labels[:60, :60])
    assert (sample_pixels(Logits(), [corner], small_card()).weights == 1).all()
    view = np.zeros((3, 600, 600), np.float16)
    view[0] = 9
    sure = LabelledPlane((view,), np.zeros((600, 600), np.uint8))
    sample = sample_pixels(Logits(), [sure], small_card())
    assert len(sample.truth) == MAX_SURE_PIXELS
    assert sample.weights.sum() == pytest.approx(200 * 200)


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
    assert expected_calibration_error(PixelSample(logits, np.array([0, 0, 0, 1]), np.ones(4))) == pytest.approx(
        0.15, abs=1e-5
    )


def test_a_pixel_of_weight_two_counts_as_two() -> None:
    logits = np.log(np.array([[0.9, 0.1]] * 3, np.float32))
    weighted = PixelSample(logits, np.array([0, 0, 1]), np.array([2.0, 1.0, 1.0]))
    assert expected_calibration_error(weighted) == pytest.approx(0.15, abs=1e-5)


def test_too_few_pixels_change_nothing() -> None:
    assert fit_temperature(believed(3.0, n=20)) == 1.0
    nothing = PixelSample(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), np.zeros(0))
    assert expected_calibration_error(nothing) == 0.0


def test_padding_and_pixels_that_nobody_reviewed_are_left_out() -> None:
    labels = np.zeros((32, 32), np.uint8)
    view = np.zeros((3, 32, 32), np.float16)
    whole, part = LabelledPlane((view,), labels), LabelledPlane((view,), labels, unpadded_shape=(32, 20))
    assert len(sample_pixels(Logits(), [whole], small_card()).truth) == 11 * 11
    assert len(sample_pixels(Logits(), [part], small_card()).truth) == 11 * 7
    labels[:15] = IGNORE_INDEX
    assert len(sample_pixels(Logits(), [whole], small_card()).truth) == 6 * 11
