"""Actions of a simulated annotator: each is an `Edit` of the program, with the effort that it takes.

For one wrong place they list what a person could do there: the brush alone, or all tools. Nothing is applied here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from annotator_hand import Effort, Hand, Mask, Strokes, plan_strokes
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing import border, cut, model_threshold, objects, piece_tools, pieces, whole_label
from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.smart_brush import SmartBrush, paint_similar
from napari_medseg.core.errors import MedSegError

Labels = NDArray[Any]
POINT_AND_KEY = Effort(clicks=1, keys=1)
"""A key acts on the piece under the mouse."""
KEY_AND_DRAG = Effort(strokes=1, keys=1)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
THRESHOLD_STEP = 0.05
MAX_SMART_PX = 30.0
"""Wider smart brushes are not tried: they follow no edge better than a border drag, and take the computer long."""
OUTLINE_STEPS_MM = (1.0, 2.0)
SPECKS_MM2 = (10.0, 50.0)
TOUCHES_PX = 2
"""Objects of the truth that are this close touch each other."""


@dataclass(frozen=True, eq=False)
class Action:
    """What a person does, its effort, and how the brush is set afterwards: radius and label; `None` if as before."""

    name: str
    effort: Effort
    edit: Edit
    brush: tuple[float, int] | None = None


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


def list_strokes(canvas: Canvas, region: Mask, value: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield strokes of the brush that cover a region (y, x), and with tools those of the smart brush."""
    for strokes in plan_strokes(region):
        yield from _brush(canvas, strokes, value, hand)
        if has_tools and value:
            yield from _smart_brush(canvas, strokes, value, hand)


def list_whole_label_actions(canvas: Canvas) -> Iterator[Action]:
    """Yield actions on whole labels, which need no place: the threshold by the model, and the removal of specks."""
    for label in canvas.task.labels:
        if canvas.probability is not None:
            for threshold in THRESHOLDS:
                n_keys = round(abs(threshold - model_threshold.NEUTRAL) / THRESHOLD_STEP)
                yield from _attempt(
                    "threshold",
                    Effort(keys=1 + n_keys),
                    lambda at=threshold, of=label.value: model_threshold.threshold_label_in_plane(canvas, of, at),
                )
        for area in SPECKS_MM2:
            yield from _attempt(
                "specks",
                Effort(keys=1),
                lambda of=label.value, below=area: whole_label.remove_specks_in_plane(canvas, below, (of,)),
            )
    for one, other in combinations([label.value for label in canvas.task.labels], 2):
        yield from _attempt(
            "swap", Effort(clicks=2), lambda a=one, b=other: whole_label.swap_labels_in_plane(canvas, a, b)
        )


