from typing import Any

import numpy as np
import pytest
import torch

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference.preprocess import prepare, prepare_labels, restore, restore_plane_labels


def make_card(in_channels: int = 1, **numbers: Any) -> ModelCard:
    return ModelCard(
        name="tiny",
        version=1,
        task="lungs",
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=in_channels, classes=3),
        preprocessing=Preprocessing.model_validate(numbers),
    )


def discs(shape: tuple[int, int]) -> np.ndarray:
    """Two discs, right (1) and left (2)."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint8)
    radius = min(shape) // 5
    for value, centre in ((1, shape[1] * 0.28), (2, shape[1] * 0.72)):
        labels[(y - shape[0] / 2) ** 2 + (x - centre) ** 2 < radius**2] = value
    return labels


def one_hot(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 3).movedim(-1, 1).float()


def test_hounsfield_units_are_windowed_by_the_cards_numbers() -> None:
    pixels = np.array([[-3000, -1000], [-300, 3000]], np.int16).repeat(32, 0).repeat(32, 1)
    prepared = prepare(Image(pixels, "YX", units="HU"), make_card(min_side_px=64))
    assert prepared.planes.shape == (1, 1, 64, 64)
    assert prepared.planes.dtype == np.float32
    np.testing.assert_allclose(np.unique(prepared.planes), [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_a_picture_without_units_is_scaled_by_its_own_percentiles(dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (300, 300)).astype(dtype)
    planes = prepare(Image(pixels, "YX"), make_card()).planes
    brighter = prepare(Image((pixels * 1.2 + 10).astype(np.float32), "YX"), make_card()).planes
    assert planes.min() == pytest.approx(-1)
    assert planes.max() == pytest.approx(1)
    np.testing.assert_allclose(planes, brighter, atol=0.02)


@pytest.mark.parametrize("value", [0, 7])
def test_a_flat_picture_gives_finite_numbers(value: int) -> None:
    assert np.isfinite(prepare(Image(np.full((64, 64), value, np.uint8), "YX"), make_card()).planes).all()


@pytest.mark.parametrize("steps", [(), ("equalise",)])
def test_padding_does_not_change_how_measured_pixels_are_scaled(steps: tuple[str, ...]) -> None:
    grey = discs((64, 96)).astype(np.int16) + 100
    padded = np.concatenate([np.full((64, 64), 100, np.int16), grey], axis=1)
    card = make_card(steps=steps, percentile_low=20, percentile_high=80)
    alone = prepare(Image(grey, "YX", padding_value=100), card).planes[0, 0, :64, :96]
    for value, image in [(100, padded), (-2000, np.where(padded == 100, -2000, padded).astype(np.int16))]:
        beside = prepare(Image(image, "YX", padding_value=value), card).planes[0, 0, :64, 64:160]
        measured = grey != 100
        np.testing.assert_allclose(beside[measured], alone[measured], atol=1e-5)
    assert np.isfinite(prepare(Image(np.full((64, 64), 7, np.int16), "YX", padding_value=7), card).planes).all()


def test_a_slice_is_prepared_alike_alone_and_in_its_stack() -> None:
    stack = np.random.default_rng(1).integers(0, 255, (5, 100, 80), np.uint8)
    card = make_card(min_side_px=128)
    whole = prepare(Image(stack, "ZYX"), card)
    part = prepare(Image(stack, "ZYX"), card, first=2, last=4)
    alone = prepare(Image(stack[3], "YX"), card)
    assert whole.spatial_shape == (5, 100, 80)
    assert part.spatial_shape == (2, 100, 80)
    assert alone.spatial_shape == (100, 80)
    np.testing.assert_array_equal(part.planes, whole.planes[2:4])
    np.testing.assert_array_equal(alone.planes[0], whole.planes[3])


def test_rgb_of_a_grey_picture_is_prepared_like_the_grey_picture() -> None:
    grey = np.random.default_rng(2).integers(0, 255, (64, 64), np.uint8)
    rgb = Image(np.stack([grey] * 3, -1), "YXC", units="rgb")
    card = make_card(in_channels=1, min_side_px=64)
    np.testing.assert_allclose(prepare(rgb, card).planes, prepare(Image(grey, "YX"), card).planes, atol=1e-6)
    three = make_card(in_channels=3, min_side_px=64)
    np.testing.assert_allclose(prepare(rgb, three).planes, prepare(Image(grey, "YX"), three).planes, atol=1e-6)


def test_replicated_grey_channels_take_no_memory() -> None:
    planes = prepare(Image(np.zeros((4, 64, 64), np.uint8), "ZYX"), make_card(in_channels=3)).planes
    assert planes.shape == (4, 3, 256, 256)
    assert planes.strides[1] == 0


@pytest.mark.parametrize(
    ("native", "inside"),
    [((512, 512), (512, 512)), ((1200, 900), (512, 384)), ((90, 200), (115, 256)), ((1, 300), (1, 300))],
)
def test_the_longer_side_is_brought_between_the_cards_limits(native: tuple[int, int], inside: tuple[int, int]) -> None:
    prepared = prepare(Image(np.zeros(native, np.uint8), "YX"), make_card())
    assert prepared.plane_shape == inside
    assert all(side % 32 == 0 for side in prepared.planes.shape[-2:])


@pytest.mark.parametrize("native", [(512, 512), (300, 411), (1200, 900), (2048, 1999), (130, 90)])
def test_labels_survive_the_way_there_and_back(native: tuple[int, int]) -> None:
    labels = discs(native)
    prepared = prepare(Image(labels, "YX"), make_card())
    planes = prepare_labels(labels, prepared)
    back = restore_plane_labels(one_hot(planes), prepared)[0]
    assert planes.shape == (1, *prepared.planes.shape[-2:])
    assert back.shape == native
    overlap = 2 * np.sum((back == labels) & (labels > 0)) / (np.sum(back > 0) + np.sum(labels > 0))
    assert overlap > (0.999999 if prepared.plane_shape == native else 0.985)
    for value in (1, 2):
        there, here = (np.argwhere(array == value).mean(axis=0) for array in (labels, back))
        np.testing.assert_allclose(there, here, atol=0.5)


def test_image_and_labels_are_resampled_onto_the_same_place() -> None:
    labels = (discs((1500, 1100)) == 1).astype(np.uint8)
    prepared = prepare(Image(labels * 200, "YX"), make_card())
    bright = (prepared.planes[0, 0] > 0).astype(np.uint8)
    assert np.mean(bright != prepare_labels(labels, prepared)[0]) < 0.0005


def test_restore_keeps_stack_and_classes() -> None:
    prepared = prepare(Image(np.zeros((3, 700, 500), np.uint8), "ZYX"), make_card())
    assert restore(torch.zeros(3, 5, *prepared.planes.shape[-2:]), prepared).shape == (3, 5, 700, 500)


def test_wrong_channels_and_wrong_labels_are_refused() -> None:
    with pytest.raises(MedSegError, match="4 channels"):
        prepare(Image(np.zeros((64, 64, 4), np.uint8), "YXC", units="rgb"), make_card(in_channels=3))
    prepared = prepare(Image(np.zeros((64, 64), np.uint8), "YX"), make_card())
    with pytest.raises(MedSegError, match="belong to the image"):
        prepare_labels(np.zeros((65, 64), np.uint8), prepared)
    with pytest.raises(MedSegError, match="no pixels"):
        prepare(Image(np.zeros((0, 64, 64), np.uint8), "ZYX"), make_card())
