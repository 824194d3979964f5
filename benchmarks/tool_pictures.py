"""The pictures of `docs/tools.md`: before, preview and after of each tool, on the images that come with the program.

python benchmarks/tool_pictures.py docs/tools
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import line as draw_line
from skimage.measure import find_contours

from napari_medseg.core import formats
from napari_medseg.core.editing import objects, piece_tools, whole_label
from napari_medseg.core.editing.border import BorderDrag, drag_border, draw_outline
from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.cut import cut_objects
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.model_threshold import threshold_piece
from napari_medseg.core.editing.pieces import Piece, find_piece
from napari_medseg.core.editing.smart_brush import SmartBrush, paint_similar
from napari_medseg.core.editing.through_slices import interpolate_slice, propose_on_neighbours
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.display_windows import HU_PRESETS, compute_preset_limits
from napari_medseg.plugin.correction.preview import paint_preview
from napari_medseg.plugin.label_colours import make_colormap

SAMPLES = Path(__file__).parent.parent / "napari_medseg" / "samples"
NUCLEI, LUNGS = "nuclei_dsb/{}/136000dc18fa6def", "ct_a0001/{}/A0001_z016"
CT_WINDOW = (-1350.0, 150.0)
MARGIN_PX, WIDTH_PX, GAP_PX, OPACITY = 14, 180, 6, 0.45
Line = list[tuple[float, float]]


class Example(NamedTuple):
    """A tool on a canvas: its edit, and the line of the drag."""

    name: str
    canvas: Canvas
    edit: Edit
    line: Line = []  # noqa: RUF012 - it is read only


def main() -> None:
    """Write one picture for each tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for example in (*list_nuclei_examples(read_canvas("nuclei", NUCLEI)), *list_lung_examples()):
        iio.imwrite(folder / f"{example.name}.png", draw(example))
        print(example.name, "|", example.edit.message)
    iio.imwrite(folder / "windows.png", draw_windows(read_canvas("lungs", LUNGS)))


def read_canvas(task: str, name: str) -> Canvas:
    """Read a sample image with its labels."""
    (file,) = (
        SAMPLES.glob(f"{name.format('images')}.*") if task == "nuclei" else SAMPLES.glob(name.format("dicom") + "*")
    )
    image = formats.read(file)
    labels = formats.read(SAMPLES / f"{name.format('labels')}.tif").pixels.astype(np.uint16)
    return Canvas(labels, TASKS[task], image.spacing_mm, image=image.pixels, unit=image.units)


def list_nuclei_examples(canvas: Canvas) -> Iterator[Example]:
    """Tools for numbered objects, on stained tissue."""
    largest = find_piece(canvas.labels, _find_middle_of_largest(canvas.labels))
    (top, bottom), (left, right) = ((side.start, side.stop) for side in largest.box)
    middle = (top + bottom) / 2, (left + right) / 2
    line: Line = [(top - 4.0, middle[1] - 3), (bottom + 4.0, middle[1] + 3)]
    cut = cut_objects(canvas, line)
    yield Example("cut", canvas, cut, line)
    parts = _apply(canvas, cut)
    across: Line = [(middle[0], left + 4.0), (middle[0], right - 5.0)]
    yield Example("join", parts, objects.join_objects(parts, across), across)
    yield Example("delete", canvas, piece_tools.delete_piece(canvas, largest))
    without = _apply(canvas, piece_tools.delete_piece(canvas, largest))
    stroke: Line = [(middle[0], left + 8.0), (middle[0], right - 8.0)]
    yield Example("new", without, objects.paint_object(without, stroke, 6.0), stroke)
    half = _apply(parts, piece_tools.delete_piece(parts, _find_other_part(parts, largest)))
    outwards: Line = [(middle[0], left + 6.0), (middle[0], right - 6.0)]
    if half.labels[round(outwards[0][0]), round(outwards[0][1])] == 0:
        outwards = outwards[::-1]
    yield Example("extend", half, objects.paint_object(half, outwards, 6.0), outwards)


