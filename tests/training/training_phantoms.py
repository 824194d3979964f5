"""A tiny run: phantoms of two lungs as 8-bit pictures, and a small network that knows nothing yet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing
from napari_medseg.core.snapshot import Role, SnapshotItem
from training.recipe import Recipe
from training.recipe_keys import merge_keys

SIDE = 64


def phantom(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two dark ellipses in a bright body; right lung (1) on the image's left, and larger than the left one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint8)
    top, shift = rng.uniform(28, 36), rng.uniform(-4, 4)
    labels[((y - top) / 17) ** 2 + ((x - 19 - shift) / 10) ** 2 < 1] = 1
    labels[((y - top) / 15) ** 2 + ((x - 45 - shift) / 8) ** 2 < 1] = 2
    body = ((y - 32) / 28) ** 2 + ((x - 32) / 31) ** 2 < 1
    pixels = np.where(labels > 0, 60, np.where(body, 200, 5)) + rng.normal(0, 8, labels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


def item(folder: Path, name: str, role: Role, group: str = "", seed: int = 0) -> SnapshotItem:
    """Write a phantom and its labels; return its line of a snapshot."""
    pixels, labels = phantom(seed)
    tifffile.imwrite(folder / f"{name}.tif", pixels)
    tifffile.imwrite(folder / f"{name}_labels.tif", labels)
    return SnapshotItem(
        name=name,
        image=f"{name}.tif",
        labels=f"{name}_labels.tif",
        group=group or name,
        role=role,
        source="phantoms",
    )


WIDER = [16, 16, 32, 32]
"""Of a network that learns in fewer steps, where a test needs good labels; each step takes twice the time."""


def small_card(widths: Sequence[int] = (8, 16, 16, 32)) -> ModelCard:
    return ModelCard(
        name="lungs-unet",
        version=1,
        task="lungs",
        architecture=Architecture(name="conv_unet", in_channels=1, classes=3, options={"widths": list(widths)}),
        preprocessing=Preprocessing(min_side_px=SIDE, max_side_px=SIDE),
        precision="fp32",
        lineage=Lineage(created="2024-01-01"),
    )


def small_recipe(**changes: object) -> Recipe:
    """A recipe for phantoms; `changes` are by group or, which is shorter here, by flat key."""
    numbers = {
        "run": {"base": "base", "name": "lungs-unet", "version": 2, "precision": "fp32", "n_threads": 1},
        "data": {"batch_size": 4, "patch_px": SIDE},
        "augmentation": {"preset": "gentle"},
        "optimiser": {"learning_rate": 5e-3, "encoder_rate_factor": 1.0},
        "schedule": {"n_epochs": 3, "steps_per_epoch": 4},
        "fine_tuning": {"replay_share": 0.25, "freeze_batch_norm": False},
    }
    return Recipe.model_validate(merge_keys(numbers, changes))
