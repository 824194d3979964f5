"""Figures of cases: the reference on the left, the prediction on the right; and the choice of cases to draw."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.image import Image, select_measured
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.tasks.bundled_tasks import Task
from training.evaluation.scores import EvaluatedCase

FIGURE_PX = 360
OVERLAY_OPACITY = 0.45


@dataclass(frozen=True, eq=False)
class CaseFigure:
    """The figure `rgb` (y, x, 3) of a case, with its name and mean Dice."""

    name: str
    dice: float
    rgb: NDArray[np.uint8]


def draw_case_figure(evaluated: EvaluatedCase, task: Task) -> CaseFigure:
    """Draw a case; of a volume, the plane with the most wrong voxels."""
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
    """Return the case with a black image, for images that must not be shown."""
    return replace(evaluated, image=evaluated.image.replace_pixels(np.zeros_like(evaluated.image.pixels)))


def write_case_figures(figures: Sequence[CaseFigure], path: Path) -> None:
    """Write figures into one NumPy archive (`.npz`)."""
    pictures = {f"rgb_{index}": figure.rgb for index, figure in enumerate(figures)}
    names, dices = [figure.name for figure in figures], [figure.dice for figure in figures]
    arrays: dict[str, Any] = {"names": np.array(names, str), "dices": np.array(dices, float), **pictures}
    np.savez_compressed(path, **arrays)


def read_case_figures(path: Path) -> list[CaseFigure]:
    """Read the figures that `write_case_figures` wrote; raise `MedSegError` if the file is damaged."""
    try:
        file = read_arrays(path)
        pairs = enumerate(zip(file["names"], file["dices"], strict=True))
        return [CaseFigure(str(name), float(dice), file[f"rgb_{index}"]) for index, (name, dice) in pairs]
    except (ValueError, TypeError, KeyError) as error:
        raise MedSegError(
            f"{path} is damaged ({get_reason(error)}). Delete it, then draw the figures again."
        ) from error


@dataclass(frozen=True)
class _KeptFigure:
    """A figure as a compressed PNG; `position` is the index of its case in the list of all cases."""

    position: int
    name: str
    dice: float
    png: bytes


class FigureSelection:
    """Draws the worst, median and best of many cases, although their ranks are known only after the last one.

    A compressed figure is kept while its case can still get one of the requested ranks by mean Dice. The image and
    labels of a case are not kept.

    Parameters
    ----------
    n_cases
        Expected number of cases, which defines the median cases.
    n_worst, n_median, n_best
        Number of cases of each kind to draw.
    """

    def __init__(self, n_cases: int, n_worst: int, n_median: int, n_best: int) -> None:
        self._n_cases = n_cases
        self._n_worst, self._n_median, self._n_best = n_worst, n_median, n_best
        self._keys: list[tuple[float, int]] = []
        self._figures: list[_KeptFigure | None] = []

    def add(self, evaluated: EvaluatedCase, task: Task, position: int) -> None:
        """Draw a case if it can get a requested rank; of equal cases, the one with the lower `position` is worse."""
        key = (evaluated.score.mean_dice, position)
        rank = bisect.bisect(self._keys, key)
        self._keys.insert(rank, key)
        self._figures.insert(rank, None)
        if self._can_be_wanted(rank):
            drawn = draw_case_figure(evaluated, task)
            png = imagecodecs.png_encode(np.ascontiguousarray(drawn.rgb))
            self._figures[rank] = _KeptFigure(position, drawn.name, drawn.dice, bytes(png))
        for other, kept in enumerate(self._figures):
            if kept is not None and not self._can_be_wanted(other):
                self._figures[other] = None

    def list_figures(self) -> list[CaseFigure]:
        """Return all kept figures, in the order of their cases."""
        kept = [figure for figure in self._figures if figure is not None]
        return [_unpack_figure(figure) for figure in sorted(kept, key=lambda figure: figure.position)]

    def list_worst(self, n_worst: int) -> list[CaseFigure]:
        """Return the `n_worst` figures with the lowest Dice, worst first."""
        return [_unpack_figure(figure) for figure in self._figures[:n_worst] if figure is not None]

    def list_best(self, n_best: int, n_worst: int = 0) -> list[CaseFigure]:
        """Return the `n_best` figures with the highest Dice, best first, without the `n_worst` worst ones."""
        best_first = self._figures[n_worst:][::-1][:n_best]
        return [_unpack_figure(figure) for figure in best_first if figure is not None]

    def _can_be_wanted(self, rank: int) -> bool:
        n_seen = len(self._keys)
        middle = max(0, (self._n_cases - self._n_median) // 2)
        n_to_come = max(0, self._n_cases - n_seen)
        may_be_median = self._n_median > 0 and middle - n_to_come <= rank < middle + self._n_median
        return rank < self._n_worst or rank >= n_seen - self._n_best or may_be_median


def choose_positions(dices: Sequence[float], n_worst: int, n_median: int, n_best: int) -> list[int]:
    """Return the positions of the cases that `FigureSelection` keeps once it has seen all of them, in order."""
    ranked = sorted(range(len(dices)), key=lambda position: (dices[position], position))
    middle = max(0, (len(dices) - n_median) // 2)
    wanted = {*ranked[:n_worst], *ranked[middle : middle + n_median], *ranked[max(0, len(dices) - n_best) :]}
    return sorted(wanted)


def _unpack_figure(kept: _KeptFigure) -> CaseFigure:
    return CaseFigure(kept.name, kept.dice, imagecodecs.png_decode(kept.png))


def _plane_to_rgb(image: Image, index: int) -> NDArray[np.floating[Any]]:
    """Return one plane as RGB values in [0, 1], (y, x, 3)."""
    pixels = image.pixels if len(image.spatial_axes) == 3 else image.pixels[np.newaxis]
    plane = pixels[index].astype(np.float32)
    low, high = np.percentile(select_measured(plane, image.padding_value), (1, 99))
    plane = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    shown: NDArray[np.floating[Any]] = plane if plane.ndim == 3 else np.repeat(plane[..., np.newaxis], 3, axis=-1)
    return shown[..., :3]


def _overlay_labels(
    plane: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], task: Task
) -> NDArray[np.uint8]:
    rgb = plane * 255.0
    if task.instances:  # outlines, because touching filled objects would merge
        rims = ndimage.grey_erosion(labels, 3) != ndimage.grey_dilation(labels, 3)
        rgb[rims & (labels > 0)] = _parse_colour(task.labels[0].colour)
        return rgb.round().astype(np.uint8)
    for label in task.labels:
        inside = labels == label.value
        rgb[inside] = (1 - OVERLAY_OPACITY) * rgb[inside] + OVERLAY_OPACITY * _parse_colour(label.colour)
    return rgb.round().astype(np.uint8)


def _parse_colour(text: str) -> NDArray[np.float32]:
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32)
