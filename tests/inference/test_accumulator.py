import numpy as np
import pytest
import torch

from napari_medseg.inference.accumulator import PredictionAccumulator, compute_uncertainty, convert_to_percent
from napari_medseg.inference.case_uncertainty import (
    PixelSums,
    compute_case_uncertainty,
    compute_error_share,
    sum_sampled_uncertainty,
)
from napari_medseg.inference.preprocess import PreparedImage


def test_doubt_is_the_probability_of_another_label() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0]])
    logits = probabilities.clamp_min(1e-9).log().T.reshape(1, 3, 1, 3)
    np.testing.assert_allclose(compute_uncertainty(logits)[0, 0], [0.3, 2 / 3, 0.0], atol=1e-6)
    np.testing.assert_array_equal(convert_to_percent(compute_uncertainty(logits))[0, 0], [30, 67, 0])


def test_the_sampled_figure_is_that_of_all_voxels() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(2, 3, 10, 10) * 3, size=(200, 200), mode="bilinear")
    doubts, labelled, voxels, entropy, background = sum_sampled_uncertainty(smooth)
    assert doubts / voxels == pytest.approx(float(compute_uncertainty(smooth).mean()), rel=0.02)
    assert labelled / voxels == pytest.approx(float((smooth.argmax(1) > 0).float().mean()), rel=0.02)
    probabilities = smooth.softmax(1)
    expected = -(probabilities * probabilities.log()).sum(1).mean()
    assert entropy / voxels == pytest.approx(float(expected), rel=0.02)
    inside = probabilities[:, 0][smooth.argmax(1) > 0].mean()
    assert background / labelled == pytest.approx(float(inside), rel=0.02)


def test_the_figure_of_a_case_is_the_share_of_labels_expected_to_be_wrong() -> None:
    assert compute_error_share(30.0, 970, 10000) == pytest.approx(0.03)
    assert compute_error_share(0.0, 0, 10000) == 0
    assert 0 < compute_error_share(5.0, 0, 10000) < 1
    assert compute_error_share(800.0, 0, 10000) < compute_error_share(900.0, 0, 10000) < 1


def test_hesitation_in_many_places_and_doubtful_objects_count_too() -> None:
    sure = PixelSums(30.0, 970.0, 10000.0, 100.0, 20.0)
    assert compute_case_uncertainty(sure, with_objects=False) == pytest.approx(0.03 + 0.01)
    assert compute_case_uncertainty(sure._replace(entropy=900.0), with_objects=False) == pytest.approx(0.03 + 0.09)
    assert compute_case_uncertainty(sure, with_objects=True) == pytest.approx(20 / 970 + 0.01)
    doubtful = compute_case_uncertainty(sure._replace(background_inside=300.0), with_objects=True)
    assert doubtful == pytest.approx(300 / 970 + 0.01)
    empty = PixelSums(0.0, 0.0, 0.0, 0.0, 0.0)
    assert compute_case_uncertainty(empty, with_objects=True) == 0
    assert compute_case_uncertainty(PixelSums(9e3, 1.0, 1e4, 9e3, 1.0), with_objects=False) == 1.0


@pytest.mark.parametrize("shape", [(1, 64, 96), (1, 40, 60)], ids=["its own grid", "resampled"])
def test_padding_does_not_count_in_the_uncertainty_of_a_case(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 64, 96)
    logits[..., :48, :] = torch.tensor([9.0, 0.0, 0.0])[:, None, None]
    prepared = PreparedImage(np.zeros((1, 1, 64, 96), np.float32), (64, 96), shape[1:], shape)
    padding = np.zeros(shape, bool)
    padding[:, : shape[1] * 3 // 4] = True
    whole, measured = (PredictionAccumulator(shape, 3, False, padding=each) for each in (None, padding))
    only = PredictionAccumulator((1, 16, 96), 3, False)
    whole.put_plane(0, logits, prepared)
    measured.put_plane(0, logits, prepared)
    part = PreparedImage(np.zeros((1, 1, 16, 96), np.float32), (16, 96), (16, 96), (1, 16, 96))
    only.put_plane(0, logits[..., 48:, :], part)
    assert measured.uncertainty == pytest.approx(only.uncertainty)
    assert measured.uncertainty != whole.uncertainty
    if shape[1:] == (64, 96):
        measured.reset_plane(0)
        for first in (0, 32):
            measured.put_rows(0, first, logits[..., first : first + 32, :], prepared)
        assert measured.uncertainty == pytest.approx(only.uncertainty)
