"""Lesions and air that were not there: a network learns that not all that is dark is lung, nor all that is bright not.

Each disguise is drawn for a patch as numbers, and done to all patches of a batch that drew it.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshots import IGNORED
from training.augmentations import Augmentation
from training.patches import Patches, blurred, median_of

CELLS = 12
FIELD_PX = 64
"""Bicubic interpolation ends here; several pixels to a cell are smooth enough for a bilinear one."""
EVERY_PX = 4
"""Of the tissue, for its median: sorting every pixel would take longer than all other changes."""


def with_gas(patches: Patches) -> Tensor:
    """Put a group of air pockets of random shape into bright tissue without a label."""
    grey, side = patches.grey, patches.grey.shape[-1]
    places = torch.arange(side, dtype=torch.float32, device=grey.device)
    y, x = (patches.number(axis) for axis in ("y", "x"))
    near = (places[:, None] - y) ** 2 + (places - x) ** 2 < patches.number("radius_px") ** 2
    field = _field(patches, side)
    pockets = near & (field > patches.number("above")) & patches.tissue
    soft = blurred(pockets.float(), patches.numbers["blur_px"]) * patches.unlabelled
    return grey * (1 - soft) + soft * patches.number("brightness")


def draw_gas(_: Augmentation, rng: np.random.Generator, _channels: int, side: int) -> Mapping[str, object]:
    """Draw where it is, how large and how sharp."""
    return {
        "field": rng.standard_normal((CELLS, CELLS), dtype=np.float32),
        "cells": CELLS,
        "y": rng.uniform(0, side),
        "x": rng.uniform(0, side),
        "radius_px": rng.uniform(0.05, 0.2) * side,
        "above": rng.uniform(-0.5, 0.5),
        "blur_px": rng.uniform(0.5, 1.0),
        "brightness": rng.uniform(0.0, 0.06),
    }


def with_shadows(patches: Patches) -> Tensor:
    """Fill random patches of what is labelled up to the brightness of the tissue around."""
    grey = patches.grey
    labels = patches.labels[:, None]
    inside = (labels > 0) & (labels != IGNORED)
    filled = inside & (_field(patches, grey.shape[-1]) > patches.number("above"))
    density = patches.number("density") * blurred(filled.float(), patches.numbers["blur_px"]) * inside
    some = (..., slice(None, None, EVERY_PX), slice(None, None, EVERY_PX))
    return grey + density * (median_of(grey[some], patches.tissue[some]) - grey).clamp(min=0)


def draw_shadows(_: Augmentation, rng: np.random.Generator, _channels: int, _side: int) -> Mapping[str, object]:
    """Draw how coarse they are, how much they fill, how sharp and how dense."""
    return {
        "field": rng.standard_normal((CELLS, CELLS), dtype=np.float32),
        "cells": rng.integers(4, CELLS),
        "above": rng.uniform(0.3, 1.3),
        "blur_px": rng.uniform(0.7, 4.0),
        "density": rng.uniform(0.3, 1.0),
    }


def _field(patches: Patches, side: int) -> Tensor:
    """Smooth random field (k, 1, side, side): as many cells of what was drawn as were drawn, stretched to the side."""
    coarse, cells = patches.number("field", 3)[:, None], patches.number("cells", 1)
    share = cells / coarse.shape[-1]
    nothing = torch.zeros_like(share)
    corner = torch.stack([share, nothing, share - 1, nothing, share, share - 1], dim=1).view(-1, 2, 3)
    places = functional.affine_grid(corner, [len(share), 1, FIELD_PX, FIELD_PX], align_corners=False)
    field = functional.grid_sample(coarse, places, mode="bicubic", padding_mode="border", align_corners=False)
    return functional.interpolate(field, (side, side), mode="bilinear", align_corners=False)
