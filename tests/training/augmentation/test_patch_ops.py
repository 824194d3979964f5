"""What is done to many patches at once, against libraries that do it to one."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from training.augmentation.patch_ops import compute_masked_median, gaussian_blur


def test_each_patch_is_blurred_with_its_own_sigma() -> None:
    grey = torch.rand(3, 2, 40, 48, generator=torch.Generator().manual_seed(0))
    sigmas = [0.4, 1.0, 2.5]
    found = gaussian_blur(grey, sigmas).numpy()
    for index, sigma in enumerate(sigmas):
        for channel in range(2):
            wanted = ndimage.gaussian_filter(grey[index, channel].numpy(), sigma, mode="nearest")
            np.testing.assert_allclose(found[index, channel], wanted, atol=3e-3)


def test_the_median_is_of_the_chosen_pixels_of_each_patch() -> None:
    grey = torch.rand(3, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    chosen = grey[:, :1] > 0.4
    chosen[2] = False
    found = compute_masked_median(grey, chosen)
    assert found.shape == (3, 2, 1, 1)
    for index in range(2):
        for channel in range(2):
            wanted = grey[index, channel][chosen[index, 0]].median()
            assert float(found[index, channel, 0, 0]) == pytest.approx(float(wanted))
    assert (found[2] == 0).all(), "where none is chosen"
