import numpy as np
import pytest
import torch

from napari_medseg.inference.accumulator import (
    compute_case_uncertainty,
    compute_uncertainty,
    convert_to_percent,
    sum_sampled_uncertainty,
)


def test_doubt_is_the_probability_of_another_label() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0]])
    logits = probabilities.clamp_min(1e-9).log().T.reshape(1, 3, 1, 3)
    np.testing.assert_allclose(compute_uncertainty(logits)[0, 0], [0.3, 2 / 3, 0.0], atol=1e-6)
    np.testing.assert_array_equal(convert_to_percent(compute_uncertainty(logits))[0, 0], [30, 67, 0])


def test_the_sampled_figure_is_that_of_all_voxels() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(2, 3, 10, 10) * 3, size=(200, 200), mode="bilinear")
    doubts, labelled, voxels = sum_sampled_uncertainty(smooth)
    assert doubts / voxels == pytest.approx(float(compute_uncertainty(smooth).mean()), rel=0.02)
    assert labelled / voxels == pytest.approx(float((smooth.argmax(1) > 0).float().mean()), rel=0.02)


def test_the_figure_of_a_case_is_the_share_of_labels_expected_to_be_wrong() -> None:
    assert compute_case_uncertainty(30.0, 970, 10000) == pytest.approx(0.03)
    assert compute_case_uncertainty(0.0, 0, 10000) == 0
    assert 0 < compute_case_uncertainty(5.0, 0, 10000) < 1
    assert compute_case_uncertainty(800.0, 0, 10000) < compute_case_uncertainty(900.0, 0, 10000) < 1
