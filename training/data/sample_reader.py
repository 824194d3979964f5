"""Read the items of a snapshot as labelled planes in memory, with the same preprocessing as for prediction.

A CT in HU is also kept in a few other grey windows, each converted to 8 bits and prepared like any 8-bit image. The
model then also learns from windows that people use to export images.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard, PostprocessingStep
from napari_medseg.core.snapshot import IGNORE_INDEX, Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.preprocess import prepare, prepare_labels
from napari_medseg.inference.roi import compute_roi_box, crop_image
from training.data.dataset import LabelledImage, LabelledPlane
from training.data.ignore_regions import get_reviewed_part
from training.data.instance_targets import make_network_targets
from training.data.label_sets import mark_certain, replace_by_sets
from training.data.label_transforms import apply_label_steps

MAX_PLANES_PER_IMAGE = 48
WINDOW_LOW_HU = (-1400.0, -700.0)
WINDOW_HIGH_HU = (-50.0, 1000.0)


@dataclass(frozen=True, eq=False)
class SampleReader:
    """Reads and prepares the items of one snapshot for one network.

    Parameters
    ----------
    root
        Folder of the snapshot.
    card
        Card whose preprocessing is used.
    task
        Task of the labels.
    seed
        Seed for the choice of grey windows.
    roi_model
        Predictor of the region of interest, used for items without labels of that region.
    label_steps
        Steps applied to the labels first; see `training.data.label_transforms`.
    notices
        What the predictor of the region of interest tells the user.
    """

    root: Path
    card: ModelCard
    task: Task
    seed: int
    roi_model: Predictor | None = None
    label_steps: tuple[PostprocessingStep, ...] = ()
    notices: list[str] = field(default_factory=list)

    def read_image(self, item: SnapshotItem, n_windows: int = 0) -> LabelledImage:
        """Read and prepare one item.

        Parameters
        ----------
        item
            The item to read. Unreviewed pixels become `IGNORE_INDEX`; planes with only such pixels are excluded.
        n_windows
            Number of other grey windows of a CT in HU.

        Raises
        ------
        MedSegError
            As `read_item`; also if the steps make more classes than the network has, or if the region of interest
            contains no reviewed pixel.
        """
        image, labels, unseen = read_item(item, self.root, self.task)
        labels = apply_label_steps(labels, self.label_steps)
        whole = image.spatial_shape
        image, box = self._crop_to_roi(image, item)
        labels, unseen = labels[..., box[0], box[1]], unseen[..., box[0], box[1]]
        certain = read_certain_mask(item, self.root, image_shape=whole)[..., box[0], box[1]]
        chosen = _choose_reviewed_planes(labels, unseen, item.edited_planes)
        if not chosen.size:
            raise MedSegError(
                f"no reviewed pixel of {item.name} is in the region of interest of {self.card.id}. "
                "Open the case and mark a part of this region as reviewed, or exclude the case."
            )
        picked = _take_planes(image, chosen)
        prepared = prepare(picked, self.card)
        of_planes = [_flatten_to_planes(part)[chosen] for part in (labels, unseen, certain)]
        on_network_grid = prepare_labels(self._make_targets(of_planes[0], of_planes[1], of_planes[2], item), prepared)
        key = int.from_bytes(hashlib.sha256(item.name.encode()).digest()[:4], "little")
        rng = np.random.default_rng([self.seed, key])
        pictures = [picked] + [
            _apply_random_window(picked, rng) for _ in range(n_windows if image.units == "HU" else 0)
        ]
        stacks = [_to_float16(prepare(picture, self.card).planes) for picture in pictures]
        planes = tuple(
            LabelledPlane(tuple(stack[index] for stack in stacks), plane_labels, prepared.plane_shape)
            for index, plane_labels in enumerate(on_network_grid)
        )
        return LabelledImage(item.name, planes, item.weight, item.source)

    def _crop_to_roi(self, image: Image, item: SnapshotItem) -> tuple[Image, tuple[slice, slice]]:
        if self.card.field is None or not (item.field_labels or self.roi_model is not None):
            return image, (slice(None), slice(None))
        field = (
            formats.read_labels(self.root / item.field_labels, image, expected_shape=image.spatial_shape)
            if item.field_labels or self.roi_model is None
            else self.roi_model.predict_labels(image, self.notices.append)
        )
        box = compute_roi_box(field, self.card.field.margin)
        return crop_image(image, box), box

    def _make_targets(
        self,
        labels: NDArray[np.integer],
        unseen: NDArray[np.bool_],
        certain: NDArray[np.bool_],
        item: SnapshotItem,
    ) -> NDArray[np.integer]:
        classes, n_classes = make_network_targets(labels, self.card), self.card.architecture.classes
        if self.label_steps and int(classes.max(initial=0)) >= n_classes:
            raise MedSegError(
                f"the label steps make class {int(classes.max())}, but {self.card.id} has {n_classes} classes, "
                "including background. Change the label steps, or train a network with more classes."
            )
        classes = replace_by_sets(classes, labels, item.label_sets, n_classes, self.task.sides)
        classes = mark_certain(classes, certain, n_classes)
        return np.where(unseen, IGNORE_INDEX, classes) if unseen.any() else classes


def read_certain_mask(item: SnapshotItem, root: Path, image_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels of an item that a person painted or called right, bool of the shape of its labels.

    Raises
    ------
    MedSegError
        If the mask is missing, does not fit, or changed after the snapshot.
    """
    if not item.certain_mask:
        return np.broadcast_to(np.False_, image_shape)
    path = root / item.certain_mask
    check_labels_file(item.name, path, item.certain_sha256)
    mask = formats.read_labels(path, None, expected_shape=image_shape) > 0
    if mask.size != np.prod(image_shape):
        raise MedSegError(f"{path.name} has shape {mask.shape}, the image {image_shape}. Make a new run.")
    return mask.reshape(image_shape)


