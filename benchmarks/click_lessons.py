"""What the click network learns from: images with out-of-fold drafts, and batches of crops with clicks."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from click_simulation import Click, Mask, damage, draw_clicks, place_click
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.core import formats
from napari_medseg.core.model_card import CARD_FILE, ModelCard
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot, write_snapshot
from napari_medseg.inference.preprocess import prepare, prepare_labels
from napari_medseg.inference.roi import compute_roi_box, crop_image
from napari_medseg.networks import load_version
from training.__main__ import main as train_run
from training.from_folders.base_model import make_run
from training.from_folders.base_recipe import read_model_recipe
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE

CROP_PX = 256
EMPTY_SHARE, DAMAGED_SHARE = 0.25, 0.5
MAX_CLICKS = 3
NEAR_PX, NEAR_WEIGHT = 30.0, 4.0
"""Pixels within about `NEAR_PX` of the newest click weigh up to 1 + `NEAR_WEIGHT`."""
ZOOMS = (0.75, 1.35)
ENCODER = "mobilenet_v2_imagenet.safetensors"
N_FOLDS = 2

Answer = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]]
"""From planes (n, c, h, w), and masks with clicks (n, 3, h, w), to masks (n, h, w)."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """An image on the network's grid: plane (c, h, w), truth (h, w) and the mask of a model (h, w)."""

    name: str
    group: str
    plane: NDArray[np.float32]
    truth: Mask
    draft: Mask


@dataclass
class Crop:
    """A crop that clicks are set on, one after the other."""

    plane: NDArray[np.float32]
    truth: Mask
    mask: Mask
    clicks: list[Click]
    n_wanted: int


def read_lessons(
    run_dir: Path, source: str, role: Role, choose_version: Callable[[SnapshotItem], Path]
) -> list[Lesson]:
    """Read the images of a role on which something is labelled, with the draft of the version chosen for each."""
    loaded: dict[Path, tuple[nn.Module, ModelCard]] = {}

    def read(item: SnapshotItem) -> Lesson:
        folder = choose_version(item)
        if folder not in loaded:
            loaded[folder] = load_version(folder)
        network, card = loaded[folder]
        image = formats.read(Path(item.image))
        stored = formats.read_labels(run_dir / item.labels, image)
        if item.field_labels:
            margin = 0.0 if card.field is None else card.field.margin
            box = compute_roi_box(formats.read_labels(Path(item.field_labels), image), margin)
            image, stored = crop_image(image, box), np.ascontiguousarray(stored[box])
        prepared = prepare(image, card)
        with torch.inference_mode():
            logits = network.eval()(torch.from_numpy(np.ascontiguousarray(prepared.planes)))[0]
        height, width = prepared.plane_shape
        draft = (logits[1:].logsumexp(dim=0) > logits[0]).numpy()[:height, :width]
        truth = prepare_labels(stored, prepared)[0, :height, :width] > 0
        return Lesson(item.name, item.group, prepared.planes[0, :, :height, :width].copy(), truth, draft)

    items = read_snapshot(run_dir / SNAPSHOT_FILE).filter_by_role(role)
    lessons = [read(item) for item in items if item.labels and source in ("all", item.source)]
    return [lesson for lesson in lessons if lesson.truth.any()]


