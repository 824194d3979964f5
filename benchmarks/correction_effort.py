"""Keys, clicks and seconds of nine corrections: with napari's own brush and keys, and with the tools of MedSeg.

Both drive a real window with real mouse paths and keys. The first is a bare napari with an image and a Labels layer,
and the shortest way that its brush, eraser, fill and pick offer; the second is the same window with the dock. A key
with Shift counts as one key, pointing without a click as a point. `damage` are the voxels that differ from the wanted
labels at the end, up to the numbers of objects. `hand` are the seconds of a person by a simple model (`hand.Hand`);
`program` is the time that the processor needs for what is sent, with drawing. What a person needs to look and to decide
is in neither. The rim on 30 slices is one that the model found nearly as likely as the border it drew (0.43).

    xvfb-run -s "-screen 0 1280x720x24" python benchmarks/correction_effort.py
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import napari
import numpy as np
from hand import Effort, Person, Point
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QApplication

from napari_medseg.core.image import Image
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.gl_context import CanvasContext
from napari_medseg.plugin.main_widget import MedSegWidget
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

KEY, SHIFT = Qt.Key, Qt.KeyboardModifier.ShiftModifier
PITCH_PX, RADIUS_PX = 20, 10.0
N_SPECKS, N_SLICES = 20, 30
LESION = (60, 200)


class Scene(NamedTuple):
    """An image, its labels, and what they should be."""

    task: str
    labels: NDArray[Any]
    wanted: NDArray[Any]
    probability: NDArray[np.uint8] | None = None


class Correction(NamedTuple):
    """What is corrected, and how: by napari alone, and by the tools, which get the row of their buttons."""

    name: str
    make_scene: Callable[[], Scene]
    by_napari: Callable[[Person], None]
    by_medseg: Callable[[Person, Any], None]


def list_centres() -> list[tuple[int, int]]:
    """Return the centres of 25 x 24 nuclei."""
    places = [PITCH_PX // 2 + PITCH_PX * number for number in range(25)]
    return [(y, x) for y in places for x in places[:24]]


def make_nuclei() -> NDArray[np.uint16]:
    """600 disks; neighbours in a row touch; their numbers need 16 bits."""
    labels = np.zeros((500, 480), np.uint16)
    y, x = np.ogrid[:500, :480]
    for number, (cy, cx) in enumerate(list_centres(), start=701):
        labels[(y - cy) ** 2 + (x - cx + 0.5) ** 2 <= RADIUS_PX**2] = number
    return labels


A, B = list_centres()[250], list_centres()[251]
"""Two nuclei that touch, side by side."""


def make_joined() -> Scene:
    """Make two nuclei with one number."""
    nuclei = make_nuclei()
    return Scene("nuclei", np.where(nuclei == nuclei[B], nuclei[A], nuclei), nuclei)


def make_split() -> Scene:
    """Make one nucleus with two numbers."""
    nuclei = make_nuclei()
    return Scene("nuclei", nuclei, np.where(nuclei == nuclei[B], nuclei[A], nuclei))


def make_false_nucleus() -> Scene:
    """Make a nucleus where there is none."""
    nuclei = make_nuclei()
    return Scene("nuclei", nuclei, np.where(nuclei == nuclei[A], 0, nuclei))


def make_missing_nucleus() -> Scene:
    """Make a nucleus that the model missed."""
    nuclei = make_nuclei()
    return Scene("nuclei", np.where(nuclei == nuclei[A], 0, nuclei), nuclei)


def make_organ() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Make an organ of (y, x), and a round spot beside it."""
    y, x = np.ogrid[:256, :256]
    organ = ((y - 128) / 90.0) ** 2 + ((x - 90) / 50.0) ** 2 < 1
    return organ.astype(np.uint8), (y - LESION[0]) ** 2 + (x - LESION[1]) ** 2 < 100


def make_misnamed() -> Scene:
    """Make a piece with the other label."""
    organ, spot = make_organ()
    return Scene("lungs", np.where(spot, np.uint8(1), organ), np.where(spot, np.uint8(2), organ))