def read_item(item: SnapshotItem, root: Path, task: Task) -> tuple[Image, NDArray[np.integer], NDArray[np.bool_]]:
    """Read the image and the labels of a snapshot's item, and the mask of pixels to ignore (shape of the labels).

    The labels of an unlabelled image are 0; nothing is learnt from them.

    Raises
    ------
    MedSegError
        If a file is missing or damaged, the grids differ, or the labels changed after the snapshot.
    """
    if item.role is Role.UNLABELLED:
        image = read_item_image(item, root)
        return image, np.zeros(image.spatial_shape, np.uint8), np.zeros(image.spatial_shape, bool)
    labels_path = root / item.labels
    check_labels_file(item.name, labels_path, item.labels_sha256)
    image = read_item_image(item, root)
    # Labels of a project have the size of their image; empty ones shrink far more than a foreign file may.
    labels = formats.read_labels(labels_path, image, expected_shape=image.spatial_shape)
    part = get_reviewed_part(item, root)
    unseen = np.zeros(labels.shape, bool) if part is None else part.compute_ignore_mask(labels, image)
    if item.ignored_value is not None:
        labels = np.where(labels == item.ignored_value, 0, labels)
    check_label_values(item.name, labels, task)
    return image, labels, unseen


def read_item_image(item: SnapshotItem, root: Path) -> Image:
    """Read the image of an item: that of a project by the shape that the project knows, others up to the two limits."""
    return formats.read(root / item.image, expected_shape=item.image_shape or None)


def check_labels_file(name: str, path: Path, sha256: str) -> None:
    """Raise `MedSegError` if the labels of a case changed after the snapshot; without a hash nothing is checked."""
    if sha256 and path.exists() and compute_file_sha256(path) != sha256:
        raise MedSegError(
            f"the labels of {name} ({path.name}) changed after the snapshot was frozen. "
            "Restore the file, or make a new run."
        )


