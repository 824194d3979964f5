"""Coronal and sagittal slices of a series as small pictures: cut, windowed, and with the labels on top. No Qt."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.tasks.display_windows import Limits

N_TABLE = 256
"""Labels of a task are below this; object numbers are not."""


class Plane(IntEnum):
    """A plane through a volume (z, y, x); its value is the axis across it."""

    CORONAL = 1
    SAGITTAL = 2

    @property
    def column_axis(self) -> int:
        """The axis of the volume along the columns of the picture; its rows are the slices, the last one on top."""
        return 3 - self.value


class LabelColours(Protocol):
    """A napari colormap of labels."""

    def map(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return RGBA in [0, 1] of each value."""


@dataclass(frozen=True, eq=False)
class LabelLook:
    """How labels are drawn: `colours`, and their `opacity` in [0, 1]."""

    colours: LabelColours
    opacity: float


def choose_steps(shape: tuple[int, ...], plane: Plane, room_px: tuple[int, int]) -> tuple[int, int]:
    """Return every how many-th slice and column is drawn, so that a picture has at most twice the pixels of its room.

    Parameters
    ----------
    shape
        Of the volume, (z, y, x).
    plane
        What is drawn.
    room_px
        Width and height on the screen.
    """
    width, height = room_px
    return (
        max(1, shape[0] // max(1, 2 * height)),
        max(1, shape[plane.column_axis] // max(1, 2 * width)),
    )


def cut_plane(volume: NDArray[Any], plane: Plane, index: int, steps: tuple[int, int] = (1, 1)) -> NDArray[Any]:
    """Return a view of one plane of a volume (z, y, x) or (z, y, x, 3): rows are slices with the last one on top.

    The last slice is that nearest to the head, since z grows to the head.
    """
    rows, columns = (slice(None, None, step) for step in steps)
    cut = volume[rows, index, columns] if plane is Plane.CORONAL else volume[rows, columns, index]
    return cut[::-1]


def draw_plane(
    values: NDArray[Any], limits: Limits, labels: NDArray[Any] | None = None, look: LabelLook | None = None
) -> NDArray[np.uint8]:
    """Return a picture of a plane, RGB (h, w, 3).

    Parameters
    ----------
    values
        Grey values (h, w), or colours (h, w, 3) of 8 bits.
    limits
        The grey values shown black and white.
    labels, look
        Labels (h, w) to draw on top, 0 is transparent, and how they look; `None`: without labels.
    """
    is_colour = values.ndim == 3
    grey = None if is_colour else _scale_grey(values, limits)
    if labels is None or look is None or not labels.any():
        return np.array(values, np.uint8) if grey is None else np.repeat(grey[..., np.newaxis], 3, axis=-1)
    if grey is not None and int(labels.max()) < N_TABLE:
        return _make_table(int(labels.max()) + 1, labels.dtype, look)[labels, grey]
    picture = np.array(values, np.uint8) if grey is None else np.repeat(grey[..., np.newaxis], 3, axis=-1)
    where = labels != 0
    found, place = np.unique(labels[where], return_inverse=True)
    colours = look.colours.map(found)[place]
    alpha = colours[:, 3:] * look.opacity
    picture[where] = (picture[where] * (1 - alpha) + colours[:, :3] * 255 * alpha).astype(np.uint8)
    return picture


def _scale_grey(values: NDArray[Any], limits: Limits) -> NDArray[np.uint8]:
    low, high = limits
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / max(high - low, 1e-12))
    np.clip(scaled, 0.0, 255.0, out=scaled)
    return (np.nan_to_num(scaled) if values.dtype.kind == "f" else scaled).astype(np.uint8)


def _make_table(n_labels: int, dtype: np.dtype[Any], look: LabelLook) -> NDArray[np.uint8]:
    """Return the colour of each label on each grey value, (n_labels, 256, 3): quicker than blending each pixel."""
    colours = look.colours.map(np.arange(n_labels, dtype=dtype))
    alpha = (colours[:, 3] * look.opacity * (np.arange(n_labels) > 0))[:, np.newaxis, np.newaxis]
    grey = np.arange(256.0)[np.newaxis, :, np.newaxis]
    table: NDArray[np.uint8] = (grey * (1 - alpha) + colours[:, np.newaxis, :3] * 255 * alpha).astype(np.uint8)
    return table
