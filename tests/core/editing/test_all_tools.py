"""What holds for every tool: it does not write, it can be undone, and it keeps a person's voxels."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from editing_phantoms import LESIONS, NUCLEI, apply, freeze, get_centre, make_nuclei
from numpy.typing import NDArray

from napari_medseg.core.editing import model_threshold, objects, piece_tools, whole_label
from napari_medseg.core.editing.border import BorderDrag, drag_border, draw_outline
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.cut import cut_objects, cut_objects_in_volume
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.editing.smart_brush import SmartBrush, paint_similar
from napari_medseg.core.editing.through_slices import interpolate_slice
from napari_medseg.core.errors import MedSegError

Tool = Callable[[Canvas], Edit]
CENTRE = get_centre(30)
Y, X = CENTRE

NUCLEI_TOOLS: dict[str, Tool] = {
    "cut": lambda c: cut_objects(c, [(Y - 12, X + 0.5), (Y + 12, X + 0.5)]),
    "join": lambda c: objects.join_objects(c, [(Y, X), (Y, X + 20)]),
    "new": lambda c: objects.paint_object(c, [(Y - 10, X - 10), (Y + 10, X - 10)], 2.0),
    "extend": lambda c: objects.paint_object(c, [(Y, X), (Y, X + 12)], 3.0),
    "overwrite": lambda c: objects.paint_object(c, [(Y, X), (Y, X + 20)], 4.0, may_overwrite=True),
    "delete": lambda c: piece_tools.delete_piece(c, find_piece(c.labels, CENTRE)),
    "grow": lambda c: piece_tools.grow_piece(c, find_piece(c.labels, CENTRE), 2.0),
    "shrink": lambda c: piece_tools.shrink_piece(c, find_piece(c.labels, CENTRE), 2.0),
    "smooth": lambda c: piece_tools.smooth_piece(c, find_piece(c.labels, CENTRE), 3.0),
    "threshold": lambda c: model_threshold.threshold_piece(c, find_piece(c.labels, CENTRE), 0.3),
    "brush": lambda c: paint_similar(c, [(Y - 10, X)], SmartBrush(6, int(c.labels[CENTRE]))),
    "border": lambda c: drag_border(c, BorderDrag((Y, X + 8), (Y, X + 13), 14, 0)),
    "outline": lambda c: draw_outline(c, [(Y - 6, X + 6), (Y, X + 10), (Y + 6, X + 6)], 1),
    "specks": lambda c: whole_label.remove_specks_in_plane(c, 1000.0),
    "swap": lambda c: whole_label.swap_labels_in_plane(c, int(c.labels[CENTRE]), int(c.labels[get_centre(31)])),
}
VOLUME_TOOLS: dict[str, Tool] = {
    "rename": lambda c: piece_tools.relabel_piece(c, find_piece(c.labels, (3, 20, 20)), 2),
    "rename on a slice": lambda c: piece_tools.relabel_piece(c, find_piece_in_plane(c.labels, (3, 20, 20)), 2),
    "only it": lambda c: piece_tools.keep_only_piece(c, find_piece(c.labels, (3, 20, 20))),
    "holes": lambda c: piece_tools.fill_piece_holes(c, find_piece(c.labels, (3, 20, 20))),
    "holes on a slice": lambda c: piece_tools.fill_piece_holes(c, find_piece_in_plane(c.labels, (3, 20, 20))),
    "smooth": lambda c: piece_tools.smooth_piece(c, find_piece(c.labels, (3, 20, 20)), 2.0),
    "grow": lambda c: piece_tools.grow_piece(c, find_piece(c.labels, (3, 20, 20)), 2.5),
    "shrink": lambda c: piece_tools.shrink_piece(c, find_piece(c.labels, (3, 20, 20)), 2.5),
    "threshold": lambda c: model_threshold.threshold_piece(c, find_piece(c.labels, (3, 20, 20)), 0.4),
    "threshold of the label": lambda c: model_threshold.threshold_label(c, 1, 0.6),
    "specks": lambda c: whole_label.remove_specks(c, 12.0),
    "swap": lambda c: whole_label.swap_labels(c, 1, 2),
    "fill": lambda c: piece_tools.fill_region(c, (3, 20, 20), 3),
    "brush": lambda c: paint_similar(c, [(20, 20), (34, 34)], SmartBrush(9, 2), plane=3),
    "border": lambda c: drag_border(c, BorderDrag((20, 29), (20, 33), 12), plane=3),
    "outline": lambda c: draw_outline(c, [(12, 29), (20, 33), (28, 29)], 1, plane=3),
    "interpolation": lambda c: interpolate_slice(c, 1, 5, 7),
}


def make_slice(protected: NDArray[np.bool_] | None) -> Canvas:
    """600 nuclei whose numbers are on both sides of the limit of 16 bits."""
    labels = freeze(make_nuclei(600, np.uint32, 65_535 - 300))
    image = np.where(labels > 0, 90, 200).astype(np.uint8)[..., np.newaxis].repeat(3, axis=2)
    probability = np.where(labels > 0, 220, 90).astype(np.uint8)[np.newaxis]
    return Canvas(labels, NUCLEI, (1.0, 1.0), protected, image, "", probability)


def make_volume(protected: NDArray[np.bool_] | None) -> Canvas:
    """A piece with holes, a piece on another slice, a speck, and another label that touches."""
    labels = np.zeros((9, 44, 44), np.uint8)
    labels[1:6, 10:30, 10:30] = labels[7, 12:28, 12:28] = 1
    labels[3, 15:17, 15:17] = 0
    labels[2:4, 36, 36] = 1
    labels[4, 10:20, 30:40] = 2
    own = np.zeros((9, 44, 44), np.uint8)
    own[1:6, 9:31, 9:31], own[1:6, 12:28, 12:28] = 110, 200
    probability = np.stack([255 - own, own, np.zeros_like(own), np.zeros_like(own)])
    image = np.where(labels == 1, -700, 40).astype(np.int16)
    return Canvas(freeze(labels), LESIONS, (2.5, 1.0, 1.0), protected, image, "HU", probability)


@pytest.mark.parametrize("tool", NUCLEI_TOOLS)
def test_tools_for_600_nuclei(tool: str) -> None:
    check_tool(NUCLEI_TOOLS[tool], make_slice)


@pytest.mark.parametrize("tool", VOLUME_TOOLS)
def test_tools_for_a_volume(tool: str) -> None:
    check_tool(VOLUME_TOOLS[tool], make_volume)


def check_tool(tool: Tool, make_canvas: Callable[[NDArray[np.bool_] | None], Canvas]) -> None:
    canvas = make_canvas(None)
    edit = tool(canvas)
    labels = apply(canvas, edit)
    assert labels.dtype == canvas.labels.dtype
    assert edit.n_voxels > 0
    assert edit.message
    assert ". " not in edit.message
    outside = np.ones(canvas.shape, np.bool_)
    outside[edit.box] = False
    assert np.array_equal(labels[outside], canvas.labels[outside])
    rendered = sum(int(np.count_nonzero(edit.render_plane(plane).mask)) for plane in edit.planes)
    assert rendered == edit.n_voxels

    changed = np.flatnonzero(labels != canvas.labels)
    protected = np.zeros(canvas.shape, np.bool_)
    protected.reshape(-1)[changed[::2]] = True
    guarded = apply(make_canvas(protected), tool(make_canvas(protected)))
    assert np.array_equal(guarded[protected], canvas.labels[protected])
    protected[:] = True
    with pytest.raises(MedSegError, match="a person set all"):
        tool(make_canvas(protected))


@pytest.mark.parametrize("tool", [*NUCLEI_TOOLS, *VOLUME_TOOLS])
def test_empty_labels_get_an_edit_or_a_reason(tool: str) -> None:
    is_volume = tool in VOLUME_TOOLS
    shape = (9, 44, 44) if is_volume else (492, 512)
    image = np.zeros(shape)
    canvas = Canvas(freeze(np.zeros(shape, np.uint16)), LESIONS if is_volume else NUCLEI, image=image)
    with suppress(MedSegError):
        apply(canvas, (VOLUME_TOOLS if is_volume else NUCLEI_TOOLS)[tool](canvas))


def test_all_tools_in_a_row_are_undone_in_a_row() -> None:
    labels = np.repeat(make_nuclei(75)[np.newaxis], 3, axis=0).astype(np.uint32) + np.uint32(0)
    states, edits = [labels.copy()], []
    y, x = get_centre(5)
    for make in (
        lambda c: cut_objects_in_volume(c, [(y - 12, x + 0.5), (y + 12, x + 0.5)], 1),
        lambda c: objects.join_objects_in_volume(c, [(y, x), (y, x + 20)], 2),
        lambda c: piece_tools.grow_piece(c, find_piece(c.labels, (0, y, x)), 2.0),
        lambda c: piece_tools.delete_piece(c, find_piece_in_plane(c.labels, (0, y, x))),
        lambda c: piece_tools.shrink_piece(c, find_piece(c.labels, (1, *get_centre(9))), 1.0),
    ):
        edits.append(make(Canvas(labels, NUCLEI)))
        edits[-1].apply(labels)
        states.append(labels.copy())
    for edit, state in zip(reversed(edits), reversed(states[:-1]), strict=True):
        edit.revert(labels)
        assert np.array_equal(labels, state)