def list_lung_examples() -> Iterator[Example]:
    """Tools for labels, on a CT."""
    canvas = read_canvas("lungs", LUNGS)
    lung = find_piece(canvas.labels, _find_middle_of_largest(canvas.labels))
    value = lung.value
    (top, bottom), (left, _right) = ((side.start, side.stop) for side in lung.box)
    y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    row = (top + bottom) // 2
    inside = np.flatnonzero(canvas.labels[row] == value)
    bite = (y - row) ** 2 + (x - inside[0]) ** 2 < 40**2
    bitten = _change(canvas, bite & (canvas.labels == value), 0)
    stroke: Line = [(row - 15.0, inside[0] + 14.0), (row + 15.0, inside[0] + 14.0)]
    yield Example("smart", bitten, paint_similar(bitten, stroke, SmartBrush(30, value)), stroke)
    drag = BorderDrag((row, inside[0] + 40.0), (row, inside[0] + 1.0), 40.0, 6.0)
    yield Example("border", bitten, drag_border(bitten, drag), [drag.start, drag.end])
    wanted = find_contours(np.pad(canvas.labels == value, 1), 0.5)
    edge = max(wanted, key=len) - 1.0
    near = edge[(np.abs(edge[:, 0] - row) < 44) & (edge[:, 1] < inside[0] + 60)]
    line: Line = [(float(y), float(x)) for y, x in near[np.argsort(near[:, 0])][::6]]
    yield Example("outline", bitten, draw_outline(bitten, line, value), line)
    other = 3 - value
    yield Example("rename", canvas, piece_tools.relabel_piece(canvas, lung, other))
    middle = int(np.median(inside))
    holed = _change(canvas, (y - row) ** 2 + (x - middle) ** 2 < 14**2, 0)
    piece = find_piece(holed.labels, (row, int(inside[-1]) - 2))
    yield Example("holes", holed, piece_tools.fill_piece_holes(holed, piece))
    yield Example("smooth", canvas, piece_tools.smooth_piece(canvas, lung, 4.0))
    yield Example("grow", canvas, piece_tools.grow_piece(canvas, lung, 5.0))
    yield Example("shrink", canvas, piece_tools.shrink_piece(canvas, lung, 5.0))
    rng = np.random.default_rng(0)
    spots = np.zeros(canvas.shape, np.bool_)
    spots[rng.integers(top, bottom, 25), rng.integers(left - 30, left, 25)] = True
    specks = _change(canvas, ndimage.binary_dilation(spots, iterations=2) & (canvas.labels == 0), value)
    yield Example("specks", specks, whole_label.remove_specks_in_plane(specks, 30.0))
    yield Example("keep", specks, piece_tools.keep_only_piece(specks, find_piece(specks.labels, (row, middle))))
    speck = tuple(int(place) for place in np.argwhere(spots & (specks.labels == value) & (canvas.labels == 0))[0])
    yield Example("delete_piece", specks, piece_tools.delete_piece(specks, find_piece(specks.labels, speck)))
    yield Example("swap", canvas, whole_label.swap_labels(canvas, 1, 2))
    yield from list_model_examples(canvas, lung)


def list_model_examples(canvas: Canvas, lung: Piece) -> Iterator[Example]:
    """Tools that follow the model, whose probability is a blurred mask here, and a slice between two others."""
    value = lung.value
    own = (255 * ndimage.gaussian_filter((canvas.labels == value).astype(float), 4.0)).astype(np.uint8)
    maps = np.zeros((3, *canvas.shape), np.uint8)
    maps[0], maps[value] = 255 - own, own
    guided = replace(canvas, probability=maps)
    yield Example("threshold", guided, threshold_piece(guided, lung, 0.2))
    near = [ndimage.shift(canvas.labels, (0, step), order=0) for step in (-6, 6)]
    volume = Canvas(np.stack([near[0], 0 * canvas.labels, near[1]]), canvas.task)
    edit = interpolate_slice(volume, value, 0, 2)
    runs = edit.voxel_runs.copy()
    runs["start"] -= canvas.labels.size
    yield Example("interpolate", _change(canvas, canvas.labels > 0, 0), Edit(canvas.shape, runs, edit.message))
    yield make_proposal_example(canvas, value)


