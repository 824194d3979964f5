"""The longest pause of the window when a large image is dropped, its prediction arrives, and the case is opened again.

A timer of the window should fire every two milliseconds. While it does not, a thread looks where the main thread is, so
that the table can say how much of the longest pause was spent in this program, in napari, and in drawing (OpenGL).

    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/drop_pause.py --repeats 3 --out drop_pause.json
"""

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pause_meter import Pause, PauseMeter
from pydicom.uid import generate_uid

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.inference.events import PredictionEvent, PredictionProgress, PredictionResult
from napari_medseg.plugin.demo.demo import open_window
from napari_medseg.plugin.demo.window_driver import WindowDriver
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.workspace import Workspace

STEPS = (
    "first drop of the window",
    "its prediction arrives",
    "next of its kind dropped",
    "next predicted",
    "back to the first",
    "another kind dropped",
    "back from the other kind",
    "next predicted case opens",
    "accepted, the next opens",
)
OPENINGS = 5
"""How often the next predicted case of the same kind is opened: the figure that a person meets all day."""
READ_AHEAD_S = 3.0
"""How long a person works on a case at least; meanwhile the next one is read."""
MANY_FILES = 500
MANY = f"{MANY_FILES} pictures of 64 px"


START_S = 3.0
"""Before the first drop: a person has seen the window."""


class StandInEngine:
    """Answers with given labels after a second, so that only the window is measured."""

    state, device, cpu_reason = "ready", "stand-in", ""

    def __init__(self) -> None:
        self.labels: NDArray[Any] | None = None

    def start(self) -> None:
        """Nothing has to start."""

    close = cancel = cancel_gracefully = start

    def predict(self, image: Image, *_: object, **__: object) -> Iterator[PredictionEvent]:
        """Yield the labels that were set, or a square in the image."""
        yield PredictionProgress(0, 1, "working", None)
        time.sleep(1.0)
        labels = self.labels
        if labels is None or labels.shape != image.spatial_shape:
            labels = np.zeros(image.spatial_shape, np.uint8)
            labels[..., 10:20, 10:20] = 1
        yield PredictionResult(labels.copy(), 0.1, None, 1.0, "stand-in", None)


def write_images(folder: Path) -> None:
    """Write two of each kind of image: of the large ones, the second is mirrored."""
    for name, step in (("first", 1), ("second", -1)):
        _write_set(folder / name, step)


