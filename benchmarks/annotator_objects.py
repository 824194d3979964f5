"""Actions on numbered objects, such as nuclei, of a simulated annotator; as those of `annotator_actions`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from annotator_actions import (
    PIECE_TOOLS,
    Action,
    attempt,
    brush,
    change_size,
    drag,
    draw,
    largest,
    make_edit,
    on_piece,
    smart_brush,
)
from annotator_hand import Effort, Hand, Mask, Strokes, plan_outlines, plan_strokes
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing import objects
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.plugin.correction.tools import OBJECT_BRUSH, Gesture

Labels = NDArray[Any]
TOUCHES_PX = 2
"""Objects of the truth that are this close touch each other."""
SHARED = 0.15
"""A piece of the draft belongs to an object of the truth if it covers at least this share of it."""


def list_object_actions(canvas: Canvas, truth: Labels, number: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield actions that could make an object of the truth one object of the draft.

    The brush alone is that of napari: a free number is taken by a key, then painted over whatever there is.
    """
    wanted, drawn = truth == number, canvas.labels
    found, areas = np.unique(drawn[wanted], return_counts=True)
    inside = {int(v): int(n) for v, n in zip(found, areas, strict=True) if v and n > SHARED * wanted.sum()}
    best = max(inside, key=lambda v: inside[v], default=0)
    if has_tools:
        yield from _use_tools(canvas, wanted, hand)
        if best:
            yield from _correct_object(canvas, wanted, best, hand)
            yield from _cut(canvas, truth, number, best, hand)
        if len(inside) > 1:
            ends = np.array([ndimage.center_of_mass(wanted & (drawn == v)) for v in sorted(inside)])
            length = float(np.linalg.norm(np.diff(ends, axis=0), axis=1).sum())
            yield from drag(canvas, "join", (ends, Effort(strokes=1, stroke_px=length)), hand)
        return
    free = objects.find_free_numbers(drawn)[0]
    for strokes in plan_strokes(wanted):
        yield from brush(canvas, strokes, free, hand, name="new object")
    missing = largest(wanted & (drawn != best))
    for strokes in plan_strokes(missing) if best and missing is not None else ():
        for action in brush(canvas, strokes, best, hand, name="extend"):
            yield replace(action, effort=action.effort + Effort(clicks=1))  # pick the number
    if len(inside) > 1:  # pick the number, then fill each of the other pieces
        others = np.isin(drawn, [v for v in inside if v != best])
        effort = Effort(clicks=len(inside), keys=1) + hand.count_key("fill")
        setting = hand.radius_px, best
        yield from attempt("fill", effort, lambda: make_edit(canvas, others, best, "fill"), setting, "fill")


def list_deletions(canvas: Canvas, number: int, hand: Hand, *, has_tools: bool) -> Iterator[Action]:
    """Yield actions that delete an object of the draft."""
    region = canvas.labels == number
    if has_tools:
        yield from on_piece(canvas, region, PIECE_TOOLS["delete"])
    margin = max(1, round(2 * hand.jitter_px / hand.zoom))
    for wanted in (region, ndimage.binary_dilation(region, iterations=margin)):
        for strokes in plan_strokes(wanted):
            yield from brush(canvas, strokes, 0, hand, name="erase")
    setting = hand.radius_px, 0
    effort = Effort(clicks=1) + hand.count_preparation(*setting) + hand.count_key("fill")
    yield from attempt("fill", effort, lambda: make_edit(canvas, region, 0, "fill"), setting, "fill")


def _use_tools(canvas: Canvas, wanted: Mask, hand: Hand) -> Iterator[Action]:
    """Yield strokes and lines that may begin on the background, or in another object; with Shift over others."""
    for strokes in plan_strokes(wanted):
        yield from _paint_object(canvas, max(strokes.paths, key=len), strokes.radius_px, hand)
        yield from smart_brush(canvas, strokes, hand.value, hand)
    for path, effort in plan_outlines(wanted, wanted, hand.zoom):
        yield from drag(canvas, "outline", (path, effort), hand, value=max(hand.value, 1))


def _correct_object(canvas: Canvas, wanted: Mask, number: int, hand: Hand) -> Iterator[Action]:
    """Yield what adds to an object that lacks something, and what takes away from one that is too large."""
    drawn = canvas.labels == number
    missing = largest(wanted & ~drawn)
    for strokes in plan_strokes(missing) if missing is not None else ():
        path = max(strokes.paths, key=len)
        places = np.argwhere(drawn).astype(float)
        start = places[np.linalg.norm(places - path[0], axis=1).argmin()]
        yield from _paint_object(canvas, np.concatenate((start[np.newaxis], path)), strokes.radius_px, hand)
    yield from change_size(canvas, drawn, is_growing=int(drawn.sum()) < int(wanted.sum()))
    for path, effort in list(plan_outlines(wanted, wanted != drawn, hand.zoom))[1:]:  # around all: by `_use_tools`
        yield from drag(canvas, "outline", (path, effort), hand, value=max(hand.value, 1))


def _paint_object(canvas: Canvas, path: NDArray[Any], radius_px: float, hand: Hand) -> Iterator[Action]:
    """Yield a stroke of the brush for objects, also over others: it is new, or more of the one where it starts."""
    effort = Strokes(radius_px, (path,)).effort + hand.count_key("brush")
    setting = radius_px, hand.value
    for with_shift in (False, True):
        gesture = Gesture(path, None, radius_px, max(hand.value, 1), with_shift)
        cost = effort + hand.count_preparation(*setting) + Effort(keys=int(with_shift))
        yield from attempt(
            "object stroke",
            cost,
            lambda at=gesture: OBJECT_BRUSH.make_edit(canvas, draw(canvas, at, hand)),
            setting,
            "brush",
        )


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
    effort = Effort(strokes=1, stroke_px=float(np.linalg.norm(line[1] - line[0])))
    yield from drag(canvas, "cut", (line, effort), hand)
