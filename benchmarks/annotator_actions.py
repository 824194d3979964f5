"""Actions of a simulated annotator: each is an `Edit` of the program, with the effort that it takes.

For one wrong place they list what a person could do there: the brush alone, or all tools. Nothing is applied here.
Tools are those of the window (`plugin.correction.tools`), with the sizes and steps that it offers. A tool of the mouse
stays in the hand until another one is taken, so that only the change costs its key.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from annotator_hand import Effort, Hand, Mask, Strokes, plan_outlines, plan_strokes
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing import model_threshold, pieces, whole_label
from napari_medseg.core.editing.border import compute_pick_px
from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS, TOOLS, Gesture, PieceAction, make_rename_action

Labels = NDArray[Any]
MENU = Effort(clicks=2)
SLIDER = Effort(clicks=1, strokes=1)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
MAX_SMART_PX = 30.0
"""Wider smart brushes are not tried: they follow no edge better than a border drag, and take the computer long."""
MAX_PRESSES = 2
"""Grow and shrink are tried with one press and with two."""
THRESHOLD_STEP = 0.1
"""Of a press of . or , over a piece."""
SPECK_SIZES = (10.0, 30.0, 100.0)
"""Of those that the menu offers."""
MOUSE_TOOLS = {tool.name: tool for tool in TOOLS}
PIECE_TOOLS = {action.name: action for action in PIECE_ACTIONS}


@dataclass(frozen=True, eq=False)
class Action:
    """What a person does, its effort, and what is in the hand afterwards; `None` if as before.

    `edit` is what a steady hand would do, and `draw` makes what the hand really does; `None` for keys and clicks.
    `brush` are radius and label, `tool` is that of the mouse.
    """

    name: str
    effort: Effort
    edit: Edit
    brush: tuple[float, int] | None = None
    tool: str | None = None
    draw: Callable[[], Edit] | None = None


def list_label_actions(canvas: Canvas, region: Mask, value: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield actions that could give a wrong region (y, x) its label `value`.

    Parameters
    ----------
    canvas
        Of the draft.
    region
        Connected pixels that should have `value` and have not.
    value
        The right label, 0 for the background.
    hand
        Who draws.
    has_tools
        Whether all tools may be used, or the brush alone.
    """
    yield from list_strokes(canvas, region, value, hand, has_tools=has_tools)
    if has_tools:
        yield from _act_on_pieces(canvas, region, value)
        yield from _drag_border(canvas, region, hand)


def list_outlines(canvas: Canvas, whole: Mask, wrong: Mask, value: int, hand: Hand) -> Iterator[Action]:
    """Yield lines along the border of a region (y, x) that should have a label, and along what of it is wrong."""
    for path, effort in plan_outlines(whole, wrong, hand.zoom):
        yield from drag(canvas, "outline", (path, effort), hand, value=value)


def drag(
    canvas: Canvas,
    name: str,
    way: tuple[NDArray[Any], Effort],
    hand: Hand,
    *,
    radius_px: float | None = None,
    value: int | None = None,
    with_shift: bool = False,
) -> Iterator[Action]:
    """Yield a drag of a tool of the mouse along a way that has its effort.

    What the tool needs of the brush is set before. Shift costs a key.
    """
    path, effort = way
    setting = hand.radius_px if radius_px is None else radius_px, hand.value if value is None else value
    effort += hand.count_preparation(*setting) + hand.count_key(name) + Effort(keys=int(with_shift))
    gesture = Gesture(path, None, setting[0], max(setting[1], 0), with_shift, pick_px=compute_pick_px(hand.zoom))
    yield from attempt(
        name, effort, lambda: MOUSE_TOOLS[name].make_edit(canvas, draw(canvas, gesture, hand)), setting, name
    )


def draw(canvas: Canvas, gesture: Gesture, hand: Hand) -> Gesture:
    """Return the gesture as the hand makes it, inside the image."""
    return replace(gesture, path=np.clip(hand.shake(gesture.path), 0, np.array(canvas.shape) - 1.0))


