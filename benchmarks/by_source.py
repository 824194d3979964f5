"""A version on the images of a run by source and by patient; for lungs also domes, little lung and no lung.

`python benchmarks/by_source.py RUN_DIR --role hold_out` measures the version in a run folder on one role of its
snapshot. `--version FOLDER` measures another version on the same images, `--fill-holes MM2` changes this step of the
card. Use `--role validate` to choose, and `hold_out` only to report. `--without-lung FILE` adds planes without lung: a
volume, and with `--planes 0:18` some planes of it. One line of JSON for each source and for each of its groups.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core import formats
from napari_medseg.core.model_card import PostprocessingStep
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.inference.predictor import Predictor, load_roi_predictor
from napari_medseg.networks import load_version
from training.evaluation.evaluate import load_case, score_labels
from training.evaluation.hold_out_evaluation import make_labelled_case
from training.evaluation.scores import CaseScore, exclude_absent_labels
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE

LITTLE_LUNG = 0.02
"""Share of the slice."""
MIN_DOME_SHARE = 5e-4
"""Smaller closed holes of a lung are vessels; share of the slice."""


def main() -> None:
    """Measure the items of one role, and planes without lung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--role", type=Role, default=Role.HOLD_OUT)
    parser.add_argument("--version", type=Path, help="folder of the version; without it, that of the run")
    parser.add_argument("--fill-holes", type=float, help="largest hole that is filled, mm2; 0: none")
    parser.add_argument("--without-lung", type=Path, help="image without lung")
    parser.add_argument("--planes", default=":", help="planes of it, as in 0:18")
    options = parser.parse_args()
    roi_folder = read_recipe(options.run_dir / RECIPE_FILE).find_roi_folder(options.run_dir)
    predictor = _load(options.version or options.run_dir, roi_folder, options.fill_holes)
    for source, rows in _measure(predictor, options.run_dir, options.role).items():
        _print(predictor, source, "all", rows)
        groups = sorted({row.score.group for row in rows})
        for group in groups if len(groups) < len(rows) else ():
            _print(predictor, source, group, [row for row in rows if row.score.group == group])
    if options.without_lung is not None:
        print(json.dumps(_count_false_lung(predictor, options.without_lung, options.planes)), flush=True)


@dataclass(frozen=True)
class Row:
    """Measures of one image; `lung` and `drawn` are shares of it, `dome` and `painted` pixels of domes."""

    score: CaseScore
    lung: float
    drawn: float
    dome: int
    painted: int


def _load(folder: Path, roi_folder: Path | None, fill_mm2: float | None) -> Predictor:
    network, card = load_version(folder)
    if fill_mm2 is not None:
        steps = [step for step in card.postprocessing if step.name != "fill_holes"]
        if fill_mm2:
            steps.append(PostprocessingStep(name="fill_holes", options={"max_area_mm2": fill_mm2}))
        card = card.model_copy(update={"postprocessing": steps})
    return Predictor(network, card, "cpu", roi_predictor=load_roi_predictor(roi_folder, "cpu"))


def _measure(predictor: Predictor, run_dir: Path, role: Role) -> dict[str, list[Row]]:
    snapshot = read_snapshot(run_dir / SNAPSHOT_FILE)
    rows: dict[str, list[Row]] = defaultdict(list)
    for item in snapshot.filter_by_role(role):
        loaded = load_case(make_labelled_case(item, run_dir))
        predicted = predictor.predict_labels(loaded.image)
        n_classes = predictor.card.architecture.classes
        score = score_labels(loaded, predicted, snapshot.task_definition, n_classes).score
        dome = _find_domes(loaded.reference)
        shares = [float((labels > 0).mean()) for labels in (loaded.reference, predicted)]
        rows[item.source].append(Row(score, *shares, int(dome.sum()), int((dome & (predicted > 0)).sum())))
    return rows


def _print(predictor: Predictor, source: str, group: str, rows: list[Row]) -> None:
    dice = [score.mean_dice for score in exclude_absent_labels([row.score for row in rows])]
    low, high = compute_bootstrap_interval(dice)
    line: dict[str, object] = {"model": predictor.card.id, "source": source, "group": group, "n": len(rows)}
    line |= {"dice": _mean(dice), "interval": [round(low, 4), round(high, 4)], "worst": round(min(dice), 3)}
    names = dict.fromkeys(name for row in rows for name in row.score.in_reference or ())
    line |= {name: _mean([row.score.dice[name] for row in rows if name in row.score.dice]) for name in names}
    line |= {"all labels as one": _mean([row.score.foreground_dice for row in rows])}
    line |= {"mean IoU with background": _mean([row.score.miou for row in rows])}
    print(json.dumps(line | (_describe_lungs(rows) if predictor.card.task == "lungs" else {})), flush=True)


def _describe_lungs(rows: list[Row]) -> dict[str, object]:
    little = [row.score.mean_dice for row in rows if 0 < row.lung < LITTLE_LUNG]
    domes, empty = [row for row in rows if row.dome], [row for row in rows if not row.lung]
    return {
        "little lung": [len(little), _mean(little)],
        "with a dome": [len(domes), _mean([row.score.mean_dice for row in domes])],
        "share of domes painted": _mean([row.painted / row.dome for row in domes]),
        "without lung, and nothing drawn": [len(empty), sum(not row.drawn for row in empty)],
    }


def _mean(figures: list[float]) -> float | None:
    return round(statistics.fmean(figures), 4) if figures else None


def _find_domes(reference: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return large closed holes of the lungs in the planes of a reference: the tops of liver, spleen and heart."""
    domes = np.zeros(reference.shape, bool)
    for plane, found in zip(_list_planes(reference), _list_planes(domes), strict=True):
        holes, _ = ndimage.label(ndimage.binary_fill_holes(plane > 0) & (plane == 0))
        sizes = np.bincount(holes.ravel())
        large = np.flatnonzero(sizes >= MIN_DOME_SHARE * plane.size)
        found[np.isin(holes, large[large > 0])] = True
    return domes


def _list_planes(volume: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    yield from volume.reshape(-1, *volume.shape[-2:])


def _count_false_lung(predictor: Predictor, path: Path, planes: str) -> dict[str, object]:
    first, _, last = planes.partition(":")
    drawn = predictor.predict_labels(formats.read(path))[int(first or 0) : int(last) if last else None]
    pixels = (drawn > 0).reshape(len(drawn), -1).sum(axis=1)
    return {"without lung": path.name, "planes": len(drawn), "with nothing drawn": int((pixels == 0).sum())}


if __name__ == "__main__":
    main()