def _write_set(folder: Path, step: int) -> None:
    folder.mkdir(parents=True)
    shutil.copy(sorted((SAMPLES / "ct_a0001" / "dicom").glob("*.dcm"))[8 + step], folder / "slice.dcm")
    series = formats.read(SAMPLES / "ct_a0001" / "dicom")
    pixels = np.stack(list(itertools.islice(itertools.cycle(series.pixels), 300)))
    pixels = np.ascontiguousarray(pixels[::step])
    formats.write_image(folder / "ct.nii.gz", Image(pixels, "ZYX", (1.0, 0.7, 0.7), name="ct", units="HU"))
    _write_series(folder / "series", pixels)
    tile = formats.read(sorted((SAMPLES / "nuclei_dsb" / "images").glob("*.png"))[0]).pixels
    for name, side in (("tile.tif", 1_000), ("picture.tif", 3_000), ("slide.tif", 12_000)):
        times = [-(-side // length) for length in tile.shape[:2]]
        slide = np.tile(tile, (*times, *[1] * (tile.ndim - 2)))[:side, :side][::step]
        axes = "YXC" if slide.ndim == 3 else "YX"
        formats.write_image(folder / name, Image(slide, axes, None, name="slide", units="rgb"))
    grey = slide.mean(axis=-1).astype(np.uint8) if slide.ndim == 3 else slide
    formats.write_image(folder / "grey.png", Image(grey, "YX", None, name="grey"))


def _write_series(folder: Path, pixels: NDArray[Any]) -> None:
    folder.mkdir()
    template = pydicom.dcmread(sorted((SAMPLES / "ct_a0001" / "dicom").glob("*.dcm"))[0])
    template.decompress()
    stored = ((pixels - float(template.RescaleIntercept)) / float(template.RescaleSlope)).round()
    template.SeriesInstanceUID = generate_uid()
    x, y, _ = template.ImagePositionPatient
    for number, plane in enumerate(stored.astype(template.pixel_array.dtype)):
        template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        template.InstanceNumber, template.ImagePositionPatient = number + 1, [x, y, float(number)]
        template.SliceLocation, template.PixelData = float(number), plane.tobytes()
        template.save_as(folder / f"{number:03}.dcm")


def make_labels(shape: tuple[int, ...], task: str) -> NDArray[Any]:
    """Return two lungs, or one numbered object per 36 x 36 pixels."""
    if task == "nuclei":
        side = 36
        rows, columns = (-(-length // side) for length in shape)
        disc = np.hypot(*np.mgrid[-18:18, -18:18]) < 13
        numbers = np.arange(1, rows * columns + 1, dtype=np.uint32).reshape(rows, columns)
        return np.kron(numbers, disc.astype(np.uint32))[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.uint8)
    labels[..., 120:400, 80:220], labels[..., 120:400, 290:430] = 1, 2
    return labels


def measure(path: Path, task: str, folder: Path, is_real: bool) -> list[tuple[str, Pause]]:
    """Open the window on a new project, drop the image, and go through the steps."""
    workspace = _open_workspace(folder, is_real)
    viewer, widget = open_window(workspace)
    stage = WindowDriver(viewer, widget, folder)
    try:
        return list(_run_steps(stage, path, task, workspace))
    finally:
        viewer.close()
        workspace.close()


def _open_workspace(folder: Path, is_real: bool) -> Workspace:
    if is_real:
        return Workspace.open(folder / "project", folder / "registry")
    project, registry = Project.create(folder / "project"), ModelRegistry(folder / "registry", BUNDLED_MODELS)
    return Workspace(project, registry, StandInEngine())


def _run_steps(stage: WindowDriver, path: Path, task: str, workspace: Workspace) -> Iterator[tuple[str, Pause]]:
    other = sorted((SAMPLES / "xray" / "images").glob("*.jpg"))[0]
    desk, worklist = stage.dock.case_controller, stage.dock.worklist
    stage.process_events(START_S)
    worklist.choose_task(task)
    worklist.case_list.set_order(CaseOrder.LISTED)  # else the X-ray, of another patient, comes before the second slice
    worklist.predicts_automatically = False
    if isinstance(workspace.engine, StandInEngine):
        workspace.engine.labels = make_labels(formats.read(path).spatial_shape, task)
    meter = PauseMeter()
    yield STEPS[0], meter.measure(lambda: stage.drop_files([path]), lambda: _is_open(stage, 0))
    first = stage.current_case.case
    yield STEPS[1], meter.measure(worklist.predict, lambda: _has_labels(stage))
    following = path.parents[1] / "second" / path.name
    yield STEPS[2], meter.measure(lambda: stage.drop_files([following]), lambda: _is_open(stage, first.id))
    second = stage.current_case.case
    yield STEPS[3], meter.measure(worklist.predict, lambda: _has_labels(stage))
    yield STEPS[4], meter.measure(lambda: worklist.open(first), lambda: _has_labels(stage, first.id))
    yield STEPS[5], meter.measure(lambda: stage.drop_files([other]), lambda: _is_open(stage, first.id))
    yield STEPS[6], meter.measure(lambda: worklist.open(first), lambda: _has_labels(stage, first.id))
    for _ in range(OPENINGS):
        meter.measure(lambda: worklist.open(first), lambda: _has_labels(stage, first.id))
        stage.process_events(READ_AHEAD_S)
        yield STEPS[7], meter.measure(lambda: worklist.step(1), lambda: _has_labels(stage, second.id))
    meter.measure(lambda: worklist.open(first), lambda: _has_labels(stage, first.id))
    stage.process_events(READ_AHEAD_S)
    yield STEPS[8], meter.measure(desk.accept, lambda: _has_labels(stage, second.id))


def measure_many(folder: Path) -> Pause:
    """Drop hundreds of small pictures at once, in a folder that no cache of the system knows."""
    images = folder / "many"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(MANY_FILES):
        pixels = rng.integers(0, 255, (64, 64), np.uint8)
        formats.write_image(images / f"{number:03}.png", Image(pixels, "YX", None, name=f"{number:03}"))
    workspace = _open_workspace(folder, is_real=False)
    viewer, widget = open_window(workspace)
    stage = WindowDriver(viewer, widget, folder)
    try:
        stage.process_events(START_S)
        stage.dock.worklist.predicts_automatically = False
        dropped, importer = sorted(images.iterdir()), stage.dock.worklist.importer
        ended: list[bool] = []
        importer.finished.connect(lambda: ended.append(True))
        return PauseMeter().measure(lambda: stage.drop_files(dropped), lambda: bool(ended))
    finally:
        viewer.close()
        workspace.close()


def _is_open(stage: WindowDriver, other_than: int) -> bool:
    current = stage.dock.case_controller.current
    return current is not None and current.case.id != other_than


def _has_labels(stage: WindowDriver, case_id: int | None = None) -> bool:
    current = stage.dock.case_controller.current
    is_wanted = current is not None and case_id in (None, current.case.id)
    return is_wanted and current.labels_layer is not None and current.edit_session is not None


def main() -> None:
    """Measure each image and step, and print a table with the median of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="measure only images whose name contains this text")
    parser.add_argument("--real-engine", action="store_true", help="predict with the bundled models")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--images", type=Path, help="keep the images in this folder and use them again")
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[Pause]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        images = _find_or_write(arguments.images or Path(folder) / "images")
        for name, (path, task) in images.items():
            if arguments.only not in name:
                continue
            for turn in range(arguments.repeats):
                place = Path(folder) / f"{path.stem}{turn}"
                for step, pause in measure(path, task, place, arguments.real_engine):
                    results.setdefault(name, {}).setdefault(step, []).append(pause)
            _print(name, results[name])
        if arguments.only in MANY:
            for turn in range(arguments.repeats):
                pause = measure_many(Path(folder) / f"many{turn}")
                results.setdefault(MANY, {}).setdefault("dropped, all in the list", []).append(pause)
            _print(MANY, results[MANY])
    if arguments.out:
        rows = {
            name: {step: [asdict(p) for p in pauses] for step, pauses in steps.items()}
            for name, steps in results.items()
        }
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


def _find_or_write(folder: Path) -> dict[str, tuple[Path, str]]:
    if not folder.exists():
        write_images(folder)
    first = folder / "first"
    return {
        "slice of 512 px": (first / "slice.dcm", "lungs"),
        "1,000 px, RGB tile": (first / "tile.tif", "nuclei"),
        "3,000 px, RGB TIFF": (first / "picture.tif", "nuclei"),
        "300 slices, NIfTI": (first / "ct.nii.gz", "lungs"),
        "300 slices, DICOM": (first / "series", "lungs"),
        "12,000 px, RGB TIFF": (first / "slide.tif", "nuclei"),
        "12,000 px, grey PNG": (first / "grey.png", "nuclei"),
    }


def _print(name: str, steps: dict[str, list[Pause]]) -> None:
    print(f"{name:<28} processor   clock   complete after")
    for step, pauses in steps.items():
        worst = max(pauses, key=lambda pause: pause.longest_busy_ms)
        busy = statistics.median(pause.longest_busy_ms for pause in pauses)
        clock = statistics.median(pause.longest_ms for pause in pauses)
        took = statistics.median(pause.seconds for pause in pauses)
        print(f"  {step:<26}{busy:>6.0f} ms{clock:>8.0f} ms{took:>8.2f} s   {worst.where}", flush=True)
        for stack, count in worst.deepest.items():
            print(f"      {count:>4} {stack}")


if __name__ == "__main__":
    main()
