"""A case as a picture: the reference on the left, the labels to be judged on the right."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.tasks import Task
from training.evaluation.scores import EvaluatedCase

FIGURE_PX = 360
OVERLAY_OPACITY = 0.45


@dataclass(frozen=True, eq=False)
class CaseFigure:
    """What `rgb` (y, x, 3) shows, and its mean Dice."""

    name: str
    dice: float
    rgb: NDArray[np.uint8]


def draw_case_figure(evaluated: EvaluatedCase, task: Task) -> CaseFigure:
    """Draw a case; of a volume the plane with most wrong voxels."""
    ours, theirs = (labels > 0 if task.instances else labels for labels in (evaluated.predicted, evaluated.reference))
    wrong = (ours != theirs).reshape(-1, *evaluated.reference.shape[-2:])
    index = int(np.count_nonzero(wrong, axis=(1, 2)).argmax())
    plane = _plane_to_rgb(evaluated.image, index)
    step = max(1, -(-max(plane.shape[:2]) // FIGURE_PX))
    panels = [
        _overlay_labels(plane, labels.reshape(wrong.shape)[index], task)[::step, ::step]
        for labels in (evaluated.reference, evaluated.predicted)
    ]
    return CaseFigure(evaluated.score.name, evaluated.score.mean_dice, np.concatenate(panels, axis=1))


def blank_out_image(evaluated: EvaluatedCase) -> EvaluatedCase:
    """Return the case with a black image: labels may be shown where their image must not be."""
    return replace(evaluated, image=evaluated.image.replace_pixels(np.zeros_like(evaluated.image.pixels)))


def _plane_to_rgb(image: Image, index: int) -> NDArray[np.floating[Any]]:
    """Return one plane as colours in [0, 1], (y, x, 3)."""
    pixels = image.pixels if len(image.spatial_axes) == 3 else image.pixels[np.newaxis]
    plane = pixels[index].astype(np.float32)
    low, high = np.percentile(plane, (1, 99))
    plane = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    shown: NDArray[np.floating[Any]] = plane if plane.ndim == 3 else np.repeat(plane[..., np.newaxis], 3, axis=-1)
    return shown[..., :3]


def _overlay_labels(
    plane: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], task: Task
) -> NDArray[np.uint8]:
    rgb = plane * 255.0
    if task.instances:  # outlines, as touching objects would run into one another
        rims = ndimage.grey_erosion(labels, 3) != ndimage.grey_dilation(labels, 3)
        rgb[rims & (labels > 0)] = _parse_colour(task.labels[0].colour)
        return rgb.round().astype(np.uint8)
    for label in task.labels:
        inside = labels == label.value
        rgb[inside] = (1 - OVERLAY_OPACITY) * rgb[inside] + OVERLAY_OPACITY * _parse_colour(label.colour)
    return rgb.round().astype(np.uint8)


def _parse_colour(text: str) -> NDArray[np.float32]:
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32)
