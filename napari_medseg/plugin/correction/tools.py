"""The tools as data: which there are, for which tasks, their keys, and which function of `core.editing` they call."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing import objects, piece_tools
from napari_medseg.core.editing.border import PICK_PX, BorderDrag, drag_border, draw_outline
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.cut import cut_objects, cut_objects_in_volume
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.pieces import Piece
from napari_medseg.core.editing.smart_brush import KnownDabs, SmartBrush, paint_similar
from napari_medseg.core.tasks.bundled_tasks import Task

STEP_MM = 1.0
MAX_STEP_PX = 3
"""Grow and shrink go by about 1 mm, but at least one pixel and at most this many."""
MIN_BORDER_RADIUS_PX = 10.0
SNAP_SHARE = 0.2
"""How far the border tool snaps, as a share of the radius of what moves along."""


@dataclass(frozen=True, eq=False)
class Gesture:
    """A drag on the labels.

    Parameters
    ----------
    path
        Points (n, 2), (y, x) in pixels.
    plane
        Slice of a volume; `None` for a 2-D image.
    radius_px
        Radius of the brush.
    value
        The selected label.
    with_shift
        Whether Shift is held: then other labels are painted over, and voxels that a person set.
    strength
        Of the smart brush.
    known_dabs
        What the smart brush has computed in this drag.
    pick_px
        How far from a border a drag may start, pixels of the image.
    """

    path: NDArray[Any]
    plane: int | None
    radius_px: float
    value: int
    with_shift: bool = False
    strength: float = 1.0
    known_dabs: KnownDabs | None = None
    pick_px: float = PICK_PX


@dataclass(frozen=True, eq=False)
class Tool:
    """A tool that is dragged on the labels.

    Parameters
    ----------
    name, title, key, text
        Its name in code, its name in the window, its key, and what it does in ten words.
    make_edit
        Makes the edit of a gesture on one slice, or in a 2-D image.
    make_volume_edit
        The same through all slices; `None` if it works on a slice only.
    needs_objects
        Whether it is for tasks of instances only.
    protects
        Whether voxels that a person set stay, unless Shift is held.
    has_line, has_brush
        Whether the drag is shown as a line; whether the size of the brush counts.
    has_preview
        Whether the change is shown while the button is down; else the line alone, as the change takes too long.
    """

    name: str
    title: str
    key: str
    text: str
    make_edit: Callable[[Canvas, Gesture], Edit]
    make_volume_edit: Callable[[Canvas, Gesture], Edit] | None = None
    needs_objects: bool = False
    protects: bool = False
    has_line: bool = False
    has_brush: bool = False
    has_preview: bool = True

    def why_not(self, task: Task) -> str:
        """Return why a task does not have this tool; empty if it has."""
        return f"{task.title} has no numbered objects" if self.needs_objects and not task.instances else ""


@dataclass(frozen=True, eq=False)
class PieceAction:
    """A key that acts on the piece under the cursor; parameters as of `Tool`.

    Parameters
    ----------
    protects
        Whether voxels that a person set stay.
    is_outline
        As of `editor.Request`.
    needs_labels
        Whether it is for tasks with several labels only.
    """

    name: str
    title: str
    key: str
    text: str
    make_edit: Callable[[Canvas, Piece], Edit]
    protects: bool = False
    is_outline: bool = False
    needs_labels: bool = False

    def why_not(self, task: Task) -> str:
        """Return why a task does not have this action; empty if it has."""
        has_others = len(task.labels) > 1 and not task.instances
        return f"{task.title} has no other labels" if self.needs_labels and not has_others else ""


def get_step_mm(canvas: Canvas) -> float:
    """Return the step of growing and shrinking, mm: whole pixels, near 1 mm; without a spacing, one pixel."""
    finest = min(canvas.spacing[-2:])
    n_pixels = 1 if canvas.spacing_mm is None else min(max(round(STEP_MM / finest), 1), MAX_STEP_PX)
    return math.ceil(100 * finest * n_pixels) / 100 if finest > 0.1 else finest * n_pixels


def paint_object(canvas: Canvas, gesture: Gesture) -> Edit:
    """Paint a new object, or more of the one in which the stroke starts."""
    return objects.paint_object(
        canvas, gesture.path, gesture.radius_px, gesture.plane, may_overwrite=gesture.with_shift
    )


def _cut(canvas: Canvas, gesture: Gesture) -> Edit:
    return cut_objects(canvas, gesture.path, gesture.plane)


def _cut_in_volume(canvas: Canvas, gesture: Gesture) -> Edit:
    return cut_objects_in_volume(canvas, gesture.path, gesture.plane or 0)


def _join(canvas: Canvas, gesture: Gesture) -> Edit:
    return objects.join_objects(canvas, gesture.path, gesture.plane)


def _join_in_volume(canvas: Canvas, gesture: Gesture) -> Edit:
    return objects.join_objects_in_volume(canvas, gesture.path, gesture.plane or 0)


def _paint_similar(canvas: Canvas, gesture: Gesture) -> Edit:
    value = gesture.value
    if canvas.task.instances:
        value = _find_object_value(canvas, gesture)
    brush = SmartBrush(max(gesture.radius_px, 1.0), value, gesture.strength)
    overwrites = True if gesture.with_shift else None
    canvas = replace(canvas, way_out="Hold Shift to paint over it.")
    return paint_similar(
        canvas, gesture.path, brush, gesture.plane, may_overwrite=overwrites, known_dabs=gesture.known_dabs
    )


def _find_object_value(canvas: Canvas, gesture: Gesture) -> int:
    """Return the number of the object in which a stroke starts, else a free one, as for the brush."""
    y, x = (int(np.floor(place + 0.5)) for place in gesture.path[0])
    index = (y, x) if gesture.plane is None else (gesture.plane, y, x)
    inside = all(0 <= at < length for at, length in zip(index, canvas.shape, strict=True))
    value = int(canvas.labels[index]) if inside else 0
    return value or objects.find_free_numbers(canvas.labels)[0]


def _drag_border(canvas: Canvas, gesture: Gesture) -> Edit:
    radius = max(gesture.radius_px, MIN_BORDER_RADIUS_PX)
    start, end = (tuple(map(float, gesture.path[place])) for place in (0, -1))
    drag = BorderDrag((start[0], start[1]), (end[0], end[1]), radius, max(2.0, SNAP_SHARE * radius), gesture.pick_px)
    return drag_border(canvas, drag, gesture.plane, may_overwrite=gesture.with_shift)


def _draw_outline(canvas: Canvas, gesture: Gesture) -> Edit:
    overwrites = True if gesture.with_shift else None
    return draw_outline(
        canvas, gesture.path, gesture.value, gesture.plane, may_overwrite=overwrites, pick_px=gesture.pick_px
    )


TOOLS = (
    Tool("smart", "smart brush", "Y", "paints only where the image is like under its centre; Ctrl+wheel: strength",
         _paint_similar, protects=True, has_brush=True),
    Tool("border", "border", "H", "drag a border; it snaps to the nearest edge",
         _drag_border, has_line=True, has_brush=True),
    Tool("outline", "outline", "O", "draw the right border: along a piece, or around something new",
         _draw_outline, has_line=True, has_preview=False),
    Tool("cut", "cut", "N", "drag a line across an object to split it",
         _cut, _cut_in_volume, needs_objects=True, has_line=True),
    Tool("join", "join", "J", "drag a line from one object into another to join them",
         _join, _join_in_volume, needs_objects=True, has_line=True),
)  # fmt: skip
OBJECT_BRUSH = Tool(
    "brush",
    "brush",
    "P",
    "a stroke makes a new object; started inside one, it extends it; Shift: over others",
    paint_object,
    needs_objects=True,
    has_brush=True,
)


def _grow(canvas: Canvas, piece: Piece) -> Edit:
    return piece_tools.grow_piece(canvas, piece, get_step_mm(canvas))


def _shrink(canvas: Canvas, piece: Piece) -> Edit:
    return piece_tools.shrink_piece(canvas, piece, get_step_mm(canvas))


def _smooth(canvas: Canvas, piece: Piece) -> Edit:
    return piece_tools.smooth_piece(canvas, piece, get_step_mm(canvas))


def _name_otherwise(canvas: Canvas, piece: Piece) -> Edit:
    return piece_tools.relabel_piece(canvas, piece, piece_tools.rank_labels(canvas, piece)[0])


PIECE_ACTIONS = (
    PieceAction("likely", "next label", "Shift-L", "gives the piece the label that the model finds most likely next",
                _name_otherwise, needs_labels=True),
    PieceAction("delete", "delete", "Shift-E", "deletes the piece under the mouse", piece_tools.delete_piece),
    PieceAction("keep", "keep only", "Shift-K", "keeps only this piece of its label",
                piece_tools.keep_only_piece, protects=True),
    PieceAction("holes", "fill holes", "Shift-F", "fills the holes of the piece under the mouse",
                piece_tools.fill_piece_holes, protects=True),
    PieceAction("smooth", "smooth", "Shift-W", "smooths the outline of the piece; again: more",
                _smooth, protects=True, is_outline=True),
    PieceAction("grow", "grow", "Shift-=", "grows the piece by about 1 mm into the background",
                _grow, protects=True, is_outline=True),
    PieceAction("shrink", "shrink", "Shift--", "shrinks the piece by about 1 mm",
                _shrink, protects=True, is_outline=True),
)  # fmt: skip


def make_rename_action(number: int, value: int) -> PieceAction:
    """Return the action of a digit: it gives the piece the label with this value."""
    text = "gives the piece under the mouse this label"
    return PieceAction(f"rename {value}", f"label {number}", f"Shift-{number}", text, partial(_relabel, value=value))


def _relabel(canvas: Canvas, piece: Piece, *, value: int) -> Edit:
    return piece_tools.relabel_piece(canvas, piece, value)
