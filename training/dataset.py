"""Labelled planes in memory, and the batches drawn from them.

Planes come from `prepare`, as in the window. A CT in HU is kept under a few grey windows as well, each pressed to
8 bits and prepared like any such picture, so that a model meets the windows that people export pictures with.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.core import formats
from napari_medseg.core.cards import ModelCard
from napari_medseg.core.durable import sha256_of
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.snapshots import SnapshotItem
from napari_medseg.core.tasks import Task
from napari_medseg.inference.field import cropped, field_box
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.transforms import prepare, prepare_labels
from training.augment import Augmenter
from training.targets import network_classes

MAX_PLANES_PER_IMAGE = 48
WINDOW_LOW_HU = (-1400.0, -700.0)
WINDOW_HIGH_HU = (-50.0, 1000.0)


@dataclass(frozen=True, eq=False)
class LabelledPlane:
    """One plane on the network's grid.

    Parameters
    ----------
    views
        float16 (c, h, w) each, normalised; the first as the predictor sees it, the others under other grey windows.
    labels
        uint8 (h, w).
    """

    views: tuple[NDArray[np.float16], ...]
    labels: NDArray[np.uint8]

    def view(self, rng: np.random.Generator) -> NDArray[np.float16]:
        """Return the predictor's own view as often as all others together."""
        if len(self.views) == 1 or rng.random() < 0.5:
            return self.views[0]
        return self.views[rng.integers(1, len(self.views))]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """The planes of one image that a run learns from or is judged by; `weight` is how often it is drawn."""

    name: str
    planes: tuple[LabelledPlane, ...]
    weight: float = 1.0


def read_item(item: SnapshotItem, root: Path, task: Task) -> tuple[Image, NDArray[np.integer]]:
    """Read the image and the labels of a snapshot's item; `root` is the folder of the snapshot.

    Raises
    ------
    MedSegError
        If a file is missing or damaged, the grids differ, or the labels are not those that the snapshot froze.
    """
    image_path, labels_path = root / item.image, root / item.labels
    if item.labels_sha256 and labels_path.exists() and sha256_of(labels_path) != item.labels_sha256:
        raise MedSegError(
            f"the labels of {item.name} ({labels_path.name}) changed after the snapshot was frozen. "
            "Restore the file, or make a new run."
        )
    image = formats.read(image_path)
    labels = formats.read_labels(labels_path, image)
    if labels.size and int(labels.max()) > task.largest_value:
        raise MedSegError(
            f"the labels of {item.name} have the value {int(labels.max())}, but task {task.name!r} ends at "
            f"{task.largest_value}. Correct the labels and accept the case again."
        )
    return image, labels


def largest_label(item: SnapshotItem, root: Path) -> int:
    """Return the largest label value of an item, 0 where nothing is labelled."""
    return int(formats.read_labels(root / item.labels, None).max(initial=0))


def labelled_image(
    item: SnapshotItem,
    root: Path,
    card: ModelCard,
    task: Task,
    n_windows: int,
    seed: int,
    finder: Predictor | None = None,
) -> LabelledImage:
    """Read and prepare one item.

    Parameters
    ----------
    item, root
        What to read; the folder of the snapshot.
    card
        Whose preprocessing to use.
    task
        Whose labels these are.
    n_windows
        How many other grey windows to make of a CT in HU.
    seed
        Of the choice of windows.
    finder
        Finds the field that the card looks into, where the item does not bring its labels.
    """
    image, labels = read_item(item, root, task)
    if card.field is not None and (item.field_labels or finder is not None):
        field = (
            formats.read_labels(root / item.field_labels, image)
            if item.field_labels or finder is None
            else finder.labels_of(image)
        )
        box = field_box(field, card.field.margin)
        image, labels = cropped(image, box), labels[..., box[0], box[1]]
    chosen = training_planes(labels, item.edited_planes)
    picked = _planes_of(image, chosen)
    chosen_labels = labels.reshape(-1, *labels.shape[-2:])[chosen]
    prepared = prepare(picked, card)
    on_network_grid = prepare_labels(network_classes(chosen_labels, card), prepared)
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(item.name.encode()).digest()[:4], "little")])
    pictures = [picked] + [_windowed(picked, rng) for _ in range(n_windows if image.units == "HU" else 0)]
    stacks = [_compact(prepare(picture, card).planes) for picture in pictures]
    planes = tuple(
        LabelledPlane(tuple(stack[index] for stack in stacks), plane_labels)
        for index, plane_labels in enumerate(on_network_grid)
    )
    return LabelledImage(item.name, planes, item.weight)


