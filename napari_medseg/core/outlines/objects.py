"""Objects of annotation files, as outlines or run lengths, and the labels that they become.

An object is drawn where it lies, and neither its mask nor a picture is expanded for it: a file of 100,000 nuclei takes
as long as their pixels, and a file that declares a huge picture takes no more memory than its text.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError
from napari_medseg.core.outlines.pixel_runs import iterate_polygon_runs, split_into_columns

MIN_CORNERS = 3
MAX_CORNERS_AT_ONCE = 50_000
MAX_OBJECTS_AT_ONCE = 1_000


@dataclass(frozen=True, eq=False)
class RunLengths:
    """The mask of an object as run lengths.

    Parameters
    ----------
    shape
        Height and width of the picture that the file states.
    lengths
        int64 (n,): lengths of background and object in turn, down the columns; their sum is height x width.
    """

    shape: tuple[int, int]
    lengths: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object.

    Parameters
    ----------
    name
        Name of its category; empty if the file has none.
    rings
        Closed polygons, float64 (corners, 2) as (y, x) in pixels from the image corner; the object is their union.
    run_lengths
        The object, if the file stores a mask instead of polygons.
    is_hole
        Whether the object is cut out of the objects before it.
    """

    name: str
    rings: tuple[NDArray[np.float64], ...] = ()
    run_lengths: RunLengths | None = None
    is_hole: bool = False


def make_ring(corners: Sequence[Any]) -> NDArray[np.float64]:
    """Return a ring, float64 (corners, 2), of (y, x) pairs.

    Raises
    ------
    ValueError
        If a corner is no pair of finite numbers.
    """
    ring = np.array(corners, np.float64).reshape(-1, 2)
    if not np.isfinite(ring).all():
        raise ValueError("a corner is not a finite number")
    return ring


def rasterise_labels(
    outlines: Sequence[AnnotatedObject], shape: tuple[int, int], values: Mapping[str, int] | None
) -> NDArray[np.unsignedinteger[Any]]:
    """Return labels, unsigned (y, x), of outlines; later outlines overwrite earlier ones.

    Parameters
    ----------
    outlines
        Objects in the order of the file.
    shape
        Height and width of the image.
    values
        Label value of each category name; `None` numbers the objects from 1.

    Raises
    ------
    GridMismatchError
        If the mask of an object has another size.
    """
    largest = len(outlines) if values is None else max(values.values(), default=0)
    labels = np.zeros(shape, np.min_scalar_type(largest))
    for portion in _iterate_portions(outlines, _list_values(outlines, values)):
        if portion.masks:
            _draw_masks(labels, portion)
        else:
            _draw_rings(labels, portion)
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))), copy=False)


@dataclass(eq=False)
class _Portion:
    """Rings or masks that follow one another in the file, with the label value of each."""

    rings: list[NDArray[np.float64]] = field(default_factory=list)
    masks: list[RunLengths] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    size: int = 0


def _list_values(outlines: Sequence[AnnotatedObject], values: Mapping[str, int] | None) -> list[int]:
    """Return the label value of each object: 0 for a hole, else that of its category, or its number."""
    numbers = itertools.count(1)
    wanted = [0 if outline.is_hole else next(numbers) for outline in outlines]
    if values is None:
        return wanted
    return [values[outline.name] if number else 0 for outline, number in zip(outlines, wanted, strict=True)]


def _iterate_portions(outlines: Sequence[AnnotatedObject], values: Sequence[int]) -> Iterator[_Portion]:
    portion = _Portion()
    for outline, value in zip(outlines, values, strict=True):
        mask, rings = outline.run_lengths, [ring for ring in outline.rings if len(ring) >= MIN_CORNERS]
        size = sum(map(len, rings)) if mask is None else len(mask.lengths)
        changes_kind = bool(portion.rings) if mask is not None else bool(portion.masks)
        is_full = portion.size + size > MAX_CORNERS_AT_ONCE or len(portion.values) >= MAX_OBJECTS_AT_ONCE
        if portion.values and (changes_kind or is_full):
            yield portion
            portion = _Portion()
        portion.rings += rings
        portion.masks += [] if mask is None else [mask]
        portion.values += [value] * (len(rings) if mask is None else 1)
        portion.size += size
    if portion.values:
        yield portion


def _draw_rings(labels: NDArray[Any], portion: _Portion) -> None:
    for runs in iterate_polygon_runs(portion.rings, (labels.shape[0], labels.shape[1])):
        for number, rows, columns in runs.iterate_pixels():
            labels[rows, columns] = portion.values[number]


def _draw_masks(labels: NDArray[Any], portion: _Portion) -> None:
    for mask in portion.masks:
        if mask.shape != labels.shape:
            raise GridMismatchError(
                f"an object has a mask of {mask.shape[1]} x {mask.shape[0]} pixels, but the image has "
                f"{labels.shape[1]} x {labels.shape[0]}. Choose the annotations that were made on this image."
            )
    runs = split_into_columns([mask.lengths for mask in portion.masks], (labels.shape[0], labels.shape[1]))
    for number, columns, rows in runs.iterate_pixels():
        labels[rows, columns] = portion.values[number]
