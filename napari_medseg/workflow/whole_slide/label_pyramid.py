"""Labels of a whole slide as OME-Zarr 0.4: a pyramid on disk that is written window by window.

Reduced levels hold every second, fourth, ... pixel (nearest neighbour), so they never show a number that is not there,
and a window can be reduced by itself. Parts without labels take no space.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.label_files.description import parse_colour
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.whole_slide.chunks import Box
from napari_medseg.workflow.whole_slide.grid import ModelGrid

STORED_CHUNK_PX = 512
REPLACED_PX = 4 * STORED_CHUNK_PX
"""An object that was joined over many chunks may be as large as the slide; its numbers are replaced in such pieces."""
SMALLEST_LEVEL_PX = 1024
"""Levels are halved until the longer side is at most this."""
OPAQUE = 255
MADE_BY = {"made by": "napari-medseg"}
"""In the metadata; it tells labels of ours from others."""


class LabelPyramid:
    """The levels of one set of labels; open it with `open_pyramid`, make it with `create_pyramid`.

    Parameters
    ----------
    levels
        zarr arrays (y, x), level 0 first; level k is reduced by 2**k.
    """

    def __init__(self, path: Path, levels: Sequence[Any]) -> None:
        self.path = path
        self.levels = tuple(levels)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of level 0."""
        height, width = self.levels[0].shape
        return int(height), int(width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        dtype: np.dtype[Any] = self.levels[0].dtype
        return dtype

    def read(self, box: Box, level: int = 0) -> NDArray[Any]:
        """Return a part of a level (h, w), as an array of its own."""
        return np.asarray(self.levels[level][box])

    def write(self, labels: NDArray[Any], box: Box) -> None:
        """Write a part of level 0, and what it changes in the reduced levels.

        Parameters
        ----------
        labels
            (h, w): all labels of the part.
        box
            Its place on level 0.
        """
        for number, level in enumerate(self.levels):
            step = 2**number
            first = [-(-side.start // step) for side in box]  # of the pixels of this level that lie in the part
            begin = [one * step - side.start for one, side in zip(first, box, strict=True)]
            part = labels[begin[0] :: step, begin[1] :: step]
            height = min(part.shape[0], level.shape[0] - first[0])
            width = min(part.shape[1], level.shape[1] - first[1])
            if height > 0 and width > 0:
                target = (slice(first[0], first[0] + height), slice(first[1], first[1] + width))
                level[target] = part[:height, :width]

    def replace(self, old: int, new: int, box: Box) -> None:
        """Give the pixels of a number another one, in a part of the slide of any size: it is read piece by piece."""
        for part in _divide(box, REPLACED_PX):
            labels = self.read(part)
            is_old = labels == old
            if is_old.any():
                labels[is_old] = new
                self.write(labels, part)


def _divide(box: Box, side_px: int) -> Iterator[Box]:
    """Yield the pieces of a box that lie on a grid over the whole slide."""
    rows, columns = (
        [
            slice(max(side.start, at), min(side.stop, at + side_px))
            for at in range(side.start // side_px * side_px, side.stop, side_px)
        ]
        for side in box
    )
    yield from product(rows, columns)


def create_pyramid(path: Path, grid: ModelGrid, dtype: np.dtype[Any], task: Task, name: str) -> LabelPyramid:
    """Make an empty pyramid; an OME-Zarr that is there is replaced.

    Parameters
    ----------
    path
        Folder, by convention ``*.zarr``.
    grid
        Gives size and resolution.
    dtype
        uint32 for objects, else the smallest type that holds the labels.
    task
        Gives the colours of the labels.
    name
        Of the image in the metadata; it must name no one.

    Raises
    ------
    MedSegError
        If zarr is not installed, or the folder cannot be written to.
    """
    zarr, numcodecs = _load_zarr()
    try:
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        n_levels = _count_levels(grid)
        levels = []
        for number in range(n_levels):
            step = 2**number
            shape = (-(-grid.height // step), -(-grid.width // step))
            levels.append(
                group.create_array(
                    str(number),
                    shape=shape,
                    chunks=(min(STORED_CHUNK_PX, shape[0]), min(STORED_CHUNK_PX, shape[1])),
                    dtype=dtype,
                    fill_value=0,
                    compressors=numcodecs.Blosc(cname="zstd", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE),
                    chunk_key_encoding={"name": "v2", "separator": "/"},
                    config={"write_empty_chunks": False},
                )
            )
        group.attrs.update(_describe(grid, n_levels, task, name))
    except OSError as error:
        raise MedSegError(
            f"cannot make {path}: {get_reason(error)}. Free disk space, or choose another folder."
        ) from error
    return LabelPyramid(path, levels)


def open_pyramid(path: Path, *, writable: bool = False) -> LabelPyramid:
    """Open a pyramid that `create_pyramid` made.

    Raises
    ------
    MedSegError
        If it is missing or damaged.
    """
    zarr, _ = _load_zarr()
    try:
        group = zarr.open_group(str(path), mode="r+" if writable else "r")
        paths = [dataset["path"] for dataset in group.attrs["multiscales"][0]["datasets"]]
        return LabelPyramid(path, [group[name] for name in paths])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise MedSegError(
            f"{path} holds no labels of a slide: {get_reason(error)}. Predict the slide again."
        ) from error


def read_pyramid_name(path: Path) -> str | None:
    """Return the name that `create_pyramid` gave to what lies there; `None` if it did not make it."""
    try:
        (described,) = json.loads((path / ".zattrs").read_text("utf-8"))["multiscales"]
        return str(described["name"]) if described["metadata"] == MADE_BY else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def choose_dtype(task: Task) -> np.dtype[Any]:
    """Return the type that the labels of a task need."""
    if task.instances:
        return np.dtype(np.uint32)
    return np.dtype(np.uint8 if task.largest_value <= np.iinfo(np.uint8).max else np.uint16)


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files that a killed process left in a pyramid."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink(missing_ok=True)


def _count_levels(grid: ModelGrid) -> int:
    n_levels, longest = 1, max(grid.height, grid.width)
    while longest > SMALLEST_LEVEL_PX:
        longest = -(-longest // 2)
        n_levels += 1
    return n_levels


def _describe(grid: ModelGrid, n_levels: int, task: Task, name: str) -> dict[str, Any]:
    """Return the metadata of OME-NGFF 0.4: a multiscale image that is a label image."""
    um = grid.um_per_px
    axis = {"type": "space"} if um is None else {"type": "space", "unit": "micrometer"}
    scale = 1.0 if um is None else um
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": [scale * 2**number, scale * 2**number]}],
        }
        for number in range(n_levels)
    ]
    axes = [{"name": "y", **axis}, {"name": "x", **axis}]
    colours = (
        []
        if task.instances
        else [{"label-value": label.value, "rgba": [*parse_colour(label.colour), OPAQUE]} for label in task.labels]
    )
    names = [] if task.instances else [{"label-value": label.value, "class": label.name} for label in task.labels]
    described = {"name": name, "axes": axes, "datasets": datasets, "type": "nearest", "metadata": MADE_BY}
    return {
        "multiscales": [{"version": "0.4", **described}],
        "image-label": {"version": "0.4", "colors": colours, "properties": names},
    }


def _load_zarr() -> tuple[Any, Any]:
    try:
        import numcodecs
        import zarr
    except ImportError as error:
        raise MedSegError(
            "labels of a slide are stored as OME-Zarr, and zarr is not installed. "
            'Run: pip install "napari-medseg[slides]"'
        ) from error
    return zarr, numcodecs
