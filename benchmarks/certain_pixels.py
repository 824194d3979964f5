"""How much should a pixel count that a person painted or called right? Retrains with weights of 1, 3 and 5.

A simulated person corrects X-rays of the CT-only model: of the places where its draft differs from the reference, the
largest are painted until four fifths of the wrong area are mended; what is left is accepted unseen, as people do. What
was painted, with a rim, is certain. So the labels of a run are partly wrong, and its certain pixels are right. The
results are scored on X-rays of other patients, none of them of a hold-out. Each run is a line in `OUT`; a rerun skips
the lines that exist.

`python benchmarks/certain_pixels.py --data ../shared/data --weights ../shared/weights --work WORK --out rows.jsonl`
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from domains import DOMAINS, BenchmarkSetup, Domain
from numpy.typing import NDArray
from retraining import add_row, choose_corrected_items, make_recipe, read_rows, retrain
from scipy import ndimage
from strategies import STRATEGIES

from napari_medseg.core import formats
from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import evaluate_case
from training.losses import label_sets
from training.recipe import update_recipe

WEIGHTS = (1.0, 3.0, 5.0)
MENDED_SHARE = 0.8
RIM_PX = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the missing runs and print the mean of each weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "weights", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--n-corrected", type=int, default=8)
    parser.add_argument("--n-judged", type=int, default=24)
    parser.add_argument("--n-epochs", type=int, default=4, help="of ten steps")
    options = parser.parse_args(arguments)
    place = BenchmarkSetup(options.data.resolve(), options.weights.resolve(), options.work.resolve())
    domain = DOMAINS["lungs"](place)
    for seed in options.seeds:
        for weight in WEIGHTS:
            key = {"seed": seed, "weight": weight, "n_epochs": options.n_epochs}
            if not any(all(row[part] == value for part, value in key.items()) for row in read_rows(options.out)):
                add_row(options.out, key | run_trial(domain, place, seed, weight, options))
    for weight in WEIGHTS:
        found = [row["dice"] for row in read_rows(options.out) if row["weight"] == weight]
        print(f"weight {weight:g}: Dice {statistics.fmean(found):.4f} of {len(found)} runs", flush=True)


def run_trial(
    domain: Domain, place: BenchmarkSetup, seed: int, weight: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Retrain with one weight of certain pixels, and score the result."""
    lessons = choose_corrected_items(domain, options.n_corrected, seed)
    taught = {item.group for item in lessons}
    judged = [item for item in reversed(domain.new) if item.group not in taught][: options.n_judged]
    folder = place.work / f"seed{seed}"
    corrected = [correct(item, domain.parent, folder) for item in lessons]
    recipe = make_recipe(domain, STRATEGIES["default"], 3600.0, seed, place)
    recipe = update_recipe(recipe, {"run": {"budget_s": None}, "schedule": {"n_epochs": options.n_epochs}})
    label_sets.CERTAIN_WEIGHT = weight
    run_dir = folder / f"weight{weight:g}"
    retrain(run_dir, recipe, domain, [*corrected, *domain.sample])
    return {"dice": score(run_dir, judged), "before": score(domain.parent, judged), "n_judged": len(judged)}


def correct(item: SnapshotItem, parent: Path, folder: Path) -> SnapshotItem:
    """Write the labels that a person accepts, and where that person painted; return the item with both files."""
    paths = folder / f"{item.name}_labels.tif", folder / f"{item.name}_certain.tif"
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        image = formats.read(Path(item.image))
        reference = formats.read_labels(Path(item.labels), image)
        accepted, certain = mend(Predictor.load(parent, "cpu").predict_labels(image), reference)
        for path, mask in zip(paths, (accepted, certain.astype(np.uint8)), strict=True):
            formats.write_labels(path, mask, image)
    return item.model_copy(update={"labels": str(paths[0]), "certain_mask": str(paths[1])})


def mend(draft: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the labels after the largest wrong places were painted, and which pixels were painted."""
    places, n_places = ndimage.label(draft != reference)
    sizes = np.bincount(places.ravel(), minlength=n_places + 1)[1:]
    order = np.argsort(sizes)[::-1]
    enough = int(np.searchsorted(np.cumsum(sizes[order]), MENDED_SHARE * sizes.sum())) + 1
    painted = ndimage.binary_dilation(np.isin(places, order[:enough] + 1), iterations=RIM_PX)
    return np.where(painted, reference, draft), painted


def score(version: Path, items: Sequence[SnapshotItem]) -> float:
    """Return the mean Dice of a version on images."""
    predictor = Predictor.load(version, "cpu")
    cases = [LabelledCase(item.name, Path(item.image), Path(item.labels), item.group) for item in items]
    return statistics.fmean(evaluate_case(predictor, case, get_task("lungs")).score.metric_value for case in cases)


if __name__ == "__main__":
    main()