def train_folds(options: argparse.Namespace) -> Callable[[SnapshotItem], Path]:
    """Train a model on each half of the groups, from ImageNet's encoder; return which one has not seen an image."""
    base = read_model_recipe(options.recipe).model_copy(update={"parent": "", "encoder_weights": ENCODER})
    whole = options.out / "folds"
    if not (whole / RECIPE_FILE).exists():
        make_run(base, options.data, options.weights, whole)
    items = read_snapshot(whole / SNAPSHOT_FILE).items
    learnt = [item for item in items if item.role is Role.TRAIN]
    groups = sorted({item.group for item in learnt})
    folds = {group: number % N_FOLDS for number, group in enumerate(groups)}
    for number in range(N_FOLDS):
        folder = whole / str(number)
        if (folder / CARD_FILE).exists():
            continue
        folder.mkdir(exist_ok=True)
        kept = [item for item in items if item.role is Role.VALIDATE]
        kept += [item for item in learnt if folds[item.group] != number]
        paths = [
            item.model_copy(update={"labels": str((whole / item.labels).resolve()) if item.labels else ""})
            for item in kept
        ]
        write_snapshot(Snapshot(task=base.card.task, items=tuple(paths)), folder / SNAPSHOT_FILE)
        recipe = read_recipe(whole / RECIPE_FILE)
        changes = {
            "run": {"base": str((whole / recipe.run.base).resolve()), "precision": options.precision},
            "schedule": {"n_epochs": -(-options.fold_steps // 60), "steps_per_epoch": 60, "patience": 500},
            "fine_tuning": {"average_with_parent": 0.0},
        }
        write_recipe(update_recipe(recipe, changes), folder / RECIPE_FILE)
        if train_run([str(folder)]) != 0:
            raise RuntimeError(f"the model of a fold could not be trained: see {folder}")
    return lambda item: whole / str(folds[item.group])


def draw_batch(
    lessons: Sequence[Lesson], n: int, answer: Answer, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return planes, masks with clicks, truth and weights of `n` crops; the network has answered up to two clicks."""
    crops = [draw_crop(lessons[rng.integers(len(lessons))], rng) for _ in range(n)]
    for number in range(MAX_CLICKS):
        left = [one for one in crops if one.n_wanted > number]
        clicks = [place_click(one.mask, one.truth, bool(rng.random() < 0.5), rng) for one in left]
        for one, click in zip(left, clicks, strict=True):
            one.clicks += [] if click is None else [click]
        going_on = [one for one in left if one.n_wanted > number + 1 and one.clicks]
        if going_on:
            hints = np.stack([make_hints(one.mask, one.clicks) for one in going_on])
            masks = answer(np.stack([one.plane for one in going_on]), hints)
            for one, mask in zip(going_on, masks, strict=True):
                one.mask = mask
    parts = [(one.plane, make_hints(one.mask, one.clicks), one.truth, weigh(one)) for one in crops]
    planes, hints, truth, weight = (np.stack(part).astype(np.float32) for part in zip(*parts, strict=True))
    return torch.from_numpy(planes), torch.from_numpy(hints), torch.from_numpy(truth), torch.from_numpy(weight)


def draw_crop(lesson: Lesson, rng: np.random.Generator) -> Crop:
    """Return a crop around the first click on a mask that is empty, damaged truth or the model's, changed at random."""
    kind = rng.random()
    mask = lesson.draft
    if kind < EMPTY_SHARE + DAMAGED_SHARE:
        mask = np.zeros_like(lesson.truth) if kind < EMPTY_SHARE else damage(lesson.truth, rng)
    plane, pair = scale(lesson.plane, np.stack([mask, lesson.truth]), float(rng.uniform(*ZOOMS)))
    flips = tuple(axis for axis in (-1, -2) if rng.random() < 0.5)
    plane, pair = np.flip(plane, flips), np.flip(pair, flips)
    click = place_click(pair[0], pair[1], bool(rng.random() < 0.5), rng)
    y, x = (click.y, click.x) if click is not None else (pair.shape[1] // 2, pair.shape[2] // 2)
    plane = plane * np.float32(rng.uniform(0.85, 1.15)) + np.float32(rng.uniform(-0.15, 0.15))
    mask, truth = cut(pair, y, x, "constant")
    return Crop(cut(plane, y, x, "edge"), truth, mask, [], int(rng.integers(1, MAX_CLICKS + 1)))


def scale(plane: NDArray[np.float32], masks: NDArray[np.bool_], factor: float) -> tuple[NDArray[np.float32], Mask]:
    """Return a plane (c, h, w) and masks (n, h, w) in another size."""
    size = tuple(max(32, round(n * factor)) for n in plane.shape[-2:])
    larger = functional.interpolate(torch.from_numpy(plane)[None], size, mode="bilinear", antialias=factor < 1)
    nearest = functional.interpolate(torch.from_numpy(masks.astype(np.float32))[None], size, mode="nearest")
    return larger[0].numpy(), nearest[0].numpy() > 0


def weigh(crop: Crop) -> NDArray[np.float32]:
    """Return the weight (h, w) of the pixels of a crop: more near the newest click."""
    weight = np.ones(crop.truth.shape, np.float32)
    if crop.clicks:
        rows, columns = np.ogrid[: crop.truth.shape[0], : crop.truth.shape[1]]
        squared = (rows - crop.clicks[-1].y) ** 2 + (columns - crop.clicks[-1].x) ** 2
        weight += (NEAR_WEIGHT * np.exp(-squared / (2 * NEAR_PX**2))).astype(np.float32)
    return weight


def cut(pixels: NDArray, y: int, x: int, mode: str) -> NDArray:  # type: ignore[type-arg]
    """Return the crop (c, CROP_PX, CROP_PX) around a place, moved inside; smaller planes are continued below."""
    height, width = pixels.shape[-2:]
    down, right = max(0, CROP_PX - height), max(0, CROP_PX - width)
    padded = np.pad(pixels, ((0, 0), (0, down), (0, right)), mode=mode)  # type: ignore[call-overload]
    top, left = find_corner(y, height + down), find_corner(x, width + right)
    return padded[:, top : top + CROP_PX, left : left + CROP_PX]


def find_corner(place: int, side: int) -> int:
    """Return where the crop around a place begins."""
    return max(0, min(place - CROP_PX // 2, side - CROP_PX))


def make_hints(mask: Mask, clicks: list[Click]) -> NDArray[np.float32]:
    """Return mask and clicks (3, h, w) as the network takes them."""
    return np.concatenate([mask[None].astype(np.float32), draw_clicks(clicks, mask.shape)])
