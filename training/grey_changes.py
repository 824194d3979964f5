"""What may be done to the grey values and colours of patches: one line in `GREY_CHANGES` adds a change.

Each change is drawn for a patch, as a few numbers, and done to all patches of a batch that drew it, on their device.
Pictures are (k, c, h, w) tensors in [0, 1]; numbers (k,) or (k, ...) lie on the CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from kornia.enhance import equalize, equalize_clahe
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from napari_medseg.inference import image_steps
from training.augmentations import Augmentation
from training.disguises import draw_gas, draw_shadows, with_gas, with_shadows
from training.patches import Numbers, Patches, blurred

DARKEST = 1e-3
CLAHE_TILES = 8
CLAHE_BINS = 256
UNCHANGED = (1.0, 1.0)


@dataclass(frozen=True)
class GreyChange:
    """One change.

    Parameters
    ----------
    share
        How often it is drawn.
    draw
        Its numbers for one patch of that many channels and that side.
    done
        Changed grey values.
    """

    share: Callable[[Augmentation], float]
    draw: Callable[[Augmentation, np.random.Generator, int, int], Mapping[str, object]]
    done: Callable[[Patches], Tensor]


def draw_changes(settings: Augmentation, rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Numbers]:
    """Draw which changes a patch of (channels, side) gets, each as often as the settings say, and how much of them."""
    drawn: dict[str, Numbers] = {}
    for name, change in GREY_CHANGES.items():
        share = change.share(settings)
        if share and rng.random() < share:
            numbers = change.draw(settings, rng, *shape)
            drawn[name] = {key: np.asarray(value, np.float32) for key, value in numbers.items()}
    return drawn


def changed(grey: Tensor, labels: Tensor, changes: Sequence[Mapping[str, Numbers]], seed: int) -> Tensor:
    """Do to each patch what was drawn for it; the result in [0, 1].

    Parameters
    ----------
    grey, labels
        (n, c, h, w) and (n, h, w), on one device; labels are not changed.
    changes
        Of each patch.
    seed
        Of the noise.
    """
    generator = _generator(grey.device, seed)
    for name, change in GREY_CHANGES.items():
        places = [place for place, drawn in enumerate(changes) if name in drawn]
        if not places:
            continue
        keys = changes[places[0]][name]
        numbers = {key: np.stack([changes[place][name][key] for place in places]) for key in keys}
        chosen = torch.tensor(places, device=grey.device)
        done = change.done(Patches(grey[chosen], labels[chosen], numbers, generator))
        grey = grey.index_copy(0, chosen, done)
    return grey.clamp(0, 1)


def _generator(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def restained(grey: Tensor, factors: NDArray[np.floating]) -> Tensor:
    """Change the density of haematoxylin, eosin and residue by a factor each; grey (k, 3, h, w), factors (k, 3)."""
    density = -torch.log(grey.clamp(DARKEST, 1.0))
    mixing = (hed_from_rgb @ (factors[..., np.newaxis] * rgb_from_hed)).astype(np.float32)
    return torch.exp(-torch.einsum("kcyx,kcd->kdyx", density, torch.from_numpy(mixing).to(grey.device)))


def _through_window(patches: Patches) -> Tensor:
    low, high = patches.number("low"), patches.number("high")
    return ((patches.grey - low) / (high - low).clamp(min=DARKEST)).clamp(0, 1)


def _draw_window(settings: Augmentation, rng: np.random.Generator, *_: int) -> Mapping[str, object]:
    low, high = rng.uniform(-settings.window, settings.window, 2)
    return {"low": low, "high": 1.0 + high}


def _equalised(patches: Patches) -> Tensor:
    return _on_brightness(patches.grey, equalize)


def _clahe(patches: Patches) -> Tensor:
    def change(brightness: Tensor) -> Tensor:
        # The clip limit is a share of a tile's pixels there, and a multiple of the mean count of a bin here.
        limit = image_steps.CLIP_LIMIT * CLAHE_BINS
        return _spread(equalize_clahe(_spread(brightness), limit, (CLAHE_TILES, CLAHE_TILES)))

    return _on_brightness(patches.grey, change)


def _smoothed(patches: Patches) -> Tensor:
    return blurred(patches.grey.clamp(0, 1), np.full(len(patches.grey), image_steps.SMOOTHING_PX))


def _noisy(patches: Patches) -> Tensor:
    grey = patches.grey
    noise = torch.empty_like(grey, memory_format=torch.contiguous_format).normal_(generator=patches.generator)
    return grey + patches.number("strength") * noise


def _cut_out(patches: Patches) -> Tensor:
    """Make a rectangle mid-grey."""
    places = torch.arange(patches.grey.shape[-1], device=patches.grey.device)
    top, bottom, left, right = (patches.number(edge) for edge in ("top", "bottom", "left", "right"))
    rows = (places[:, None] >= top) & (places[:, None] < bottom)
    return torch.where(rows & (places >= left) & (places < right), 0.5, patches.grey)


def _draw_cutout(_: Augmentation, rng: np.random.Generator, _channels: int, side: int) -> Mapping[str, object]:
    """Draw a rectangle of up to a third of each side."""
    rows, columns = (int(rng.integers(side // 8, side // 3)) for _ in range(2))
    top, left = int(rng.integers(side - rows)), int(rng.integers(side - columns))
    return {"top": top, "bottom": top + rows, "left": left, "right": left + columns}


def _on_brightness(grey: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """As `image_steps`: colours keep their proportions."""
    grey = grey.clamp(0, 1)
    brightness = grey.amax(dim=1, keepdim=True)
    if grey.shape[1] == 1:
        return change(brightness)
    return (grey * (change(brightness) / brightness.clamp(min=image_steps.DARKEST))).clamp(0, 1)


def _spread(grey: Tensor) -> Tensor:
    low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
    return (grey - low) / (high - low).clamp(min=DARKEST)


GREY_CHANGES: dict[str, GreyChange] = {
    "gas": GreyChange(lambda said: said.gas_share, draw_gas, with_gas),
    "shadows": GreyChange(lambda said: said.shadow_share, draw_shadows, with_shadows),
    "window": GreyChange(lambda said: said.intensity_share * bool(said.window), _draw_window, _through_window),
    "equalise": GreyChange(lambda said: said.equalise_share, lambda *_: {}, _equalised),
    "clahe": GreyChange(lambda said: said.clahe_share, lambda *_: {}, _clahe),
    "smooth": GreyChange(lambda said: said.smooth_share, lambda *_: {}, _smoothed),
    "blur": GreyChange(
        lambda said: said.intensity_share * bool(said.blur_px),
        lambda said, rng, *_: {"sigma_px": rng.uniform(0.3, max(0.3, said.blur_px))},
        lambda patches: blurred(patches.grey, patches.numbers["sigma_px"]),
    ),
    "contrast": GreyChange(
        lambda said: said.intensity_share * (bool(said.brightness) or said.contrast != UNCHANGED),
        lambda said, rng, *_: {
            "factor": rng.uniform(*said.contrast),
            "offset": rng.uniform(-said.brightness, said.brightness),
        },
        lambda patches: (patches.grey - 0.5) * patches.number("factor") + 0.5 + patches.number("offset"),
    ),
    "saturation": GreyChange(
        lambda said: said.intensity_share * (said.saturation != UNCHANGED),
        lambda said, rng, *_: {"kept": rng.uniform(*said.saturation)},
        lambda patches: patches.grey / patches.number("kept"),
    ),
    "gamma": GreyChange(
        lambda said: said.intensity_share * (said.gamma != UNCHANGED),
        lambda said, rng, *_: {"exponent": np.exp(rng.uniform(*np.log(said.gamma)))},
        lambda patches: patches.grey.clamp(0, 1) ** patches.number("exponent"),
    ),
    "noise": GreyChange(
        lambda said: said.intensity_share * bool(said.noise),
        lambda said, rng, *_: {"strength": rng.uniform(0, said.noise)},
        _noisy,
    ),
    "tint": GreyChange(
        lambda said: said.intensity_share * bool(said.tint),
        lambda said, rng, n_channels, _: {"gains": rng.uniform(1.0 - said.tint, 1.0 + said.tint, n_channels)},
        lambda patches: patches.grey * patches.number("gains"),
    ),
    "stain": GreyChange(
        lambda said: said.intensity_share * bool(said.stain),
        lambda said, rng, *_: {"factors": rng.uniform(1.0 - said.stain, 1.0 + said.stain, 3)},
        lambda patches: restained(patches.grey, patches.numbers["factors"]),
    ),
    "cutout": GreyChange(lambda said: said.cutout_share, _draw_cutout, _cut_out),
}