def make_specks() -> Scene:
    """Make an organ with 20 specks of 2 x 2 pixels beside it."""
    organ, _ = make_organ()
    labels = organ.copy()
    for y, x in list_specks():
        labels[y : y + 2, x : x + 2] = 1
    return Scene("lungs", labels, organ)


def list_specks() -> list[tuple[int, int]]:
    """Return the first pixels of the specks."""
    return [(20 + 11 * number, 190 + 25 * (number % 2)) for number in range(N_SPECKS)]


def make_false_piece() -> Scene:
    """Make a volume in which a false piece goes through 30 slices."""
    organ, spot = make_organ()
    wanted = np.repeat(organ[np.newaxis], N_SLICES + 4, axis=0)
    labels = wanted.copy()
    labels[2 : N_SLICES + 2, spot] = 1
    return Scene("lungs", labels, wanted)


def make_missed_rim() -> Scene:
    """Make a volume in which the model missed a rim on 30 slices, and was unsure there."""
    organ, _ = make_organ()
    wanted = np.repeat(organ[np.newaxis], N_SLICES + 4, axis=0)
    y, x = np.ogrid[:256, :256]
    rim = (((y - 128) / 90.0) ** 2 + ((x - 90) / 50.0) ** 2 > 0.8) & (organ > 0) & (x > 90)
    labels, own = wanted.copy(), np.where(wanted > 0, np.uint8(230), np.uint8(13))
    labels[2 : N_SLICES + 2, rim], own[2 : N_SLICES + 2, rim] = 0, 110
    return Scene("lungs", labels, wanted, np.stack([255 - own, own, np.zeros_like(own)]))


def draw_rim() -> list[Point]:
    """Return points along the middle of the missed rim."""
    angles = np.linspace(-np.pi / 2 + 0.12, np.pi / 2 - 0.12, 25)
    return [(128 + 0.947 * 90 * float(np.sin(a)), 90 + 0.947 * 50 * float(np.cos(a))) for a in angles]


def draw_disk() -> list[Point]:
    """Return a path by which a brush of 10 px fills a nucleus."""
    circle = [
        (A[0] + 4.6 * float(np.sin(a)), A[1] - 0.5 + 4.6 * float(np.cos(a))) for a in np.linspace(0, 2 * np.pi, 13)
    ]
    return [(float(A[0]), float(A[1])), *circle]


BETWEEN = (A[0] - 12, A[1] + 9.5), (A[0] + 12, A[1] + 9.5)
"""A line between the two nuclei."""


def split_by_napari(person: Person) -> None:
    """Erase a line, and fill one side with a new number."""
    person.key(KEY.Key_E)
    person.key(KEY.Key_BracketLeft, times=8)  # a brush of 10 px would take a fifth of both
    person.stroke(*BETWEEN)
    person.key(KEY.Key_M)
    person.key(KEY.Key_F)
    person.click(B)


def join_by_napari(person: Person) -> None:
    """Pick one, and fill the other."""
    person.key(KEY.Key_L)
    person.click(A)
    person.key(KEY.Key_F)
    person.click(B)


def fill_with_background(person: Person, *places: Point) -> None:
    """Fill pieces with the background, then choose the label again."""
    person.key(KEY.Key_F)
    person.key(KEY.Key_X)
    for place in places:
        person.click(place)
    person.key(KEY.Key_X)


def draw_by_napari(person: Person) -> None:
    """Ask for a new number, and draw."""
    person.key(KEY.Key_M)
    person.key(KEY.Key_P)
    person.stroke(*draw_disk())


def rename_by_napari(person: Person) -> None:
    """Fill with the next label."""
    person.key(KEY.Key_F)
    person.key(KEY.Key_Equal)
    person.click(LESION)


def delete_on_slices_by_napari(person: Person) -> None:
    """Fill the piece with the background on each slice."""
    person.key(KEY.Key_F)
    person.key(KEY.Key_X)
    for number in range(N_SLICES):
        person.click(LESION)
        if number < N_SLICES - 1:
            person.next_slice()


