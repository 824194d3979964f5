"""Contours are those of napari, pixel by pixel."""

from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.layers.labels._labels_utils import get_contours
from numpy.typing import DTypeLike, NDArray

from napari_medseg.plugin.views import contours
from napari_medseg.plugin.views.contours import compute_contours, use_fast_contours


def make_labels(shape: tuple[int, int], dtype: DTypeLike, seed: int = 0) -> NDArray[Any]:
    """Areas of three by three pixels and single ones, so that each width meets each kind of neighbour."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 4, [-(-side // 3) for side in shape]), np.ones((3, 3), int))
    return np.where(rng.random(shape) < 0.05, 9, coarse[: shape[0], : shape[1]]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("thickness", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (31, 40)])
def test_they_are_those_of_napari(shape: tuple[int, int], thickness: int, dtype: DTypeLike) -> None:
    labels = make_labels(shape, dtype)
    found = compute_contours(labels, thickness, 0)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, get_contours(labels, thickness, 0))


def test_bands_of_a_large_plane_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contours, "ROWS_AT_ONCE", 8)
    labels = make_labels((61, 20), np.uint16)
    np.testing.assert_array_equal(compute_contours(labels, 3, 0), get_contours(labels, 3, 0))


def test_a_layer_shows_the_same_as_without_them_also_after_an_edit_of_a_part() -> None:
    labels = make_labels((60, 50), np.uint8)
    plain, fast = Labels(labels.copy()), Labels(labels.copy())
    use_fast_contours(fast)
    for layer in (plain, fast):
        layer.contour = 2
        layer.data_setitem((np.array([20, 21, 22]), np.array([30, 30, 30])), 3)
    np.testing.assert_array_equal(fast._slice.image.view, plain._slice.image.view)
    for layer in (plain, fast):
        layer.contour = 0
    np.testing.assert_array_equal(fast._slice.image.view, plain._slice.image.view)


def test_each_plane_of_a_volume_has_its_own() -> None:
    volume = np.stack([make_labels((30, 30), np.uint8, seed) for seed in range(3)])
    plain, fast = Labels(volume), Labels(volume)
    use_fast_contours(fast)
    for layer in (plain, fast):
        layer.contour = 1
    np.testing.assert_array_equal(fast._slice.image.view, plain._slice.image.view)
