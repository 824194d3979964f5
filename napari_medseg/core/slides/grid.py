"""A grid of fields on the tissue of a slide."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.fields import Field, refuse_too_large
from napari_medseg.core.slides.slide import Slide, compute_spacing
from napari_medseg.core.slides.tissue import Tissue

MIN_FIELD_PX = 16


@dataclass(frozen=True)
class GridChoice:
    """What a person wants.

    Parameters
    ----------
    size_px
        Height and width of a field in pixels of its level.
    level
        Level of the fields.
    min_share
        Least share of tissue in a field, in [0, 1].
    max_fields
        At most so many; `None` for all.
    seed
        Of the choice if there are more than `max_fields`.
    """

    size_px: int
    level: int = 0
    min_share: float = 0.5
    max_fields: int | None = 20
    seed: int = 0


def convert_um_to_px(slide: Slide, level: int, size_um: float) -> int:
    """Return micrometres as pixels of a level.

    Raises
    ------
    MedSegError
        If the slide does not say its resolution.
    """
    spacing = compute_spacing(slide, level)
    if spacing is None:
        raise MedSegError(f"{slide.name} does not say its resolution. Give the size of fields in pixels.")
    return max(1, round(size_um / 1000 / spacing[1]))


def make_grid(slide: Slide, tissue: Tissue, choice: GridChoice, existing: Iterable[Field] = ()) -> list[Field]:
    """Return fields side by side on tissue, row by row; if there are more than wanted, some of them by chance.

    Parameters
    ----------
    slide, tissue
        The slide and its tissue.
    choice
        What is wanted.
    existing
        Fields that are there already: no new one overlaps them.

    Raises
    ------
    MedSegError
        If the choice makes no sense, or no place has enough tissue.
    """
    if choice.size_px < MIN_FIELD_PX or not 0 <= choice.level < len(slide.levels):
        raise MedSegError(
            f"fields of {choice.size_px} pixels at level {choice.level} cannot be made; the least are {MIN_FIELD_PX} "
            f"pixels, at a level from 0 to {len(slide.levels) - 1}."
        )
    level = slide.levels[choice.level]
    refuse_too_large(Field(slide.path, choice.level, 0, 0, choice.size_px, choice.size_px))
    if choice.size_px > min(level.height, level.width):
        raise MedSegError(
            f"fields of {choice.size_px:,} pixels do not fit onto level {choice.level} of {slide.name} "
            f"({level.width:,} x {level.height:,}). Choose smaller ones, or a finer level."
        )
    starts = _list_starts(level.height, level.width, choice.size_px)
    boxes = np.hstack([starts, starts + choice.size_px]) * level.downsample
    shares = tissue.measure_shares(boxes)
    fits = shares >= max(choice.min_share, 1e-9)
    if not fits.any():
        raise MedSegError(
            f"no place of {slide.name} has {choice.min_share:.0%} of tissue; the fullest has "
            f"{shares.max(initial=0):.0%}. Choose a smaller share, or smaller fields."
        )
    free = np.flatnonzero(fits & ~_overlap_any(boxes, [field.get_box(slide) for field in existing]))
    if not free.size:
        raise MedSegError(f"all tissue of {slide.name} is covered by fields already. Choose another size or share.")
    if choice.max_fields is not None and free.size > choice.max_fields:
        chosen = np.random.default_rng(choice.seed).choice(free, choice.max_fields, replace=False)
        free = np.sort(chosen)
    return [
        Field(slide.path, choice.level, round(top), round(left), choice.size_px, choice.size_px)
        for top, left in boxes[free, :2].tolist()
    ]


def _list_starts(height: int, width: int, size: int) -> NDArray[np.float64]:
    """Return (n, 2) upper left corners; the grid is centred, so that no edge is left out more than the other."""
    rows = (height % size) // 2 + np.arange(height // size) * size
    columns = (width % size) // 2 + np.arange(width // size) * size
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    return grid.reshape(-1, 2).astype(np.float64)


def _overlap_any(boxes: NDArray[np.float64], others: list[tuple[float, float, float, float]]) -> NDArray[np.bool_]:
    overlaps = np.zeros(len(boxes), bool)
    for top, left, bottom, right in others:
        overlaps |= (boxes[:, 0] < bottom) & (boxes[:, 2] > top) & (boxes[:, 1] < right) & (boxes[:, 3] > left)
    return overlaps
