"""A batch is its patches: done together, of planes of any size, on any device."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch._subclasses.fake_tensor import FakeTensorMode

from napari_medseg.core.model_card import Preprocessing
from napari_medseg.inference.contrast import apply_preprocessing_steps
from training.augmentation import intensity_pipeline, spatial
from training.augmentation.colour import Stain
from training.augmentation.patch_batch import PatchSpec, _swap_side_labels, _unmark_certain
from training.augmentation.presets import AUGMENTATIONS, Augmentation
from training.augmentation.spatial import Augmenter
from training.data.label_sets import get_certain_code

SIDES = (1, 2)
STEADY = {"noise": 0.0, "clahe_share": 0.0, "equalise_share": 0.0}
"""Left out where patches are compared: noise belongs to a batch, and equalising makes steps of a last digit."""
SHAPES = ((64, 64), (200, 90), (70, 240), (40, 50))


def planes(channels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Smooth planes of several sizes, each with the right lung on the left."""
    rng = np.random.default_rng(0)
    found = []
    for rows, columns in SHAPES:
        labels = np.zeros((rows, columns), np.uint8)
        labels[rows // 4 : -rows // 4, columns // 8 : columns // 2 - 4] = 1
        labels[rows // 4 : -rows // 4, columns // 2 + 4 : -columns // 8] = 2
        waves = np.sin(np.arange(rows)[:, None] / 7 + np.arange(columns) / 5 + rng.uniform(0, 6, (channels, 1, 1)))
        found.append(((0.8 * waves).astype(np.float16), labels))
    return found


def chest() -> np.ndarray:
    """Smooth picture (256, 256) from 0 to 1: a bright body with two dark lungs, and some grain."""
    rows, columns = (np.arange(256) - 127.5)[:, None] / 128, (np.arange(256) - 127.5) / 128
    body = 1 / (1 + np.exp(20 * (np.hypot(rows, columns / 1.2) - 0.8)))
    lungs = sum(1 / (1 + np.exp(20 * (np.hypot(rows / 1.4, columns + at) - 0.3))) for at in (-0.4, 0.4))
    grain = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((256, 256)), 2)
    picture = body * (0.7 - 0.5 * lungs) + 0.3 * grain
    return (picture - picture.min()) / np.ptp(picture)


def drawn(settings: Augmentation, channels: int = 3, seed: int = 5) -> tuple[Augmenter, list[PatchSpec]]:
    augmenter = Augmenter(settings, Preprocessing(), 64, SIDES)
    rng = np.random.default_rng(seed)
    return augmenter, [
        augmenter.sample_patch(plane, labels, rng) for plane, labels in planes(channels) for _ in range(3)
    ]


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_patches_are_the_same_together_and_alone(name: str) -> None:
    augmenter, patches = drawn(replace(AUGMENTATIONS[name], **STEADY))
    images, labels = augmenter.collate(patches, seed=1).make_patches()
    assert images.shape == (12, 3, 64, 64)
    assert images.dtype == torch.float32
    for index, patch in enumerate(patches):
        image, truth = augmenter.collate([patch], seed=1).make_patches()
        # Equalisation moves a value at the edge of a bin, and a lens a place: a grey level of 8 bits is allowed, as the
        # colours that follow may double half of one.
        torch.testing.assert_close(images[index], image[0], atol=8e-3, rtol=0)
        assert float((labels[index] == truth[0]).float().mean()) > 0.999


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_every_preset_takes_any_number_of_channels(name: str, channels: int) -> None:
    augmenter, patches = drawn(replace(AUGMENTATIONS[name], intensity_share=1.0), channels)
    images, _ = augmenter.collate(patches, seed=1).make_patches()
    assert images.shape == (12, channels, 64, 64)
    assert bool(images.isfinite().all())
    assert not [one for patch in patches for one in patch.transforms if isinstance(one, Stain)]


@pytest.mark.parametrize("name", ["ct_rich", "histology_rich", "endoscopy", "replay", "elastic", "heavy"])
def test_what_is_not_cut_from_a_plane_is_not_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(AUGMENTATIONS[name], border_share=0.5, **STEADY)
    augmenter, parts = drawn(settings)
    monkeypatch.setattr(spatial, "_compute_source_slice", lambda row, bend_px, length: slice(0, length))
    _, wholes = drawn(settings)
    assert sum(patch.labels.size for patch in parts) < sum(patch.labels.size for patch in wholes)
    for part, whole in zip(
        augmenter.collate(parts, 1).make_patches(), augmenter.collate(wholes, 1).make_patches(), strict=True
    ):
        assert float(((part - whole).abs() < 2e-3).float().mean()) > 0.9995


def test_outside_of_a_plane_it_is_black_or_repeats_the_border() -> None:
    plane, labels = np.full((1, 32, 32), 0.5, np.float16), np.ones((32, 32), np.uint8)
    for share, corner in ((0.0, -1.0), (1.0, 0.5)):
        augmenter = Augmenter(Augmentation(border_share=share), Preprocessing(), 64, SIDES)
        patches = [augmenter.sample_patch(plane, labels, np.random.default_rng(0), centre=(16, 16))]
        patches.append(augmenter.sample_patch(*planes(1)[1], np.random.default_rng(0)))  # a larger one beside it
        images, truth = augmenter.collate(patches, 0).make_patches()
        assert float(images[0, 0, 0, 0]) == pytest.approx(corner, abs=1e-3)
        assert float(images[0, 0, 32, 32]) == pytest.approx(0.5, abs=1e-3)
        assert int(truth[0].sum()) == 32 * 32, "labels are never repeated"


def test_noise_has_the_seed_of_the_batch() -> None:
    augmenter, patches = drawn(Augmentation(noise=0.1, intensity_share=1.0))
    first, again, other = (augmenter.collate(patches, seed).make_patches()[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert 0.001 < float((first - other).abs().mean()) < 0.2


@pytest.mark.parametrize("step", ["equalise", "clahe", "smooth"])
@pytest.mark.parametrize("channels", [1, 3])
def test_steps_of_preparation_are_those_of_the_predictor(step: str, channels: int) -> None:
    sides = Augmenter(Augmentation(), Preprocessing(), 256, SIDES)
    changing = replace(sides, settings=Augmentation(**{f"{step}_share": 1.0}))
    windowed = np.clip(2 * chest() - 0.6, 0, 1)  # a third is black, and some of it white
    assert (windowed == 0).mean() > 0.2
    assert (windowed == 1).mean() > 0.05
    shown = [chest(), chest() ** 0.6, windowed, np.full((256, 256), 0.7)]
    pictures = [(2 * plane - 1).astype(np.float32)[None].repeat(channels, axis=0) for plane in shown]
    rng, labels = np.random.default_rng(0), np.zeros((256, 256), np.uint8)
    patches = changing.collate([changing.sample_patch(plane, labels, rng) for plane in pictures], 0).make_patches()[0]
    for found, plane in zip((patches + 1) / 2, pictures[:3], strict=False):
        before = (plane.transpose(1, 2, 0) + 1) / 2
        wanted = apply_preprocessing_steps(before if channels > 1 else before[..., 0], [step]).reshape(before.shape)
        error = np.abs(found.movedim(0, -1).numpy() - wanted).mean()
        assert error < (0.3 * np.abs(wanted - before).mean() if step == "clahe" else 1e-3)
    np.testing.assert_allclose(patches[3].numpy(), pictures[3], atol=1e-5, err_msg="nothing there to equalise")


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_everything_is_done_on_the_device_that_the_batch_is_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors that only pretend to be on a GPU refuse to meet one that stayed on the CPU, and to be looked into."""
    augmenter, patches = drawn(replace(AUGMENTATIONS[name], intensity_share=1.0))
    monkeypatch.setattr(intensity_pipeline, "_generator", lambda device, seed: None)  # there is none without a GPU
    batch = augmenter.collate(patches, seed=1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        images, labels = batch.to(torch.device("cuda")).make_patches()
    assert images.device.type == labels.device.type == "cuda"
    assert images.shape == (12, 3, 64, 64)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64


def test_a_mirrored_patch_exchanges_the_sides_of_certain_pixels_too() -> None:
    right, left = get_certain_code(1), get_certain_code(2)
    labels = torch.tensor([[[0, 1, 2, right, left, get_certain_code(0), 255]]])
    assert _swap_side_labels(labels, (1, 2)).tolist() == [[[0, 2, 1, left, right, get_certain_code(0), 255]]]
    assert _unmark_certain(labels).tolist() == [[[0, 1, 2, 1, 2, 0, 255]]]
