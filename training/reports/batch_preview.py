"""Draw what the network sees: patches of the first batches of a run, with the outlines of their labels, as one PNG.

`python -P -m training.reports.batch_preview RUN_DIR OUT.png`
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageColor, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, ModelCard, read_card
from napari_medseg.core.snapshot import IGNORE_INDEX, SnapshotItem, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.predictor import load_roi_predictor
from training.augmentation.mixing import Mixer, build_mixer
from training.data.class_sampling import list_foreground_classes
from training.data.content_checks import refuse_nothing_to_learn
from training.data.dataset import BatchSampler
from training.data.label_sets import unmark_certain
from training.data.sample_reader import SampleReader, find_largest_label
from training.recipe import Recipe, read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE
from training.run_setup import WINDOWS_PER_CT, make_batches, split_by_role
from training.start_builder import ensure_start_version

WIDTH_PX, GAP_PX, CAPTION_PX, HEADER_PX = 1200, 8, 20, 30
COLUMNS, N_BATCHES, PATCHES_PER_BATCH = 4, 3, 4
MAX_IMAGES = 24
HATCH_PX = 10
CORE_COLOUR, OTHER_COLOUR = "#F0E442", "#FFFFFF"
SPARE_COLOURS = ("#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PreviewPatch:
    """One patch: grey values (c, h, w) in [0, 1], classes (h, w), mixed-in classes (h, w) or `None`, and a caption."""

    grey: NDArray[np.floating]
    labels: NDArray[np.integer]
    mixed_labels: NDArray[np.integer] | None
    caption: str


@dataclass(frozen=True)
class ClassOutline:
    """The outline around the classes `first` to `last` of a patch, and their name in the caption."""

    first: int
    last: int
    name: str
    colour: str
    width_px: int = 2


def write_batch_preview(run_dir: Path, path: Path) -> None:
    """Write the preview of a run folder. The run may be untrained.

    If the recipe has several stages, the first one is shown. At most `MAX_IMAGES` images of each role are read.

    Raises
    ------
    MedSegError
        If the folder is not complete, an image cannot be read, or there is nothing to learn.
    """
    recipe, snapshot = read_recipe(run_dir / RECIPE_FILE).resolve_stages()[0], read_snapshot(run_dir / SNAPSHOT_FILE)
    ensure_start_version(run_dir, recipe.run.seed)
    task, card, split = (
        snapshot.task_definition,
        read_card(run_dir / recipe.run.base / CARD_FILE),
        split_by_role(snapshot),
    )
    roi_predictor = load_roi_predictor(recipe.find_roi_folder(run_dir), "cpu")
    reader = SampleReader(run_dir, card, task, recipe.run.seed, roi_predictor, recipe.data.label_steps)
    train, replay = (
        [reader.read_image(item, WINDOWS_PER_CT) for item in _pick_evenly([one for one in items if one.may_be_shown])]
        for items in (split.train, split.replay)
    )
    if not train:
        raise MedSegError("all training images are to be read blind by a second person. Preview when that is done.")
    everything = [*split.train, *split.replay]
    if len(train) + len(replay) == len(everything) or not any(find_largest_label(item, run_dir) for item in everything):
        refuse_nothing_to_learn([*train, *replay])
    outlines = _choose_outlines(task, card)
    patches = _collect_patches(make_batches(recipe, train, replay, card, task), build_mixer(recipe), card, outlines)
    result = f"{recipe.run.name}@{recipe.run.version}"
    header = f"{result}: {_describe_recipe(recipe)}; {len(split.train)} training images"
    _draw_sheet(patches, outlines, header).save(path, format="PNG")
    logger.info("%d patches in %s", len(patches), path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the preview from the command line; return 1 after an error with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m training.reports.batch_preview", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="holds recipe.json and snapshot.json")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        write_batch_preview(options.run_dir, options.picture)
    except MedSegError as error:
        logger.error("%s", error)
        return 1
    return 0


def _describe_recipe(recipe: Recipe) -> str:
    strength = "" if recipe.augmentation.strength == 1 else f" x {recipe.augmentation.strength:g}"
    drawn = "windows" if recipe.data.sampling == "windows" else "patches"
    return f"{drawn} of {recipe.data.patch_px} px, augmentation {recipe.augmentation.preset}{strength}"


def _collect_patches(
    batches: BatchSampler, mixer: Mixer, card: ModelCard, outlines: Sequence[ClassOutline]
) -> list[PreviewPatch]:
    """Return some patches of each of the first batches, mixed as in the run, including replayed patches."""
    shown: list[PreviewPatch] = []
    numbers = card.preprocessing
    chosen = np.linspace(0, batches.batch_size - 1, min(PATCHES_PER_BATCH, batches.batch_size)).round().astype(int)
    for step in range(N_BATCHES):
        images, truth = mixer.mix(*batches.make_batch(step), step, batches.n_replayed)
        for index in chosen:
            origin = "replayed" if index < batches.n_replayed else "new"
            caption = f"{origin}{_describe_labels(truth.labels[index], outlines)}"
            other = None
            if truth.mixed_labels is not None and not torch.equal(truth.mixed_labels[index], truth.labels[index]):
                other = unmark_certain(truth.mixed_labels[index].numpy())
                caption += f", {1 - truth.labels_weight:.0%} other (white)"
            grey = (images[index] * numbers.std + numbers.mean).clamp(0, 1).numpy()
            shown.append(PreviewPatch(grey, unmark_certain(truth.labels[index].numpy()), other, caption))
    return shown


def _describe_labels(labels: Tensor, outlines: Sequence[ClassOutline]) -> str:
    values = list_foreground_classes(unmark_certain(labels.numpy()))
    names = [one.name for one in outlines if one.name and any(one.first <= value <= one.last for value in values)]
    unseen = float((labels == IGNORE_INDEX).float().mean())
    return ", ".join(["", *(names or ["no label"]), *([f"{unseen:.0%} not reviewed"] if unseen else [])])


def _choose_outlines(task: Task, card: ModelCard) -> list[ClassOutline]:
    """Choose the outlines: each label in its colour. For objects, only the border and the core are drawn."""
    last = card.architecture.classes - 1
    if card.instances is not None:
        name, colour = task.labels[0].name, task.labels[0].colour
        return [ClassOutline(1, last, name, colour), ClassOutline(last, last, "", CORE_COLOUR, 1)]
    labels = {} if task.instances else {label.value: label for label in task.labels}
    return [
        ClassOutline(value, value, labels[value].name, labels[value].colour)
        if value in labels
        else ClassOutline(value, value, f"class {value}", SPARE_COLOURS[(value - 1) % len(SPARE_COLOURS)])
        for value in range(1, last + 1)
    ]


def _draw_sheet(patches: Sequence[PreviewPatch], outlines: Sequence[ClassOutline], header: str) -> Picture.Image:
    side = (WIDTH_PX - GAP_PX * (COLUMNS + 1)) // COLUMNS
    n_rows = -(-len(patches) // COLUMNS)
    sheet = Picture.new("RGB", (WIDTH_PX, HEADER_PX + n_rows * (side + CAPTION_PX + GAP_PX)), "#202020")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((GAP_PX, 8), header, "#FFFFFF", ImageFont.load_default(15))
    for index, patch in enumerate(patches):
        row, column = divmod(index, COLUMNS)
        left, top = GAP_PX + column * (side + GAP_PX), HEADER_PX + row * (side + CAPTION_PX + GAP_PX)
        pen.text((left, top + 2), f"{index + 1}. {patch.caption}", "#D0D0D0", font)
        sheet.paste(Picture.fromarray(_draw_tile(patch, side, outlines)), (left, top + CAPTION_PX))
    return sheet


def _draw_tile(patch: PreviewPatch, side: int, outlines: Sequence[ClassOutline]) -> NDArray[np.uint8]:
    """Draw a patch with its outlines, (side, side, 3)."""
    grey = np.moveaxis(patch.grey[:3] if len(patch.grey) >= 3 else np.repeat(patch.grey[:1], 3, axis=0), 0, -1)
    picture = Picture.fromarray((grey * 255).round().astype(np.uint8)).resize((side, side), Picture.Resampling.BILINEAR)
    pixels = np.array(picture)
    if patch.mixed_labels is not None:
        pixels[_find_rim(_enlarge(patch.mixed_labels, side) > 0, 1)] = ImageColor.getrgb(OTHER_COLOUR)
    labels = _enlarge(patch.labels, side)
    for one in outlines:
        inside = (labels >= one.first) & (labels <= one.last)
        pixels[_find_rim(inside, one.width_px)] = ImageColor.getrgb(one.colour)
    hatch = np.add.outer(np.arange(side), np.arange(side)) % HATCH_PX < HATCH_PX // 2
    pixels[(labels == IGNORE_INDEX) & hatch] //= 3
    return pixels


def _find_rim(inside: NDArray[np.bool_], width_px: int) -> NDArray[np.bool_]:
    rim: NDArray[np.bool_] = inside & ~ndimage.binary_erosion(inside, iterations=width_px, border_value=1)
    return rim


def _enlarge(labels: NDArray[np.integer], side: int) -> NDArray[np.integer]:
    places = (np.arange(side) + 0.5) * labels.shape[0] / side
    return labels[np.ix_(places.astype(np.intp), places.astype(np.intp))]


def _pick_evenly(items: Sequence[SnapshotItem]) -> list[SnapshotItem]:
    places = np.linspace(0, len(items) - 1, min(len(items), MAX_IMAGES)).round().astype(int)
    return [items[place] for place in places]


if __name__ == "__main__":
    sys.exit(main())