def make_proposal_example(canvas: Canvas, value: int) -> Example:
    """Fill a bite on a slice, which is then proposed on the next one, where the model was unsure, too."""
    row = (find_piece(canvas.labels, _find_middle_of_largest(canvas.labels)).box[0].start + canvas.shape[0] // 2) // 2
    inside = np.flatnonzero(canvas.labels[row] == value)
    y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    bite = ((y - row) / 1.6) ** 2 + (x - inside[0] - 8) ** 2 < 24**2
    bitten = _change(canvas, bite & (canvas.labels == value), 0)
    unsure = np.where(bite, 40, 0).astype(np.uint8)
    volume = Canvas(
        np.stack([bitten.labels] * 2),
        canvas.task,
        image=np.stack([canvas.image] * 2),
        uncertainty=np.stack([unsure] * 2),
    )
    place = slice(0, 1), slice(0, canvas.shape[0]), slice(0, canvas.shape[1])
    drawn = volume.make_edit("drawn", [Change(place, (bite & (canvas.labels == value))[np.newaxis], value)])
    (proposal,) = propose_on_neighbours(volume, drawn, 0)
    runs = proposal.voxel_runs.copy()
    runs["start"] -= canvas.labels.size
    return Example("proposal", bitten, Edit(canvas.shape, runs, proposal.message))


def draw_windows(canvas: Canvas) -> NDArray[np.uint8]:
    """Draw a slice in the windows lung, mediastinum and bone, beside each other, uint8 (y, x, 3)."""
    image = Image(np.asarray(canvas.image), "YX", canvas.spacing_mm, units="HU", name="CT", group="CT")
    gap, panels = np.full((canvas.shape[0], GAP_PX, 3), 255.0), []
    for preset in HU_PRESETS:
        low, high = compute_preset_limits(image, preset)
        grey = np.clip((image.pixels - low) / (high - low), 0, 1) * 255
        panels += [grey[..., np.newaxis].repeat(3, -1), gap]
    joined = np.concatenate(panels[:-1], axis=1)
    step = max(1, round(joined.shape[1] / (3 * WIDTH_PX)))
    return joined[::step, ::step].round().astype(np.uint8)


def draw(example: Example) -> NDArray[np.uint8]:
    """Draw before, preview and after, beside each other, uint8 (y, x, 3)."""
    canvas, edit = example.canvas, example.edit
    box = _choose_box(example)
    layer = Labels(canvas.labels, colormap=make_colormap(canvas.task))
    before, after = _overlay(canvas, canvas.labels, layer), _overlay(canvas, _apply(canvas, edit).labels, layer)
    preview, shown = before.copy(), edit.render_plane(0)
    colours = paint_preview(shown, layer)
    share = colours[..., 3:] / 255
    preview[shown.box] = preview[shown.box] * (1 - share) + colours[..., :3] * share
    scale = max(1, round(WIDTH_PX / (box[1].stop - box[1].start)))
    panels = [picture[box].repeat(scale, 0).repeat(scale, 1) for picture in (before, preview, after)]
    _draw_drag(panels[1], example.line, box, scale)
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255.0)
    joined = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    step = max(1, round(joined.shape[1] / (3 * WIDTH_PX)))
    return joined[::step, ::step].round().astype(np.uint8)


def _draw_drag(panel: NDArray[Any], line: Line, box: tuple[slice, ...], scale: int) -> None:
    for (y0, x0), (y1, x1) in itertools.pairwise(line):
        ends = [
            round(scale * (place + 0.5 - side.start)) for place, side in zip((y0, x0, y1, x1), box * 2, strict=True)
        ]
        y, x = draw_line(*ends)
        for width, colour in ((3, 0), (1, 255)):
            for dy in range(-width, width + 1):
                for dx in range(-width, width + 1):
                    inside = (y + dy >= 0) & (y + dy < panel.shape[0]) & (x + dx >= 0) & (x + dx < panel.shape[1])
                    panel[y[inside] + dy, x[inside] + dx] = colour


def _overlay(canvas: Canvas, labels: NDArray[Any], layer: Labels) -> NDArray[np.float64]:
    """Draw the image with labels over it, float64 (y, x, 3) from 0 to 255."""
    pixels = np.asarray(canvas.image, np.float64)
    if pixels.ndim == 2:
        low, high = CT_WINDOW
        pixels = np.clip((pixels - low) / (high - low), 0, 1)[..., np.newaxis].repeat(3, -1) * 255
    colours = layer.colormap.map(labels)
    share = OPACITY * colours[..., 3:] * (labels > 0)[..., np.newaxis]
    return pixels * (1 - share) + 255 * colours[..., :3] * share


def _choose_box(example: Example) -> tuple[slice, ...]:
    """Return a box with the edit and the line, wider than high."""
    places = [(side.start, side.stop) for side in example.edit.box]
    for axis in range(2):
        along = [place[axis] for place in example.line]
        low, high = min([places[axis][0], *along]), max([places[axis][1], *along])
        places[axis] = int(low) - MARGIN_PX, int(high) + MARGIN_PX
    half = max(places[1][1] - places[1][0], places[0][1] - places[0][0]) // 2
    sides = []
    for (low, high), length in zip(places, example.canvas.shape, strict=True):
        start = min(max(0, (low + high) // 2 - half), max(0, length - 2 * half))
        sides.append(slice(start, min(length, start + 2 * half)))
    return tuple(sides)


def _apply(canvas: Canvas, edit: Edit) -> Canvas:
    labels = np.ascontiguousarray(canvas.labels).copy()
    edit.apply(labels)
    return replace(canvas, labels=labels)


def _change(canvas: Canvas, where: NDArray[np.bool_], value: int) -> Canvas:
    labels = canvas.labels.copy()
    labels[where] = value
    return replace(canvas, labels=labels)


def _find_middle_of_largest(labels: NDArray[Any]) -> tuple[int, ...]:
    """Return the pixel of the largest label that is farthest from its border."""
    inside = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return tuple(int(place) for place in np.unravel_index(depth.argmax(), labels.shape))


def _find_other_part(parts: Canvas, largest: Piece) -> Piece:
    """Return the part of a cut object that got another number."""
    new = parts.labels[largest.box]
    places = np.argwhere(largest.mask & (new != largest.value)) + [side.start for side in largest.box]
    return find_piece(parts.labels, places[0].tolist())


if __name__ == "__main__":
    main()