def list_strokes(canvas: Canvas, region: Mask, value: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield strokes of the brush that cover a region (y, x), and with tools those of the smart brush."""
    for strokes in plan_strokes(region):
        yield from brush(canvas, strokes, value, hand)
        if has_tools and value:
            yield from smart_brush(canvas, strokes, value, hand)


def list_whole_label_actions(canvas: Canvas) -> Iterator[Action]:
    """Yield actions on whole labels, which need no place: the threshold by the model, and the removal of specks."""
    for label in canvas.task.labels:
        for threshold in THRESHOLDS if canvas.probability is not None else ():
            yield from attempt(
                "threshold",
                SLIDER + Effort(keys=1),
                lambda at=threshold, of=label.value: model_threshold.threshold_label_in_plane(canvas, of, at),
            )
    yield from list_specks(canvas)
    for one, other in combinations([label.value for label in canvas.task.labels], 2):
        yield from attempt("swap", MENU, lambda a=one, b=other: whole_label.swap_labels_in_plane(canvas, a, b))


def list_specks(canvas: Canvas) -> Iterator[Action]:
    """Yield removals of all pieces below a size."""
    for area in SPECK_SIZES:
        yield from attempt("specks", MENU, lambda below=area: whole_label.remove_specks_in_plane(canvas, below))


def brush(canvas: Canvas, strokes: Strokes, value: int, hand: Hand, name: str = "brush") -> Iterator[Action]:
    """Yield strokes of the plain brush."""
    setting = strokes.radius_px, value
    effort = strokes.effort + hand.count_preparation(*setting) + hand.count_key("brush")

    def paint() -> Edit:
        return make_edit(canvas, strokes.rasterise(hand, canvas.shape[-2:]), value, "brush")

    yield from attempt(name, effort, paint, setting, "brush")


def smart_brush(canvas: Canvas, strokes: Strokes, value: int, hand: Hand) -> Iterator[Action]:
    """Yield one stroke along the longest path with a wider brush: the grey values end it."""
    path = max(strokes.paths, key=len)
    length = Strokes(strokes.radius_px, (path,)).effort
    for radius in (strokes.radius_px * factor for factor in (1.5, 2.5)):
        if radius <= MAX_SMART_PX:
            yield from drag(canvas, "smart", (path, length), hand, radius_px=radius, value=value)


def _act_on_pieces(canvas: Canvas, region: Mask, value: int) -> Iterator[Action]:
    wrong = region & (canvas.labels != 0)
    if wrong.any():
        if value:
            yield from on_piece(canvas, wrong, make_rename_action(value, value))
        else:
            yield from on_piece(canvas, wrong, PIECE_TOOLS["delete"])
            yield from on_piece(canvas, wrong, PIECE_TOOLS["keep"])
            yield from on_piece(canvas, wrong, PIECE_TOOLS["smooth"])
            yield from change_size(canvas, wrong, is_growing=False)
    elif (beside := _find_neighbour(canvas.labels, region, value)) is not None:
        yield from on_piece(canvas, beside, PIECE_TOOLS["holes"])
        yield from on_piece(canvas, beside, PIECE_TOOLS["smooth"])
        yield from change_size(canvas, beside, is_growing=True)


def change_size(canvas: Canvas, seed: Mask, *, is_growing: bool) -> Iterator[Action]:
    """Yield presses that grow or shrink a piece: by a millimetre, or along the probability of the model."""
    yield from on_piece(canvas, seed, PIECE_TOOLS["grow" if is_growing else "shrink"], MAX_PRESSES)
    for threshold in THRESHOLDS if canvas.probability is not None else ():
        if (threshold < model_threshold.NEUTRAL) == is_growing:
            n_keys = round(abs(threshold - model_threshold.NEUTRAL) / THRESHOLD_STEP)
            piece = _find_piece(canvas, seed)
            yield from attempt(
                "threshold",
                Effort(clicks=1, keys=n_keys),
                lambda at=threshold, p=piece: model_threshold.threshold_piece(canvas, p, at),
            )


def _drag_border(canvas: Canvas, region: Mask, hand: Hand) -> Iterator[Action]:
    """Drag the border of the draft to the far side of the region."""
    edge_of_draft = _find_edges(canvas.labels) & ndimage.binary_dilation(region)
    if not edge_of_draft.any():
        return
    depth = ndimage.distance_transform_edt(region)
    points, places = np.argwhere(region).astype(float), np.argwhere(edge_of_draft).astype(float)
    deepest = np.array(np.unravel_index(int(depth.argmax()), depth.shape), float)
    start = places[np.linalg.norm(places - deepest, axis=1).argmin()]
    way = deepest - start if np.any(deepest != start) else np.array([1.0, 0.0])
    direction = way / np.linalg.norm(way)
    along = points[np.abs((points - start) @ np.array([-direction[1], direction[0]])) < 1.5]
    far = along[((along - start) @ direction).argmax()] if along.size else deepest
    path = np.stack([start, far])
    effort = Effort(strokes=1, stroke_px=float(np.linalg.norm(path[1] - path[0])))
    radius = max(float(np.ptp(points, axis=0).max()) / 2, 4.0)
    for size in {hand.radius_px, radius, 2 * radius}:
        for with_shift in (False, True):
            yield from drag(canvas, "border", (path, effort), hand, radius_px=size, with_shift=with_shift)


def on_piece(canvas: Canvas, seed: Mask, action: PieceAction, max_presses: int = 1) -> Iterator[Action]:
    """Yield presses of a key over the piece at the first pixel of a mask."""
    name = "name" if action.name.startswith("rename") else action.name
    labels = canvas.labels
    edit: Edit | None = None
    for n in range(1, max_presses + 1):
        still = seed & (labels == canvas.labels)
        if not still.any():
            return
        piece = pieces.find_piece(labels, _find_first(still))
        try:
            step = action.make_edit(replace(canvas, labels=labels), piece)
        except MedSegError:
            return
        labels = labels.copy()
        step.apply(labels)
        if edit is not None:
            whole = tuple(slice(0, length) for length in labels.shape)
            step = canvas.make_edit(step.message, [Change(whole, labels != canvas.labels, labels)])
        edit = step
        yield Action(name, Effort(clicks=1, keys=n), edit)


def _find_piece(canvas: Canvas, seed: Mask) -> pieces.Piece:
    return pieces.find_piece(canvas.labels, _find_first(seed))


def _find_first(seed: Mask) -> list[int]:
    return [int(n) for n in np.unravel_index(int(seed.argmax()), seed.shape)]


def attempt(
    name: str,
    effort: Effort,
    make: Callable[[], Edit],
    setting: tuple[float, int] | None = None,
    tool: str | None = None,
) -> Iterator[Action]:
    """Yield the action, unless the tool refuses: a person reads the reason and does something else."""
    try:
        yield Action(name, effort, make(), setting, tool, make if tool else None)
    except MedSegError:
        return


def make_edit(canvas: Canvas, mask: Mask, value: int, message: str) -> Edit:
    """Return the edit that gives all pixels of a mask a value."""
    return canvas.make_edit(message, [Change(tuple(slice(0, n) for n in mask.shape), mask, value)])


def _find_edges(labels: Labels) -> Mask:
    """Pixels with a neighbour of another label."""
    edges = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        edges[tuple(first)] |= differs
        edges[tuple(second)] |= differs
    return edges


def _find_neighbour(labels: Labels, region: Mask, value: int) -> Mask | None:
    beside = ndimage.binary_dilation(region) & ~region & (labels == value)
    return beside if beside.any() else None


def largest(region: Mask) -> Mask | None:
    """Return the largest part of a region; `None` if it is empty."""
    parts, n = ndimage.label(region)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()) if n else None