def training_planes(labels: NDArray[np.integer], edited: Sequence[int]) -> NDArray[np.intp]:
    """Choose the planes of a volume to learn from: at most `MAX_PLANES_PER_IMAGE`, ascending.

    Those that a person edited and their neighbours come first, since they hold what the model did not know; then
    planes spread over the volume, among them some without any label.

    Parameters
    ----------
    labels
        (z, y, x), or (y, x) for a single plane.
    edited
        Indices of edited planes; empty where that is unknown.
    """
    n_planes = 1 if labels.ndim == 2 else labels.shape[0]
    if n_planes <= MAX_PLANES_PER_IMAGE:
        return np.arange(n_planes)
    near = {plane + offset for plane in edited for offset in (-1, 0, 1)}
    taught = np.array(sorted(near & set(range(n_planes))), dtype=np.intp)
    room = MAX_PLANES_PER_IMAGE // 2 if len(taught) else MAX_PLANES_PER_IMAGE
    spread = np.linspace(0, n_planes - 1, room).round().astype(np.intp)
    taught = _thinned(taught, MAX_PLANES_PER_IMAGE - room)
    return np.unique(np.concatenate([taught, spread]))


@dataclass(frozen=True)
class Batches:
    """Batches that depend on the seed and the step alone, so that a resumed run sees what it would have seen.

    Parameters
    ----------
    train, replay
        What is to be learnt, and older data that must not be forgotten; images are drawn by their weights, then
        their planes evenly.
    augmenter, replay_augmenter
        Cut patches from what is to be learnt and from what is replayed.
    batch_size, replay_share
        Patches in a batch, and the share of them that is replayed where there is anything to replay.
    seed
        Of all draws.
    """

    train: Sequence[LabelledImage]
    replay: Sequence[LabelledImage]
    augmenter: Augmenter
    replay_augmenter: Augmenter
    batch_size: int
    replay_share: float
    seed: int

    @property
    def n_replayed(self) -> int:
        """How many patches of each batch are replayed; they come first."""
        return round(self.batch_size * self.replay_share) if self.replay else 0

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Patches (n, c, patch, patch) float32 and labels (n, patch, patch) int64 of one step."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [_draw(self.replay, self.replay_augmenter, rng) for _ in range(self.n_replayed)]
        drawn += [_draw(self.train, self.augmenter, rng) for _ in range(self.batch_size - self.n_replayed)]
        return torch.stack([patch for patch, _ in drawn]), torch.stack([labels for _, labels in drawn])


def _draw(pool: Sequence[LabelledImage], augmenter: Augmenter, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    shares = np.cumsum([image.weight for image in pool])
    image = pool[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
    plane = image.planes[int(rng.integers(len(image.planes)))]
    return augmenter.patch(plane.view(rng), plane.labels, rng)


def _planes_of(image: Image, chosen: NDArray[np.intp]) -> Image:
    if len(image.spatial_axes) == 2:
        return Image(image.pixels[np.newaxis], "Z" + image.axes, units=image.units, name=image.name)
    return Image(image.pixels[chosen], image.axes, units=image.units, name=image.name)


def _windowed(image: Image, rng: np.random.Generator) -> Image:
    """Return the CT as somebody might have exported it: an 8-bit picture of some window."""
    low, high = rng.uniform(*WINDOW_LOW_HU), rng.uniform(*WINDOW_HIGH_HU)
    pressed = np.clip((image.pixels.astype(np.float32) - low) / (high - low), 0, 1) * 255.0
    return Image(pressed.round().astype(np.uint8), image.axes, units="grey", name=image.name)


def _compact(planes: NDArray[np.float32]) -> NDArray[np.float16]:
    """Half the memory; twelve bits are more than these pictures have."""
    return planes.astype(np.float16)


def _thinned(values: NDArray[np.intp], at_most: int) -> NDArray[np.intp]:
    if len(values) <= at_most:
        return values
    return values[np.linspace(0, len(values) - 1, at_most).round().astype(np.intp)]
