"""Prediction of a whole slide: speed, memory and space on the disk, without the network and with it.

`python benchmarks/whole_slide.py FOLDER` makes a slide of 100,000 x 100,000 pixels with tissue in the middle, predicts
`--chunks` of it, and writes what it found as GeoJSON. `--network` takes the bundled model of nuclei; without it, dark
spots are taken as nuclei, so that the figures are those of reading, merging and writing.
"""

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from large_slide import make_large_slide
from PIL import Image as Picture
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.workflow.whole_slide.density import compute_density
from napari_medseg.workflow.whole_slide.export import open_to_read
from napari_medseg.workflow.whole_slide.geojson import write_slide_geojson
from napari_medseg.workflow.whole_slide.plan import make_plan
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, predict_chunks

_UNIT = 1 if sys.platform == "darwin" else 1024
SAMPLES = BUNDLED_MODELS.parent / "samples" / "nuclei_dsb" / "images"
DARK = 120


def find_dark_spots(image: Image) -> Iterator[PredictionEvent]:
    """Predict without a network."""
    labels, _ = ndimage.label(ndimage.uniform_filter(image.pixels[..., 0], 5) < DARK)
    yield PredictionResult(labels.astype(np.uint32), 0.0, None, 0.0, "CPU")


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--pictures", type=Path, default=SAMPLES, help="folder of pictures of stained tissue")
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--network", action="store_true")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / f"slide_{chosen.side}.tif"
    if not path.exists():
        files = sorted(file for file in chosen.pictures.iterdir() if file.suffix in (".png", ".jpg"))[:6]
        make_large_slide(path, chosen.side, [np.asarray(Picture.open(file).convert("RGB")) for file in files])
    print(json.dumps(measure(path, chosen.folder / "predicted", chosen.chunks, with_network=chosen.network), indent=2))


def measure(path: Path, folder: Path, n_chunks: int, *, with_network: bool) -> dict[str, Any]:
    """Predict the first chunks of a slide and export them; return the figures."""
    shutil.rmtree(folder, ignore_errors=True)
    models = ModelRegistry(folder.parent / "registry", BUNDLED_MODELS)
    card = models.get_live_card("nuclei")
    predict = find_dark_spots
    if with_network:
        from napari_medseg.inference.predictor import Predictor

        predict = Predictor.load(models.get_folder(card.id)).predict  # type: ignore[assignment]
    slide = open_slide(path)
    began = time.monotonic()
    plan = make_plan(slide, card, find_tissue(slide).mask)
    planned_s = time.monotonic() - began
    numbers = plan.manifest.chunk_numbers[:n_chunks]
    plan = replace(plan, manifest=plan.manifest.model_copy(update={"chunk_numbers": numbers}))
    cpu, began = time.process_time(), time.monotonic()
    with begin_prediction(folder, plan) as whole:
        for _ in predict_chunks(whole, slide, predict):
            pass
    seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu
    peak_predicting = measure_peak_mb()
    slide.close()
    with open_to_read(folder) as whole:
        began = time.monotonic()
        n_features = write_slide_geojson(folder.parent / "labels.geojson", whole)
        export_s, began = time.monotonic() - began, time.monotonic()
        density = compute_density(whole)
        density_s = time.monotonic() - began
    n_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    n_pixels = len(numbers) * plan.manifest.core_px**2
    return {
        "chunks": len(numbers),
        "megapixels": round(n_pixels / 1e6, 1),
        "objects": n_features,
        "plan_s": round(planned_s, 2),
        "s_per_chunk": round(seconds / len(numbers), 3),
        "processor_s_per_chunk": round(cpu_s / len(numbers), 3),
        "bytes_per_pixel": round(n_bytes / n_pixels, 4),
        "peak_mb_predicting": peak_predicting,
        "peak_mb_with_export": measure_peak_mb(),
        "geojson_s": round(export_s, 1),
        "geojson_mb": round((folder.parent / "labels.geojson").stat().st_size / 1e6, 1),
        "features_per_s": round(n_features / export_s),
        "density_s": round(density_s, 2),
        "density": density.text,
    }


def measure_peak_mb() -> int:
    """Return the maximum resident size of this process, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e6)


if __name__ == "__main__":
    main()
