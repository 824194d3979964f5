"""What may be done to the grey values and colours of a patch. Pictures are (c, h, w) tensors in [0, 1]."""

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb_from_hed
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshots import IGNORED
from napari_medseg.inference.image_steps import apply_image_steps
from training.augmentations import Augmentation

GAS_CELLS = 12
GAS_ONLY_ABOVE = 0.3
DARKEST = 1e-3


def disguised(grey: Tensor, labels: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Put gas where no label is, and shadows where one is; `labels` (h, w) are not changed."""
    if settings.gas_share and rng.random() < settings.gas_share:
        grey = _with_gas(grey, labels, rng)
    if settings.shadow_share and rng.random() < settings.shadow_share:
        grey = _with_shadows(grey, labels, rng)
    return grey


def grey_changed(grey: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, sharpness and colours, each as often as the settings say; the result in [0, 1]."""

    def chosen() -> bool:
        return bool(rng.random() < settings.intensity_share)

    grey = _step_changed(grey, settings, rng)
    if settings.blur_px and chosen():
        grey = _blurred(grey, rng.uniform(0.3, max(0.3, settings.blur_px)))
    if chosen():
        grey = (grey - 0.5) * rng.uniform(*settings.contrast) + 0.5
        grey = grey + rng.uniform(-settings.brightness, settings.brightness)
    if chosen():
        grey = grey / rng.uniform(*settings.saturation)
    if chosen():
        grey = grey.clamp(0, 1) ** float(np.exp(rng.uniform(*np.log(settings.gamma))))
    if settings.noise and chosen():
        strength = rng.uniform(0, settings.noise)
        grey = grey + strength * torch.from_numpy(rng.standard_normal(grey.shape, dtype=np.float32))
    return _colour_changed(grey, settings, rng)


def _step_changed(grey: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Look through another window, and take steps of preparation that the picture did not have."""
    if settings.window and rng.random() < settings.intensity_share:
        low, high = np.array([0.0, 1.0]) + rng.uniform(-settings.window, settings.window, 2)
        grey = ((grey - low) / max(high - low, DARKEST)).clamp(0, 1)
    shares = {"equalise": settings.equalise_share, "clahe": settings.clahe_share, "smooth": settings.smooth_share}
    steps = [name for name, share in shares.items() if share and rng.random() < share]
    if not steps:
        return grey
    picture = grey.clamp(0, 1).movedim(0, -1).numpy()
    changed = apply_image_steps(picture if picture.shape[-1] > 1 else picture[..., 0], steps)
    return torch.from_numpy(changed.reshape(picture.shape)).movedim(-1, 0)


def _colour_changed(grey: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    if settings.tint and rng.random() < settings.intensity_share:
        gains = rng.uniform(1.0 - settings.tint, 1.0 + settings.tint, grey.shape[0])
        grey = grey * torch.tensor(gains, dtype=torch.float32)[:, None, None]
    if settings.stain and rng.random() < settings.intensity_share:
        grey = restained(grey, rng.uniform(1.0 - settings.stain, 1.0 + settings.stain, 3))
    if settings.cutout_share and rng.random() < settings.cutout_share:
        grey = _cut_out(grey, rng)
    return grey.clamp(0, 1)


def restained(grey: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """Change the density of haematoxylin, eosin and residue by a factor each; grey (3, h, w)."""
    density = -torch.log(grey.clamp(DARKEST, 1.0))
    stains = torch.tensor(rgb_from_hed, dtype=torch.float32)
    mixing = torch.linalg.inv(stains) @ torch.diag(torch.tensor(factors, dtype=torch.float32)) @ stains
    return torch.exp(-torch.einsum("cyx,cd->dyx", density, mixing))


def _cut_out(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Make a rectangle of up to a third of each side mid-grey."""
    height, width = grey.shape[-2:]
    rows, columns = (int(rng.integers(side // 8, side // 3)) for side in (height, width))
    top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
    grey = grey.clone()
    grey[:, top : top + rows, left : left + columns] = 0.5
    return grey


def _with_gas(grey: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Put a group of air pockets of random shape into bright tissue without a label; grey (c, h, w) in [0, 1]."""
    side = labels.shape[-1]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, GAS_CELLS, GAS_CELLS), dtype=np.float32))
    field = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    places = torch.arange(side, dtype=torch.float32)
    (y, x), radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.2) * side
    near = (places[:, None] - y) ** 2 + (places[None, :] - x) ** 2 < radius**2
    pockets = near & (field > rng.uniform(-0.5, 0.5)) & (labels == 0) & (grey.mean(dim=0) > GAS_ONLY_ABOVE)
    soft = _blurred(pockets[None].float(), rng.uniform(0.5, 1.0)) * (labels == 0)
    return grey * (1 - soft) + soft * rng.uniform(0.0, 0.06)


def _with_shadows(grey: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Fill random patches of what is labelled up to the brightness of the tissue around; grey (c, h, w) in [0, 1]."""
    inside = (labels > 0) & (labels != IGNORED)
    tissue = (labels == 0) & (grey.mean(dim=0) > GAS_ONLY_ABOVE)
    if not bool(inside.any()) or not bool(tissue.any()):
        return grey
    side = labels.shape[-1]
    cells = int(rng.integers(4, GAS_CELLS))
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    field = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    filled = inside & (field > rng.uniform(0.3, 1.3))
    density = rng.uniform(0.3, 1.0) * _blurred(filled[None].float(), rng.uniform(0.7, 4.0)) * inside
    return grey + density * (grey[:, tissue].median(dim=1).values[:, None, None] - grey).clamp(min=0)


def _blurred(grey: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of a (c, h, w) picture, one axis after the other."""
    radius = max(1, round(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    padded = functional.pad(grey[:, None], (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, kernel[..., None, :])
    return functional.conv2d(rows, kernel[..., :, None])[:, 0]