def delete_in_volume_by_napari(person: Person) -> None:
    """Set `n edit dim` to 3 in the controls of the layer, and fill once."""
    controls = person.viewer.window._qt_viewer.controls.widgets[person.layer]
    boxes = [box for box in controls.findChildren(QAbstractSpinBox) if box.isVisible()]
    person.press_button(boxes[0])  # which of its buttons it is does not matter for the time
    person.layer.n_edit_dimensions = 3
    fill_with_background(person, LESION)


def draw_rim_by_napari(person: Person) -> None:
    """Paint the rim on each slice, with a brush as wide as it is."""
    person.key(KEY.Key_P)
    person.key(KEY.Key_BracketLeft, times=4)
    for number in range(N_SLICES):
        person.stroke(*draw_rim())
        if number < N_SLICES - 1:
            person.next_slice()


def press_over(person: Person, place: Point, key: Qt.Key) -> None:
    """Press Shift and a key over a piece."""
    person.point(place)
    person.key(key, SHIFT)


def draw_by_medseg(person: Person, _row: object) -> None:
    """Draw: the number is free already."""
    person.key(KEY.Key_P)
    person.stroke(*draw_disk())


def delete_in_volume_by_medseg(person: Person, _row: object) -> None:
    """Delete the piece through all slices."""
    person.key(KEY.Key_I)
    press_over(person, LESION, KEY.Key_E)


def grow_by_model(person: Person, _row: object) -> None:
    """Grow the piece to where the model is less sure, through all slices."""
    person.key(KEY.Key_I)
    person.point((128, 90))
    person.key(KEY.Key_Period)


CORRECTIONS = (
    Correction(
        "split two nuclei", make_joined, split_by_napari, lambda person, _: person.hold_and_stroke(KEY.Key_N, *BETWEEN)
    ),
    Correction(
        "merge two nuclei", make_split, join_by_napari, lambda person, _: person.hold_and_stroke(KEY.Key_J, A, B)
    ),
    Correction(
        "delete a nucleus",
        make_false_nucleus,
        lambda person: fill_with_background(person, A),
        lambda person, _: press_over(person, A, KEY.Key_E),
    ),
    Correction("add a nucleus", make_missing_nucleus, draw_by_napari, draw_by_medseg),
    Correction(
        "rename a lesion", make_misnamed, rename_by_napari, lambda person, _: press_over(person, LESION, KEY.Key_At)
    ),
    Correction(
        "remove 20 specks",
        make_specks,
        lambda person: fill_with_background(person, *[(y + 0.5, x + 0.5) for y, x in list_specks()]),
        lambda person, row: person.choose_entry(row._specks, 1),
    ),
    Correction("a false piece on 30 slices", make_false_piece, delete_on_slices_by_napari, delete_in_volume_by_medseg),
    Correction("the same, `n edit dim` at 3", make_false_piece, delete_in_volume_by_napari, delete_in_volume_by_medseg),
    Correction("a missed rim on 30 slices", make_missed_rim, draw_rim_by_napari, grow_by_model),
)


def count_damage(found: NDArray[Any], scene: Scene) -> int:
    """Count the voxels that differ from the wanted labels; in a task of instances, up to the numbers."""
    if scene.task != "nuclei":
        return int(np.count_nonzero(found != scene.wanted))
    pairs, counts = np.unique(np.stack([scene.wanted.ravel(), found.ravel()]), axis=1, return_counts=True)
    right, taken = 0, set()
    for place in np.argsort(-counts):
        wanted, number = (int(value) for value in pairs[:, place])
        if (wanted == 0) == (number == 0) and ("w", wanted) not in taken and ("f", number) not in taken:
            taken |= {("w", wanted), ("f", number)}
            right += int(counts[place])
    return scene.wanted.size - right


def make_pixels(scene: Scene) -> NDArray[Any]:
    """Make an image to these labels."""
    if scene.task == "nuclei":
        pixels = np.full((*scene.labels.shape, 3), 220, np.uint8)
        pixels[scene.wanted > 0] = (110, 60, 140)
        return pixels
    return np.where(scene.wanted > 0, np.int16(-800), np.int16(40))