def list_object_actions(canvas: Canvas, truth: Labels, number: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield actions that could make an object of the truth one object of the draft."""
    wanted, drawn = truth == number, canvas.labels
    found, areas = np.unique(drawn[wanted], return_counts=True)
    inside = {int(v): int(n) for v, n in zip(found, areas, strict=True) if v and n > 0.15 * wanted.sum()}
    free = objects.find_free_numbers(drawn)[0]
    for strokes in plan_strokes(wanted):
        yield from _brush(canvas, strokes, free, hand, name="new object")
        if has_tools:
            yield from _paint_object(canvas, strokes, hand)
            yield from _smart_brush(canvas, strokes, free, hand)
    if inside:
        best = max(inside, key=lambda v: inside[v])
        yield from _complete(canvas, wanted, best, hand, has_tools=has_tools)
        if has_tools:
            yield from _cut(canvas, truth, number, best, hand)
        if has_tools and len(inside) > 1:
            ends = [np.array(ndimage.center_of_mass(wanted & (drawn == v))) for v in sorted(inside)]
            length = float(np.linalg.norm(np.diff(ends, axis=0), axis=1).sum())
            line = hand.shake(np.array(ends))
            effort = KEY_AND_DRAG + Effort(stroke_px=length)
            yield from _attempt("join", effort, lambda: objects.join_objects(canvas, line))
        elif len(inside) > 1:  # pick the number, then fill each of the other pieces
            others = np.isin(drawn, [v for v in inside if v != best])
            effort = Effort(clicks=len(inside), keys=2)
            yield from _attempt("fill", effort, lambda: _make_edit(canvas, others, best, "fill"))


def list_deletions(canvas: Canvas, number: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield actions that delete an object of the draft."""
    region = canvas.labels == number
    if has_tools:
        yield from _on_piece(canvas, region, "delete", piece_tools.delete_piece)
        return
    for strokes in plan_strokes(region):
        yield from _brush(canvas, strokes, 0, hand, name="erase")
    yield from _attempt("fill", Effort(clicks=2, keys=2), lambda: _make_edit(canvas, region, 0, "fill"))


def _brush(canvas: Canvas, strokes: Strokes, value: int, hand: Hand, name: str = "brush") -> Iterator[Action]:
    covered = strokes.rasterise(hand, canvas.shape[-2:])
    effort = strokes.effort + hand.count_preparation(strokes.radius_px, value)
    yield from _attempt(
        name, effort, lambda: _make_edit(canvas, covered, value, "brush"), brush=(strokes.radius_px, value)
    )


def _smart_brush(canvas: Canvas, strokes: Strokes, value: int, hand: Hand) -> Iterator[Action]:
    """One stroke along the first path with a wider brush: the grey values end it."""
    if canvas.image is None:
        return
    path = max(strokes.paths, key=len)
    length = Strokes(strokes.radius_px, (path,)).effort
    for factor in (1.5, 2.5):
        radius, shaken = strokes.radius_px * factor, hand.shake(path)
        if radius > MAX_SMART_PX:
            continue
        effort = length + Effort(keys=1) + hand.count_preparation(radius, value)
        yield from _attempt(
            "smart brush",
            effort,
            lambda at=shaken, px=radius: paint_similar(canvas, at, SmartBrush(px, value)),
            brush=(radius, value),
        )


def _act_on_pieces(canvas: Canvas, region: Mask, value: int) -> Iterator[Action]:
    wrong = region & (canvas.labels != 0)
    if wrong.any():
        if value:
            yield from _on_piece(canvas, wrong, "name", lambda c, p: piece_tools.relabel_piece(c, p, value))
        else:
            yield from _on_piece(canvas, wrong, "delete", piece_tools.delete_piece)
            yield from _change_outline(canvas, wrong, piece_tools.shrink_piece, "shrink", is_growing=False)
            yield from _on_piece(canvas, wrong, "keep", piece_tools.keep_only_piece)
    elif (beside := _find_neighbour(canvas.labels, region, value)) is not None:
        yield from _on_piece(canvas, beside, "fill holes", piece_tools.fill_piece_holes)
        yield from _change_outline(canvas, beside, piece_tools.grow_piece, "grow", is_growing=True)


def _change_outline(
    canvas: Canvas, seed: Mask, tool: Callable[[Canvas, pieces.Piece, float], Edit], name: str, *, is_growing: bool
) -> Iterator[Action]:
    for n, radius in enumerate(OUTLINE_STEPS_MM, start=1):
        effort = Effort(clicks=1, keys=n)
        yield from _on_piece(canvas, seed, name, lambda c, p, mm=radius: tool(c, p, mm), effort)
    if canvas.probability is None:
        return
    for threshold in (t for t in THRESHOLDS if (t < model_threshold.NEUTRAL) == is_growing):
        n_keys = round(abs(threshold - model_threshold.NEUTRAL) / THRESHOLD_STEP)
        effort = Effort(clicks=1, keys=1 + n_keys)
        at = threshold
        yield from _on_piece(
            canvas, seed, "threshold", lambda c, p, at=at: model_threshold.threshold_piece(c, p, at), effort
        )


def _drag_border(canvas: Canvas, region: Mask, hand: Hand) -> Iterator[Action]:
    """Drag the border of the draft to the far side of the region."""
    labels = canvas.labels
    outside = ndimage.binary_dilation(region) & ~region
    if not outside.any():
        return
    depth = ndimage.distance_transform_edt(region)
    rows, columns = np.nonzero(region)
    edge_of_draft = _find_edges(labels) & ndimage.binary_dilation(region)
    if not edge_of_draft.any():
        return
    places = np.argwhere(edge_of_draft).astype(float)
    deepest = np.array(np.unravel_index(int(depth.argmax()), depth.shape), float)
    start = places[np.linalg.norm(places - deepest, axis=1).argmin()]
    points = np.stack([rows, columns], axis=1).astype(float)
    way = deepest - start if np.any(deepest != start) else np.array([1.0, 0.0])
    direction = way / np.linalg.norm(way)
    along = points[np.abs((points - start) @ np.array([-direction[1], direction[0]])) < 1.5]
    far = along[((along - start) @ direction).argmax()] if along.size else deepest
    start, end = hand.shake(np.stack([start, far]))
    length = float(np.linalg.norm(end - start))
    radius = max(float(np.ptp(points, axis=0).max()) / 2, 4.0)
    for factor in (1.0, 2.0):
        drag = border.BorderDrag(tuple(start), tuple(end), radius * factor)
        yield from _attempt(
            "border",
            KEY_AND_DRAG + Effort(stroke_px=length),
            lambda by=drag: border.drag_border(canvas, by, may_overwrite=True),
        )


def _paint_object(canvas: Canvas, strokes: Strokes, hand: Hand) -> Iterator[Action]:
    """One stroke that begins on the background is a new nucleus; one that begins inside a nucleus extends it."""
    path = hand.shake(max(strokes.paths, key=len))
    effort = Strokes(strokes.radius_px, (path,)).effort
    effort += Effort(clicks=int(abs(strokes.radius_px - hand.radius_px) > 0.3 * hand.radius_px))
    yield from _attempt(
        "object stroke",
        effort,
        lambda: objects.paint_object(canvas, path, strokes.radius_px),
        brush=(strokes.radius_px, hand.value),
    )


def _complete(canvas: Canvas, wanted: Mask, number: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Add what an object lacks: one stroke that starts inside, or the brush after the number was picked."""
    missing = _largest(wanted & (canvas.labels != number))
    if missing is None:
        return
    for strokes in plan_strokes(missing):
        covered = strokes.rasterise(hand, canvas.shape[-2:])
        effort = strokes.effort + (Effort() if has_tools else Effort(clicks=1, keys=2))
        yield from _attempt("extend", effort, lambda at=covered: _make_edit(canvas, at, number, "extend"))


def _cut(canvas: Canvas, truth: Labels, number: int, drawn_number: int, hand: Hand) -> Iterator[Action]:
    """Cut by a line along the border to the neighbours that share one object of the draft."""
    own = truth == number
    near = ndimage.binary_dilation(own, iterations=TOUCHES_PX) & (truth != number) & (truth > 0)
    places = np.argwhere(near & (canvas.labels == drawn_number)).astype(float)
    if len(places) < 2:
        return
    centre = places.mean(axis=0)
    direction = np.linalg.svd(places - centre, full_matrices=False)[2][0]
    along = (places - centre) @ direction
    line = np.stack([centre + direction * (along.min() - 6.0), centre + direction * (along.max() + 6.0)])
    line = np.clip(hand.shake(line), 0, np.array(truth.shape) - 1.0)
    effort = KEY_AND_DRAG + Effort(stroke_px=float(np.linalg.norm(line[1] - line[0])))
    yield from _attempt("cut", effort, lambda: cut.cut_objects(canvas, line))


def _on_piece(
    canvas: Canvas,
    seed: Mask,
    name: str,
    tool: Callable[[Canvas, pieces.Piece], Edit],
    effort: Effort = POINT_AND_KEY,
) -> Iterator[Action]:
    place = np.unravel_index(int(seed.argmax()), seed.shape)
    piece = pieces.find_piece(canvas.labels, [int(n) for n in place])
    yield from _attempt(name, effort, lambda: tool(canvas, piece))


def _attempt(
    name: str, effort: Effort, make_edit: Callable[[], Edit], brush: tuple[float, int] | None = None
) -> Iterator[Action]:
    """Yield the action, unless the tool refuses: a person reads the reason and does something else."""
    try:
        yield Action(name, effort, make_edit(), brush)
    except MedSegError:
        return


def _make_edit(canvas: Canvas, mask: Mask, value: int, message: str) -> Edit:
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


def _largest(region: Mask) -> Mask | None:
    parts, n = ndimage.label(region)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()) if n else None
