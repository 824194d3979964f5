import numpy as np
import pytest
import torch
from torch import Tensor
from training_phantoms import small_recipe

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.mixing import Mixer, build_mixer
from training.augmentation.presets import Augmentation
from training.losses.composite import build_loss
from training.losses.losses import LOSSES
from training.recipe import update_recipe

N = 6


def batch() -> tuple[Tensor, Tensor]:
    """Patches whose grey value is the number of the patch at every pixel, with that number as label."""
    numbers = torch.arange(N)
    images = numbers.float().view(N, 1, 1, 1).expand(N, 2, 32, 40).clone()
    return images, numbers.view(N, 1, 1).expand(N, 32, 40).clone()


def corners() -> tuple[Tensor, Tensor]:
    """Patches with one pixel per corner, which has a value of its own in every patch and corner."""
    images, labels = torch.zeros(N, 1, 32, 32), torch.zeros(N, 32, 32, dtype=torch.int64)
    for index in range(N):
        for place, (row, column) in enumerate([(0, 0), (0, 31), (31, 0), (31, 31)]):
            labels[index, row, column] = 10 * (index + 1) + place
            images[index, 0, row, column] = float(labels[index, row, column])
    return images, labels


@pytest.mark.parametrize("settings", [Augmentation(cutmix_share=1.0), Augmentation(mosaic_share=1.0)])
def test_image_and_labels_are_cut_and_pasted_together(settings: Augmentation) -> None:
    before = batch()
    kept = [tensor.clone() for tensor in before]
    n_mixed = 0
    for step in range(8):
        images, truth = Mixer(settings, seed=1).mix(*before, step)
        assert truth.mixed_labels is None
        torch.testing.assert_close(images[:, 0].long(), truth.labels)
        torch.testing.assert_close(images[:, 1], images[:, 0])
        n_mixed += sum(len(labels.unique()) > 1 for labels in truth.labels)
    assert n_mixed > 0.7 * 8 * N
    assert all(torch.equal(old, new) for old, new in zip(kept, before, strict=True)), "the batch itself is not changed"


@pytest.mark.parametrize("settings", [Augmentation(cutmix_share=1.0), Augmentation(mosaic_share=1.0)])
def test_what_is_in_a_corner_stays_in_that_corner(settings: Augmentation) -> None:
    images, labels = corners()
    foreign = 0
    for step in range(8):
        mixed, truth = Mixer(settings, seed=2).mix(images, labels, step)
        torch.testing.assert_close(mixed[:, 0].long(), truth.labels)
        for index in range(N):
            found = [int(truth.labels[index, row, column]) for row in (0, 31) for column in (0, 31)]
            assert [value % 10 for value in found] == [0, 1, 2, 3]
            foreign += sum(value // 10 != index + 1 for value in found)
    assert foreign > 0


def test_a_mosaic_is_made_of_four() -> None:
    _, truth = Mixer(Augmentation(mosaic_share=1.0), seed=0).mix(*batch(), 3)
    assert max(len(labels.unique()) for labels in truth.labels) >= 3
    assert all(int(labels[0, 0]) == index for index, labels in enumerate(truth.labels))


def test_mixup_averages_patches_and_says_whose_labels_count_how_much() -> None:
    images, truth = Mixer(Augmentation(mixup_share=1.0), seed=0).mix(*batch(), 0)
    assert truth.mixed_labels is not None
    assert 0.5 <= truth.labels_weight <= 1
    assert not (truth.labels == truth.mixed_labels).any()
    torch.testing.assert_close(
        images[:, 0], truth.labels_weight * truth.labels + (1 - truth.labels_weight) * truth.mixed_labels
    )


def test_replayed_patches_are_left_alone() -> None:
    settings = Augmentation(cutmix_share=1.0, mosaic_share=1.0, mixup_share=1.0)
    before = batch()
    images, truth = Mixer(settings, seed=0).mix(*before, 1, n_replayed=2)
    torch.testing.assert_close(images[:2], before[0][:2])
    assert torch.equal(truth.labels[:2], before[1][:2])
    assert truth.mixed_labels is not None
    assert torch.equal(truth.mixed_labels[:2], before[1][:2])
    assert not (truth.labels[2:] < 2).any(), "nothing that is replayed is pasted into what is new"
    alone, _ = Mixer(settings, seed=0).mix(*before, 1, n_replayed=N - 1)
    torch.testing.assert_close(alone, before[0])


def test_a_mixture_depends_on_seed_and_step_alone() -> None:
    settings = Augmentation(cutmix_share=0.5, mosaic_share=0.5, mixup_share=0.5)
    first, again, later = (Mixer(settings, 4).mix(*batch(), step)[0] for step in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    same, truth = Mixer(Augmentation(), 4).mix(*batch(), 5)
    assert torch.equal(same, batch()[0])
    assert truth.mixed_labels is None


def test_a_share_of_patches_is_mixed() -> None:
    recipe = small_recipe(augmentation="cutmix", seed=1)
    mixed = [
        len(labels.unique()) > 1 for step in range(40) for labels in build_mixer(recipe).mix(*batch(), step)[1].labels
    ]
    assert 0.3 < np.mean(mixed) < 0.55
    none = build_mixer(update_recipe(recipe, {"augmentation": {"strength": 0.0}}))
    assert torch.equal(none.mix(*batch(), 0)[0], batch()[0])


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("way", ["cutmix", "mosaic", "mixup"])
def test_every_loss_can_learn_from_mixtures(name: str, way: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (4, 16, 16), generator=generator)
    labels[0, :4] = IGNORE_INDEX
    mixer = Mixer(Augmentation(**{f"{way}_share": 1.0}), seed=0)
    images, truth = mixer.mix(torch.randn(4, 3, 16, 16, generator=generator), labels, 0)
    images.requires_grad_()
    value = build_loss(small_recipe(loss=name))(images, truth)
    value.backward()
    assert torch.isfinite(value)
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert images.grad.any()
