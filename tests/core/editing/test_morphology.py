"""Morphology in millimetres, compared with the distance transform."""

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_medseg.core.editing.morphology import dilate_ball, erode_ball, find_holes, smooth_mask


@pytest.mark.parametrize(
    ("shape", "spacing", "radius"),
    [
        ((30, 40), (1.0, 1.0), 5.0),
        ((30, 40), (0.5, 0.7), 3.1),
        ((10, 30, 40), (2.5, 0.7, 0.7), 3.0),
        ((10, 30, 40), (1.0, 1.0, 1.0), math.sqrt(6)),
        ((3, 4), (1.0, 1.0), 50.0),
        ((5, 8, 9), (1.0, 0.8, 0.5), 0.3),
    ],
)
def test_ball_is_exact(shape: tuple[int, ...], spacing: tuple[float, ...], radius: float) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.02
    mask[tuple(n // 2 for n in shape)] = True
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing)
    assert np.array_equal(dilate_ball(mask, spacing, radius), distance <= radius + 1e-6)
    assert np.array_equal(erode_ball(~mask, spacing, radius), distance > radius + 1e-6)


def test_border_of_the_image_erodes_nothing() -> None:
    assert erode_ball(np.ones((6, 6), np.bool_), (1.0, 1.0), 2.0).all()


def test_nothing_grows_across_an_infinite_spacing() -> None:
    mask = np.zeros((3, 9, 9), np.bool_)
    mask[1, 4, 4] = True
    grown = dilate_ball(mask, (math.inf, 1.0, 1.0), 2.0)
    assert grown.sum() == grown[1].sum() == 13


@pytest.mark.parametrize("shape", [(1, 40, 40), (40, 40), (12, 40, 40)])
def test_smoothing_keeps_straight_outlines_and_removes_spikes(shape: tuple[int, ...]) -> None:
    mask = np.zeros(shape, np.bool_)
    mask[..., 20:] = True
    spacing = (1.0,) * len(shape)
    assert np.array_equal(smooth_mask(mask, spacing, 1.5), mask)
    rough = mask.copy()
    rough[..., 7, 19] = True
    rough[..., 30, 20] = False
    assert np.array_equal(smooth_mask(rough, spacing, 1.5), mask)


def test_smoothing_in_slabs_equals_smoothing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((30, 20, 20)) < 0.5
    whole = smooth_mask(mask, (1.0, 1.0, 1.0), 1.2)
    monkeypatch.setattr("napari_medseg.core.editing.morphology._SLAB_VOXELS", 1200)
    assert np.array_equal(smooth_mask(mask, (1.0, 1.0, 1.0), 1.2), whole)


def test_thick_slices_are_not_smoothed_into_each_other() -> None:
    mask = np.zeros((5, 20, 20), np.bool_)
    mask[2, 4:16, 4:16] = True
    smooth = smooth_mask(mask, (8.0, 1.0, 1.0), 1.0)
    assert smooth[2].sum() > 130
    assert not smooth[[0, 1, 3, 4]].any()


@pytest.mark.parametrize("shape", [(40, 50), (14, 20, 25), (1, 30, 30)])
def test_holes_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(4).random(shape) < 0.7
    plane = mask.reshape([n for n in shape if n > 1])
    expected = ndimage.binary_fill_holes(plane) & ~plane
    assert np.array_equal(find_holes(mask).reshape(plane.shape), expected)
