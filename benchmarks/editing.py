"""Time of the editing tools: p50 and p99 in ms, on slices of 512 and 3000 pixels and on a volume of 300 x 512 x 512.

The limits are 100 ms on a slice of 512 x 512, 200 ms on one of 3000 x 3000 (p99), and 1 s for a piece of the volume. A
slice has nuclei at a pitch of 20 px, or one piece over half of the image; the volume has two lungs of 10 million voxels
each. The time is that from the gesture to the `Edit`, with finding the piece; `apply` and `journal` are timed
separately, for the largest edit. Beside the time on the clock is that of the processor: the tools use one thread, so
that it tells what an idle machine needs. "!" marks a p99 above its limit in both, "~" on the clock only.

    python benchmarks/editing.py --repeats 40 --out editing.json
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing import objects, piece_tools, through_slices, whole_label
from napari_medseg.core.editing.border import BorderDrag, drag_border
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.cut import cut_objects
from napari_medseg.core.editing.doubtful_places import confirm_place, find_doubtful_places
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.model_threshold import threshold_label, threshold_label_in_plane, threshold_piece
from napari_medseg.core.editing.pieces import Piece, find_piece, find_piece_in_plane
from napari_medseg.core.editing.smart_brush import SmartBrush, paint_similar
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.tasks.bundled_tasks import TASKS

LIMIT_MS = {512: 100.0, 3000: 200.0, 300: 1000.0}
VOLUME_SHAPE, VOLUME_SPACING_MM = (300, 512, 512), (1.5, 0.7, 0.7)
PITCH_PX = 20
Tool = Callable[[], object]


def main() -> None:
    """Print one row for each tool and size, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40, help="calls of each tool on a slice")
    parser.add_argument("--volume-repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for side in (512, 3000):
        for name, tool in (*list_nuclei_tools(side), *list_slice_tools(side)):
            rows.append(measure(name, side, tool, options.repeats))
    rows += [measure(name, 300, tool, options.volume_repeats) for name, tool in list_volume_tools()]
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def measure(name: str, size: int, tool: Tool, repeats: int) -> dict[str, Any]:
    """Call a tool, print and return its times on the clock and of the processor; the first call warms up."""
    times = []
    for _ in range(repeats + 1):
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            result = tool()
        except MedSegError as error:  # a refusal takes its time, too
            result = error
        times.append((time.perf_counter() - began, time.process_time() - began_cpu))
    (p50, cpu50), (p99, cpu99) = 1000 * np.percentile(times[1:], (50, 99), axis=0)
    figures = {"p50_ms": p50, "p99_ms": p99, "cpu_p50_ms": cpu50, "cpu_p99_ms": cpu99, "limit_ms": LIMIT_MS[size]}
    row = {"tool": name, "size": size, **{key: round(float(value), 1) for key, value in figures.items()}}
    mark = " " if p99 <= LIMIT_MS[size] else "~" if cpu99 <= LIMIT_MS[size] else "!"
    text = result.message if isinstance(result, Edit) else result if isinstance(result, MedSegError) else ""
    print(f"{size:5} {name:34} {p50:8.1f} {p99:8.1f} {cpu50:8.1f} {cpu99:8.1f} {mark} {text}", flush=True)
    return row


def make_nuclei(side: int) -> NDArray[Any]:
    """Disks at a pitch of 20 px; neighbours in a row touch."""
    y, x = np.mgrid[:side, :side]
    number = (y // PITCH_PX) * (side // PITCH_PX + 1) + x // PITCH_PX + 1
    inside = (y % PITCH_PX - 9.5) ** 2 + (x % PITCH_PX - 9.5) ** 2 <= 9.9**2
    return np.where(inside, number, 0).astype(np.uint16 if number.max() < 65_000 else np.uint32)


def around(place: NDArray[np.float64], *steps: tuple[float, float]) -> list[tuple[float, float]]:
    """Return points at steps from a place."""
    return [(float(place[0] + y), float(place[1] + x)) for y, x in steps]


def list_nuclei_tools(side: int) -> Iterator[tuple[str, Tool]]:
    """Tools for numbered objects, each at a random nucleus."""
    labels = make_nuclei(side)
    image = np.random.default_rng(1).integers(180, 220, (side, side, 3), dtype=np.uint8)
    image[labels > 0] -= 90
    depth = np.where(labels > 0, 200, 60).astype(np.uint8)
    canvas = Canvas(labels, TASKS["nuclei"], image=image, probability=depth[np.newaxis])
    rng = np.random.default_rng(0)

    def place() -> NDArray[np.float64]:
        return rng.integers(1, side // PITCH_PX - 11, 2) * PITCH_PX + 9.5

    def piece() -> Piece:
        return find_piece(labels, np.floor(place()).astype(int).tolist())

    yield "cut one nucleus", lambda: cut_objects(canvas, around(place(), (-12, -3), (12, 3)))
    yield "cut ten nuclei", lambda: cut_objects(canvas, around(place(), (-12, 1), (10 * PITCH_PX, -2)))
    yield "cut by a line across the image", lambda: cut_objects(canvas, [(0, place()[1]), (side, place()[1])])
    yield "join two nuclei", lambda: objects.join_objects(canvas, around(place(), (0, 0), (0, PITCH_PX)))
    yield "join six nuclei", lambda: objects.join_objects(canvas, around(place(), (0, 0), (0, 5 * PITCH_PX)))
    yield "delete a nucleus", lambda: piece_tools.delete_piece(canvas, piece())
    yield "new nucleus", lambda: objects.paint_object(canvas, around(place(), (-10, -10), (12, -10)), 4.0)
    yield "extend a nucleus", lambda: objects.paint_object(canvas, around(place(), (0, 0), (14, 3)), 5.0)
    yield (
        "fill on background (refused)",
        lambda: piece_tools.fill_region(canvas, tuple(np.floor(place() - 10).astype(int)), 1),
    )
    yield "grow a nucleus", lambda: piece_tools.grow_piece(canvas, piece(), 2.0)
    yield "smooth a nucleus", lambda: piece_tools.smooth_piece(canvas, piece(), 1.0)
    yield "threshold of a nucleus", lambda: threshold_piece(canvas, piece(), 0.3)
    yield "smart brush, 60 px drag", lambda: paint_similar(canvas, around(place(), (0, 0), (40, 45)), SmartBrush(12, 1))
    yield "border of a nucleus", lambda: drag_border(canvas, BorderDrag(*around(place(), (0, 9), (0, 13)), 12, 3))
    yield "remove specks of all nuclei", lambda: whole_label.remove_specks_in_plane(canvas, 30.0)


def list_piece_tools(canvas: Canvas, piece: Callable[[], Piece]) -> Iterator[tuple[str, Tool]]:
    """Tools that take a piece as it is; finding it is a part of their time."""
    yield "rename", lambda: piece_tools.relabel_piece(canvas, piece(), 2)
    yield "delete", lambda: piece_tools.delete_piece(canvas, piece())
    yield "keep only it", lambda: piece_tools.keep_only_piece(canvas, piece())
    yield "fill holes", lambda: piece_tools.fill_piece_holes(canvas, piece())
    yield "smooth, 1 mm", lambda: piece_tools.smooth_piece(canvas, piece(), 1.0)
    yield "grow, 2 mm", lambda: piece_tools.grow_piece(canvas, piece(), 2.0)
    yield "shrink, 2 mm", lambda: piece_tools.shrink_piece(canvas, piece(), 2.0)


def list_slice_tools(side: int) -> Iterator[tuple[str, Tool]]:
    """Tools on one piece over half of the slice: the largest that there is."""
    y, x = np.ogrid[:side, :side]
    radius = np.hypot((y - side / 2) / 0.42, (x - side / 2) / 0.38) / side
    labels = (radius < 1).astype(np.uint8)
    rng = np.random.default_rng(0)
    labels[tuple(rng.integers(0, side, (2, side)))] ^= 1  # holes and specks
    image = (np.where(radius < 1.02, -800, 40) + rng.normal(0, 20, labels.shape)).astype(np.int16)
    own = np.clip(255 * (1.5 - radius), 0, 255).astype(np.uint8)
    probability = np.stack([255 - own, own, np.zeros_like(own)])
    uncertainty = (100 * np.exp(-(((radius - 1) / 0.03) ** 2)) / 2).astype(np.uint8)
    canvas = Canvas(labels, TASKS["lungs"], (0.7, 0.7), None, image, "HU", probability, uncertainty)
    middle = (side // 2, side // 2)
    labels[middle] = 1
    edge = (side / 2, float(np.flatnonzero(labels[middle[0]])[-1]))

    def piece() -> Piece:
        return find_piece(labels, middle)

    yield from list_piece_tools(canvas, piece)
    yield "threshold of the piece, growing", lambda: threshold_piece(canvas, piece(), 0.4)
    yield "threshold of the piece, shrinking", lambda: threshold_piece(canvas, piece(), 0.6)
    yield "threshold of the label", lambda: threshold_label_in_plane(canvas, 1, 0.4)
    yield "remove specks", lambda: whole_label.remove_specks_in_plane(canvas, 5.0)
    yield "swap labels", lambda: whole_label.swap_labels_in_plane(canvas, 1, 2)
    yield "smart brush, radius 20 px", lambda: paint_similar(canvas, [edge, np.add(edge, (60, -10))], SmartBrush(20, 2))
    yield "smart brush, radius 60 px", lambda: paint_similar(canvas, [edge, np.add(edge, (60, -10))], SmartBrush(60, 2))
    yield "border, radius 25 px", lambda: drag_border(canvas, BorderDrag(edge, np.add(edge, (0, 6)), 25, 5))
    yield "border, radius 80 px", lambda: drag_border(canvas, BorderDrag(edge, np.add(edge, (0, 20)), 80, 8))
    yield "doubtful places", lambda: find_doubtful_places(canvas)
    place = find_doubtful_places(canvas)[0]
    yield "it is right", lambda: confirm_place(canvas, place)


def make_volume() -> Canvas:
    """Two lungs with cavities and specks, the model's probability, and image and uncertainty around the outline."""
    z, y, x = (
        np.arange(n, dtype=np.float32).reshape([-1 if axis == a else 1 for a in range(3)])
        for axis, n in enumerate(VOLUME_SHAPE)
    )
    labels = np.zeros(VOLUME_SHAPE, np.uint8)
    own = np.zeros((2, *VOLUME_SHAPE), np.uint8)
    uncertainty = np.zeros(VOLUME_SHAPE, np.uint8)
    for value, middle in ((1, 140), (2, 372)):
        radius = np.sqrt(((z - 150) / 140) ** 2 + ((y - 256) / 160) ** 2 + ((x - middle) / 110) ** 2)
        labels[radius < 1] = value
        own[value - 1] = np.clip(255 * (1.5 - radius), 0, 255)
        uncertainty[np.abs(radius - 1) < 0.02] = 40
    rng = np.random.default_rng(0)
    spots = tuple(rng.integers(0, n, 3000) for n in VOLUME_SHAPE)
    labels[spots] = np.where(labels[spots] > 0, 0, 1)
    image = np.where(labels > 0, np.int16(-800), np.int16(40))
    probability = np.stack([255 - np.maximum(own[0], own[1]), own[0], own[1]])
    return Canvas(labels, TASKS["lungs"], VOLUME_SPACING_MM, None, image, "HU", probability, uncertainty)


def list_volume_tools() -> Iterator[tuple[str, Tool]]:
    """Tools on a whole lung of 10 million voxels, and on one slice of the volume."""
    canvas = make_volume()
    labels, seed = canvas.labels, (150, 256, 141)
    labels[seed] = 1

    def piece() -> Piece:
        return find_piece(labels, seed)

    yield "find the piece on its slice", lambda: find_piece_in_plane(labels, seed)
    yield "find the piece", piece
    yield from list_piece_tools(canvas, piece)
    yield "grow, 5 mm", lambda: piece_tools.grow_piece(canvas, piece(), 5.0)
    yield "threshold of the piece, growing", lambda: threshold_piece(canvas, piece(), 0.45)
    yield "threshold of the piece, shrinking", lambda: threshold_piece(canvas, piece(), 0.6)
    yield "threshold of the label", lambda: threshold_label(canvas, 1, 0.45)
    yield "remove specks", lambda: whole_label.remove_specks(canvas, 10.0)
    yield "swap labels", lambda: whole_label.swap_labels(canvas, 1, 2)
    painted = piece_tools.grow_piece(canvas, find_piece_in_plane(labels, seed), 4.0)
    yield "proposals on four slices", lambda: through_slices.propose_on_neighbours(canvas, painted, seed[0])
    empty = labels.copy()
    empty[151] = 0
    between = Canvas(empty, canvas.task, canvas.spacing_mm)
    yield "interpolate a slice", lambda: through_slices.interpolate_slice(between, 1, 150, 152)
    yield "doubtful places", lambda: find_doubtful_places(canvas)
    deletion = piece_tools.delete_piece(canvas, piece())
    target = labels.copy()
    yield "apply and undo a deletion", lambda: (deletion.apply(target), deletion.revert(target))
    yield "journal of a deletion", lambda: write_to_journal(deletion)


def write_to_journal(edit: Edit) -> None:
    """Write an edit as a stroke to a new journal."""
    with tempfile.TemporaryDirectory() as folder:
        journal = StrokeJournal(Path(folder) / "1.journal")
        journal.add(edit.stroke)
        journal.close()


if __name__ == "__main__":
    main()