def check_label_values(name: str, labels: NDArray[np.integer], task: Task) -> None:
    """Raise `MedSegError` if the labels of a case have a value that the task does not have."""
    if labels.size and int(labels.max()) > task.largest_value:
        raise MedSegError(
            f"the labels of {name} have the value {int(labels.max())}, but the largest value of task {task.name!r} is "
            f"{task.largest_value}. Correct the labels and accept the case again."
        )


def find_largest_label(item: SnapshotItem, root: Path) -> int:
    """Return the largest label value of an item, or 0 if nothing is labelled; `ignored_value` does not count."""
    labels = formats.read_labels(root / item.labels, None, expected_shape=item.image_shape or None)
    return int(labels.max(initial=0, where=labels != item.ignored_value))


def choose_training_planes(labels: NDArray[np.integer], edited: Sequence[int]) -> NDArray[np.intp]:
    """Choose the training planes of a volume: at most `MAX_PLANES_PER_IMAGE` indices, ascending.

    Edited planes and their neighbours come first, because there the model was wrong. Then planes spread over the volume
    are added, including some without labels.

    Parameters
    ----------
    labels
        (z, y, x), or (y, x) for a single plane.
    edited
        Indices of edited planes; empty if unknown.
    """
    n_planes = 1 if labels.ndim == 2 else labels.shape[0]
    if n_planes <= MAX_PLANES_PER_IMAGE:
        return np.arange(n_planes)
    near = {plane + offset for plane in edited for offset in (-1, 0, 1)}
    taught = np.array(sorted(near & set(range(n_planes))), dtype=np.intp)
    room = MAX_PLANES_PER_IMAGE // 2 if len(taught) else MAX_PLANES_PER_IMAGE
    spread = np.linspace(0, n_planes - 1, room).round().astype(np.intp)
    taught = _thin_evenly(taught, MAX_PLANES_PER_IMAGE - room)
    return np.unique(np.concatenate([taught, spread]))


def _take_planes(image: Image, chosen: NDArray[np.intp]) -> Image:
    if len(image.spatial_axes) == 2:
        axes, pixels = "Z" + image.axes, image.pixels[np.newaxis]
    else:
        axes, pixels = image.axes, image.pixels[chosen]
    return Image(pixels, axes, units=image.units, name=image.name, padding_value=image.padding_value)


def _apply_random_window(image: Image, rng: np.random.Generator) -> Image:
    """Return the CT as an 8-bit image in a random grey window, like an exported image."""
    low, high = rng.uniform(*WINDOW_LOW_HU), rng.uniform(*WINDOW_HIGH_HU)
    pressed = np.clip((image.pixels.astype(np.float32) - low) / (high - low), 0, 1) * 255.0
    return Image(pressed.round().astype(np.uint8), image.axes, units="grey", name=image.name)


def _to_float16(planes: NDArray[np.float32]) -> NDArray[np.float16]:
    """Convert to float16, which needs half the memory; its precision is sufficient for these images."""
    return planes.astype(np.float16)


def _choose_reviewed_planes(
    labels: NDArray[np.integer], unseen: NDArray[np.bool_], edited: Sequence[int]
) -> NDArray[np.intp]:
    """Choose planes as `choose_training_planes`, among those with at least one reviewed pixel."""
    counting = np.flatnonzero(~_flatten_to_planes(unseen).all(axis=(1, 2)))
    places = np.searchsorted(counting, [plane for plane in edited if plane in counting])
    chosen: NDArray[np.intp] = counting[choose_training_planes(_flatten_to_planes(labels)[counting], places.tolist())]
    return chosen


def _flatten_to_planes(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.reshape(-1, *labels.shape[-2:])


def _thin_evenly(values: NDArray[np.intp], at_most: int) -> NDArray[np.intp]:
    if len(values) <= at_most:
        return values
    return values[np.linspace(0, len(values) - 1, at_most).round().astype(np.intp)]
