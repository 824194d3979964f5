"""Does a version notice images that are unlike its training images, and is it unsure where it is wrong?

`python benchmarks/unlike.py RUN_DIR --data DATA --cache CACHE` measures the version in a run folder, or that of
`--version FOLDER`, on the hold-out of the run and on foreign images. It prints JSON lines: false alarms by source,
detection and AUROC by kind of foreign image, the rank correlation of uncertainty and distance with the error (1 - Dice,
of objects 1 - AJI), and which share of the wrong pixels are among the 5 % most unsure. `--unknown NAME IMAGES LABELS`
adds labelled images of a source that the version never saw.

Each image is predicted once: what was measured is kept in the cache folder, by the version's weights and statistics.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign_images import FOREIGN_NOTE, list_foreign_images
from scipy.stats import rankdata, spearmanr

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.events import PredictionOptions, PredictionResult, get_result
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase, pair_by_stem
from training.evaluation.evaluate import LoadedCase, load_case, score_labels
from training.evaluation.hold_out_evaluation import make_labelled_case
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE

KNOWN, VALIDATION, UNKNOWN, FOREIGN = "hold-out", "validation", "unknown source", "foreign"
MIN_IMAGES = 10
"""For an AUROC; of fewer images only counts are reported."""
MOST_UNSURE = 0.05

Measured = dict[str, Any]


def main() -> None:
    """Measure all images that are not in the cache, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--version", type=Path, help="folder of the version; without it, that of the run")
    parser.add_argument("--roi", type=Path, help="version of the region of interest; without it, that of the recipe")
    parser.add_argument("--data", type=Path, help="folder with the images of all tasks")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--unknown", nargs=3, action="append", default=[], metavar=("NAME", "IMAGES", "LABELS"))
    parser.add_argument("--every", type=int, default=1, help="use every n-th labelled image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    roi_folder = options.roi or read_recipe(options.run_dir / RECIPE_FILE).find_roi_folder(options.run_dir)
    predictor = Predictor.load(options.version or options.run_dir, "cpu", roi_folder)
    if predictor.domain is None or predictor.card.domain is None:
        raise MedSegError(f"{predictor.card.id} has no statistics: run training.evaluation.out_of_domain first.")
    key = f"{predictor.card.weights_sha256[:12]}-{predictor.card.domain.statistics_sha256[:12]}"
    cache = _Cache(options.cache / f"{predictor.card.id}-{key}.jsonl")
    _measure_labelled(predictor, options, cache)
    for kind, name, image in list_foreign_images(predictor.card.task, options.data):
        if (FOREIGN, kind, name) not in cache:
            cache.add(FOREIGN, kind, name, _measure(predictor, image))
    print(json.dumps({"model": predictor.card.id, "images": len(cache.rows), "note": FOREIGN_NOTE}))
    for line in (*_report_flags(cache.rows), *_report_errors(cache.rows)):
        print(json.dumps(line), flush=True)


class _Cache:
    """Rows by role, source and name, appended to a file as soon as they are measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[Measured] = [json.loads(line) for line in lines]

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        return any((row["role"], row["source"], row["name"]) == key for row in self.rows)

    def add(self, role: str, source: str, name: str, measured: Measured) -> None:
        self.rows.append({"role": role, "source": source, "name": name} | measured)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")


def _measure_labelled(predictor: Predictor, options: argparse.Namespace, cache: _Cache) -> None:
    snapshot = read_snapshot(options.run_dir / SNAPSHOT_FILE)
    for role, kind in ((Role.VALIDATE, VALIDATION), (Role.HOLD_OUT, KNOWN)):
        for item in snapshot.filter_by_role(role)[:: options.every]:
            if (kind, item.source, item.name) not in cache:
                loaded = load_case(make_labelled_case(item, options.run_dir))
                measured = _measure_error(predictor, loaded, snapshot.task_definition)
                cache.add(kind, item.source, item.name, measured)
    for source, images, labels in options.unknown:
        for found in pair_by_stem(Path(images), Path(labels))[:: options.every]:
            if (UNKNOWN, source, found.name) not in cache:
                loaded = load_case(LabelledCase(found.name, found.image, found.labels, found.name, source))
                cache.add(UNKNOWN, source, found.name, _measure_error(predictor, loaded, snapshot.task_definition))


def _predict(predictor: Predictor, image: Image) -> PredictionResult:
    return get_result(predictor.predict(image, PredictionOptions(with_uncertainty_map=True)), str)


def _measure(predictor: Predictor, image: Image) -> Measured:
    result = _predict(predictor, image)
    return {"distance": result.domain_distance, "uncertainty": result.uncertainty}


def _measure_error(predictor: Predictor, loaded: LoadedCase, task: Task) -> Measured:
    result = _predict(predictor, loaded.image)
    score = score_labels(loaded, result.labels, task, predictor.card.architecture.classes).score
    quality = score.mean_dice if score.objects is None else score.objects.aji
    counted = np.ones(result.labels.shape, bool) if loaded.ignored_mask is None else ~loaded.ignored_mask
    ours, theirs = result.labels[counted], loaded.reference[counted]
    wrong = (ours > 0) != (theirs > 0) if task.instances else ours != theirs
    assert result.uncertainty_map is not None
    unsure = result.uncertainty_map[counted]
    most = np.argsort(unsure, kind="stable")[-max(1, round(MOST_UNSURE * len(unsure))) :]
    return {
        "distance": result.domain_distance,
        "uncertainty": result.uncertainty,
        "error": 1.0 - quality,
        "wrong": int(wrong.sum()),
        "wrong_unsure": int(wrong[most].sum()),
    }


def _report_flags(rows: list[Measured]) -> Iterator[Measured]:
    known = [row["distance"] for row in rows if row["role"] == KNOWN]
    for role in (VALIDATION, KNOWN, UNKNOWN):
        for source, some in _group(rows, role):
            flagged = sum(row["distance"] > 1 for row in some)
            yield {"table": "flagged", "role": role, "source": source, "n": len(some), "flagged": flagged}
    for kind, some in _group(rows, FOREIGN):
        distances = [row["distance"] for row in some]
        line = {"table": "flagged", "role": FOREIGN, "source": kind, "n": len(some)}
        line |= {"flagged": sum(distance > 1 for distance in distances), "least": round(min(distances), 2)}
        yield line | ({"auroc": round(_compute_auroc(distances, known), 3)} if len(some) >= MIN_IMAGES else {})


def _report_errors(rows: list[Measured]) -> Iterator[Measured]:
    for role in (VALIDATION, KNOWN, UNKNOWN):
        for source, some in [("all", [row for row in rows if row["role"] == role]), *_group(rows, role)]:
            if len(some) < MIN_IMAGES // 2:
                continue
            errors = [row["error"] for row in some]
            line = {"table": "errors", "role": role, "source": source, "n": len(some)}
            for figure in ("uncertainty", "distance"):
                line[f"spearman of {figure}"] = round(float(spearmanr([r[figure] for r in some], errors).statistic), 2)
            wrong = sum(row["wrong"] for row in some)
            share = sum(row["wrong_unsure"] for row in some) / wrong if wrong else None
            yield line | {"wrong pixels in the most unsure 5 %": None if share is None else round(share, 2)}


def _group(rows: list[Measured], role: str) -> list[tuple[str, list[Measured]]]:
    names = dict.fromkeys(row["source"] for row in rows if row["role"] == role)
    return [(name, [row for row in rows if (row["role"], row["source"]) == (role, name)]) for name in names]


def _compute_auroc(foreign: list[float], known: list[float]) -> float:
    """Return the probability that a foreign image is farther than a known one."""
    ranks = rankdata([*foreign, *known])[: len(foreign)]
    return float((ranks.sum() - len(foreign) * (len(foreign) + 1) / 2) / len(foreign) / len(known))


if __name__ == "__main__":
    main()
