"""Waiting time of a user, from a file to its labels in a layer, for each task, and the network's share of it.

The time includes reading, prediction in the engine process, separating objects and making the layer. The first
prediction also includes the start of the engine, as when the dock opens.

    xvfb-run -a python benchmarks/tasks.py --out tasks.json
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

import napari_medseg
from napari_medseg.cli.options import load_predictor
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.engine.interface import PredictionEngine
from napari_medseg.inference.events import PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.plugin import layers
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace

SAMPLES = Path(napari_medseg.__file__).parent / "samples"
AIMS_S = {"H&E 1000x1000": 3.0, "CT slice 512x512": 0.5, "CT series of 64": 15.0, "lesions, CT slice": 1.0}
AIMS_S |= {"laparoscopy frame": 1.0, "first prediction": 8.0}
MAX_OVERHEAD = 0.25


@dataclass(frozen=True)
class Row:
    """Median seconds, the aim, and the share that is not the network's own forward passes."""

    image: str
    seconds: float
    aim_s: float
    overhead: float | None


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "project", Path(folder) / "registry")
        try:
            rows = list(measure_tasks(workspace, Path(folder), options.repeats))
        finally:
            workspace.close()
    for row in rows:
        overhead = "" if row.overhead is None else f"{row.overhead:6.0%} beside the network"
        met = "met" if row.seconds <= row.aim_s and (row.overhead or 0) <= MAX_OVERHEAD else "MISSED"
        print(f"{row.image:20} {row.seconds:7.2f} s (aim {row.aim_s:4.1f} s) {overhead:28} {met}")
    if options.out:
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    return 0


def measure_tasks(workspace: Workspace, folder: Path, repeats: int) -> Iterator[Row]:
    """Yield a row for each kind of image; the first prediction first, as it starts the engine."""
    files = write_images(folder)
    began = time.perf_counter()
    predict_file_to_layer(workspace, workspace.engine, files["CT slice 512x512"][0], "lungs")
    yield Row("first prediction", time.perf_counter() - began, AIMS_S["first prediction"], None)
    for name, (path, task) in files.items():
        predict_file_to_layer(workspace, workspace.engine, path, task)
        times = []
        for _ in range(repeats if "series" not in name else 3):
            began = time.perf_counter()
            predict_file_to_layer(workspace, workspace.engine, path, task)
            times.append(time.perf_counter() - began)
        yield Row(name, statistics.median(times), AIMS_S[name], measure_overhead(workspace, path, task))


def predict_file_to_layer(workspace: Workspace, engine: PredictionEngine, path: Path, task: str) -> None:
    """Go from a file to its labels in a layer."""
    image = formats.read(path)
    registry = workspace.registry
    card = registry.get_live_card(task)
    events = engine.predict(image, registry.get_folder(card.id), roi_folder=registry.find_roi_folder(card))
    result = next(event for event in events if isinstance(event, PredictionResult))
    (case,) = cases.add_cases(workspace, [image], task)
    viewer = ViewerModel()
    layers.add_labels(
        viewer, result.labels, layers.add_image(viewer, image, case, workspace.tasks.get_task(task)), case
    )


def measure_overhead(workspace: Workspace, path: Path, task: str) -> float:
    """Share of a prediction, reading included, that is not spent in forward passes; in this process."""
    predictor = load_predictor(workspace.registry, workspace.registry.get_live_card(task).id, None)
    spent: list[float] = []
    for each in (predictor, predictor.roi_predictor):
        if each is not None:
            record_forward_seconds(each, spent)
    predictor.predict_labels(formats.read(path))
    shares = []
    for _ in range(3):
        spent.clear()
        began = time.perf_counter()
        predictor.predict_labels(formats.read(path))
        shares.append(1.0 - sum(spent) / (time.perf_counter() - began))
    return statistics.median(shares)


def record_forward_seconds(predictor: Predictor, spent: list[float]) -> None:
    """Let a predictor note the seconds of each forward pass."""
    bare = predictor._compiled_network.compute_logits

    def logits(planes: np.ndarray) -> object:
        began = time.perf_counter()
        answer = bare(planes)
        spent.append(time.perf_counter() - began)
        return answer

    predictor._compiled_network.compute_logits = logits  # type: ignore[method-assign,assignment]


def write_images(folder: Path) -> dict[str, tuple[Path, str]]:
    """Make images of the sizes in question out of the samples."""
    tile = formats.read(SAMPLES / "nuclei_dsb" / "images" / "ad473063dab4bf4f.png").pixels
    tissue = np.tile(tile, (4, 4, 1))[:1000, :1000]
    formats.write_image(folder / "tissue.png", Image(np.ascontiguousarray(tissue), "YXC", units="rgb"))
    series = formats.read(SAMPLES / "ct_a0001" / "dicom")
    volume = Image(np.repeat(series.pixels, 4, axis=0), "ZYX", (3.75, *series.spacing_mm[1:]), units="HU")
    formats.write_image(folder / "series.nii.gz", volume)
    slice_ = SAMPLES / "ct_a0001" / "dicom" / "A0001_z031.dcm"
    frame = SAMPLES / "laparoscopy" / "images" / "00009-23254-frame-28698.jpg"
    return {
        "CT slice 512x512": (slice_, "lungs"),
        "CT series of 64": (folder / "series.nii.gz", "lungs"),
        "lesions, CT slice": (slice_, "covid"),
        "H&E 1000x1000": (folder / "tissue.png", get_task("nuclei").name),
        "laparoscopy frame": (frame, "instruments"),
    }


if __name__ == "__main__":
    sys.exit(main())
