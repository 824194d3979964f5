"""Each change of grey values against what it says of itself."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.colour import Stain, Tint
from training.augmentation.intensity import Blur, Contrast, Gamma, HighlightClipping, IntensityWindow, Noise
from training.augmentation.intensity_pipeline import (
    INTENSITY_TRANSFORMS,
    IntensityTransform,
    apply_transforms,
    sample_transforms,
)
from training.augmentation.presets import AUGMENTATIONS
from training.augmentation.synthetic_artifacts import NOISE_MAP_PX, Consolidations, Cutout, GasPockets

BRIGHT, DARK = 0.8, 0.1


def changed_by(grey: torch.Tensor, *changes: IntensityTransform, labels: torch.Tensor | None = None) -> torch.Tensor:
    """The first patch of two, of which only that one is changed."""
    labels = torch.zeros(grey.shape[-2:], dtype=torch.int64) if labels is None else labels
    both = apply_transforms(torch.stack([grey, grey]), torch.stack([labels, labels]), [changes, ()], seed=3)
    torch.testing.assert_close(both[1], grey.clamp(0, 1), msg="the other one is left alone")
    return both[0]


def ramp(channels: int = 1) -> torch.Tensor:
    return torch.linspace(0.05, 0.95, 64).expand(channels, 64, 64).contiguous()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ([IntensityWindow(0.2, 0.7)], lambda grey: (grey - 0.2) / 0.5),
        ([Contrast(1.5, 0.1)], lambda grey: (grey - 0.5) * 1.5 + 0.6),
        ([HighlightClipping(0.5)], lambda grey: grey / 0.5),
        ([Gamma(1.7)], lambda grey: grey**1.7),
        ([Tint(np.array([0.5]))], lambda grey: grey * 0.5),
        ([Contrast(0.5, 0.0), Gamma(2.0)], lambda grey: ((grey - 0.5) * 0.5 + 0.5) ** 2),
        ([Gamma(2.0), Contrast(0.5, 0.0)], lambda grey: ((grey - 0.5) * 0.5 + 0.5) ** 2),
    ],
    ids=["window", "contrast", "saturation", "gamma", "tint", "both", "both in the order of the list"],
)
def test_a_change_is_its_formula(changes: Sequence[IntensityTransform], wanted: object) -> None:
    torch.testing.assert_close(changed_by(ramp(), *changes), wanted(ramp()).clamp(0, 1))


def test_noise_has_the_strength_that_was_drawn() -> None:
    grey = torch.full((3, 64, 64), 0.5)
    assert float((changed_by(grey, Noise(0.05)) - grey).std()) == pytest.approx(0.05, rel=0.05)


def test_blur_keeps_the_mean_and_flattens() -> None:
    grey = (torch.arange(64) % 2).float().expand(1, 64, 64).contiguous()
    blurred = changed_by(grey, Blur(2.0))
    assert float(blurred.mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(blurred[:, 8:-8, 8:-8].std()) < 0.02


def test_a_stain_factor_of_one_changes_nothing_and_more_haematoxylin_is_darker_where_there_is_any() -> None:
    colours = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    torch.testing.assert_close(changed_by(colours, Stain(np.ones(3))), colours, atol=1e-4, rtol=1e-4)
    more, white = Stain(np.array([1.4, 1.0, 1.0])), torch.ones(3, 64, 64)
    nucleus = torch.tensor([0.4, 0.3, 0.6]).view(3, 1, 1).expand(3, 64, 64)
    torch.testing.assert_close(changed_by(white, more), white, atol=1e-3, rtol=1e-3)
    assert float(changed_by(nucleus, more).mean()) < float(nucleus.mean()) - 0.02


def chest() -> tuple[torch.Tensor, torch.Tensor]:
    """Bright tissue with two dark lungs, of which nobody looked at the lower half of one."""
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[10:54, 6:28], labels[10:54, 36:58] = 1, 2
    grey = torch.where(labels > 0, DARK, BRIGHT)[None].float()
    labels[32:54, 36:58] = IGNORE_INDEX
    return grey, labels


def test_gas_darkens_tissue_near_its_place_and_nothing_that_is_labelled() -> None:
    grey, labels = chest()
    everywhere = np.ones((NOISE_MAP_PX, NOISE_MAP_PX), np.float32)
    gas = GasPockets(everywhere, y=0.5, x=0.5, radius=0.15, threshold=0.0, blur_px=0.5, brightness=0.02)
    found = changed_by(grey, gas, labels=labels)
    assert float(found[0, 32, 32]) == pytest.approx(0.02, abs=1e-3), "between the lungs"
    assert torch.equal(found[0, :8], grey[0, :8]), "far from there"
    assert torch.equal(found[0][labels > 0], grey[0][labels > 0])
    shaped = GasPockets(everywhere - 2, y=0.5, x=0.5, radius=0.15, threshold=0.0, blur_px=0.5, brightness=0.02)
    assert torch.equal(changed_by(grey, shaped, labels=labels), grey), "the field says where in the circle"


def test_shadows_fill_what_is_labelled_up_to_the_tissue_and_nothing_else() -> None:
    grey, labels = chest()
    field = np.ones((NOISE_MAP_PX, NOISE_MAP_PX), np.float32)
    field[:, NOISE_MAP_PX // 2 :] = -1
    found = changed_by(grey, Consolidations(field, threshold=0.0, blur_px=0.7, density=0.9), labels=labels)
    assert float(found[0, 32, 16]) == pytest.approx(DARK + 0.9 * (BRIGHT - DARK), abs=0.01)
    assert torch.equal(found[0][labels != 1], grey[0][labels != 1]), "tissue, the other side, and where nobody looked"
    everywhere = Consolidations(np.ones_like(field), threshold=0.0, blur_px=0.7, density=0.9)
    found = changed_by(grey, everywhere, labels=labels)
    assert float(found[0, 20, 47]) > 0.7
    assert torch.equal(found[0][labels == IGNORE_INDEX], grey[0][labels == IGNORE_INDEX])
    lung_alone = torch.full_like(labels, 1)
    assert torch.equal(changed_by(grey, everywhere, labels=lung_alone), grey), "no tissue to be as bright as"


def test_a_rectangle_is_cut_out_where_it_was_drawn() -> None:
    found = changed_by(torch.zeros(1, 64, 64), Cutout(top=0.25, bottom=0.5, left=0.5, right=0.75))
    wanted = torch.zeros(1, 64, 64)
    wanted[:, 16:32, 32:48] = 0.5
    assert torch.equal(found, wanted)


def test_what_is_no_number_stays_so_for_the_loop_to_meet() -> None:
    grey = ramp()
    grey[0, 5, 5] = torch.nan
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    assert apply_transforms(grey[None], labels, [(Gamma(1.2),)], 0).isnan().sum() == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_changes_are_drawn_as_often_as_the_settings_say(name: str, channels: int) -> None:
    settings, rng = AUGMENTATIONS[name], np.random.default_rng(0)
    drawn = [sample_transforms(settings, rng, channels) for _ in range(400)]
    for kind in INTENSITY_TRANSFORMS:
        share = sum(isinstance(one, kind) for changes in drawn for one in changes) / len(drawn)
        assert share == pytest.approx(kind.get_probability(settings, channels), abs=0.08)