def show(viewer: napari.Viewer, layer: Labels) -> None:
    """Fit the view, on the first slice to correct, and draw."""
    viewer.layers.selection.active = layer
    viewer.reset_view()
    if layer.ndim == len("ZYX"):
        viewer.dims.set_current_step(0, 2)
    for _ in range(4):
        QApplication.processEvents()
        viewer.window._qt_viewer.canvas.native.repaint()
    viewer.window._qt_viewer.canvas.native.setFocus()


def measure_napari(viewer: napari.Viewer, corrections: Sequence[Correction]) -> Iterator[tuple[str, Effort, int]]:
    """Correct all scenes with napari alone."""
    for name, make_scene, correct, _ in corrections:
        scene = make_scene()
        viewer.layers.clear()
        viewer.add_image(make_pixels(scene), rgb=scene.task == "nuclei")
        layer = viewer.add_labels(scene.labels.copy())
        show(viewer, layer)
        person = Person(viewer, layer)
        correct(person)
        yield name, person.effort, count_damage(np.asarray(layer.data), scene)


def measure_medseg(
    viewer: napari.Viewer, widget: MedSegWidget, corrections: Sequence[Correction]
) -> Iterator[tuple[str, Effort, int]]:
    """Correct all scenes with the tools."""
    dock, workspace = widget.dock, widget.workspace
    dock.worklist.set_predicts_automatically(False)
    for number, (name, make_scene, _, correct) in enumerate(corrections):
        scene = make_scene()
        axes = "YXC" if scene.task == "nuclei" else "ZYX"[-scene.labels.ndim :]
        spacing = None if scene.task == "nuclei" else (1.0,) * scene.labels.ndim
        unit = "rgb" if scene.task == "nuclei" else "HU"
        image = Image(make_pixels(scene) + number, axes, spacing, units=unit, name=name, group=f"g{number}")
        (case,) = cases.add_cases(workspace, [image], scene.task)
        review.record_prediction(workspace, case, PredictionResult(scene.labels, 0.1, None, 1.0, "CPU"), "x@1")
        dock.case_controller.open(case, image)
        _wait(lambda case=case: dock.case_controller.current is not None and dock.case_controller.current.case == case)
        _wait(lambda: dock.correction.editor.layer is not None)
        layer = dock.correction.editor.layer
        show(viewer, layer)
        dock.correction.mouse_tools.set_in_volume(False)
        if scene.probability is not None:
            dock.guidance.maps.why_not = ""
            dock.correction.editor.set_model_maps(scene.probability, None)
        person = Person(viewer, layer)
        correct(person, dock.correction.row)
        began = time.process_time()
        _wait(lambda: not dock.correction.editor.has_request)
        person.effort.program_s += time.process_time() - began
        yield name, person.effort, count_damage(np.asarray(layer.data), scene)


def _wait(is_done: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def main() -> None:
    """Print a row for each correction, for both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", nargs="*", choices=("napari", "medseg"), default=["napari", "medseg"])
    parser.add_argument("--only", default="", help="a part of the name of a correction")
    options = parser.parse_args()
    corrections = [one for one in CORRECTIONS if options.only in one.name]
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    context = CanvasContext(viewer, viewer.window._qt_window)  # without a graphics card, napari alone would crash
    print("| correction | with | keys | clicks | points | strokes, px | slices | hand s | program s | damage |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for result in measure_napari(viewer, corrections if "napari" in options.by else ()):
        print_row("napari", *result)
    viewer.layers.clear()
    context.close()
    with tempfile.TemporaryDirectory() as folder:
        widget = MedSegWidget(viewer, Workspace.open(Path(folder) / "project", Path(folder) / "registry"))
        viewer.window.add_dock_widget(widget, name="MedSeg")
        for result in measure_medseg(viewer, widget, corrections if "medseg" in options.by else ()):
            print_row("MedSeg", *result)
        widget.close_down()
    viewer.close()


def print_row(by: str, name: str, effort: Effort, damage: int) -> None:
    """Print a row of the table."""
    cells = [name, by, effort.keys, effort.clicks, effort.points, f"{effort.strokes}, {effort.stroke_px:,.0f}"]
    cells += [effort.slices, f"{effort.hand_s:.1f}", f"{effort.program_s:.1f}", f"{damage:,}"]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
