"""Evaluate the bundled models again on the hold-outs of their recipes, and compare promised with true errors.

`python benchmarks/calibration.py --data DATA --weights WEIGHTS --work WORK --out CARDS` makes a run folder for each
model, with the bundled weights in place of a training, whatever version the recipe itself goes on from. The temperature
is fitted on the validation images of the recipe, never on the hold-out. The new cards are written to `--out`. One line
of JSON for each model and source of hold-out images has the mean share of errors that the model expects, as the window
shows it, and the true one.
"""

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, WORST_CASE_FILE, ModelCard, read_card
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.inference.predictor import Predictor
from training.evaluation.calibration import PixelSample, compare_error_shares
from training.evaluation.hold_out_evaluation import EvaluationRequest, HoldOutEvaluator, make_labelled_case
from training.evaluation.model_evaluation import evaluate_hold_out
from training.from_folders.base_model import make_run, start_from_version
from training.from_folders.base_recipe import read_model_recipe
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE
from training.run_setup import split_by_role

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "napari_medseg" / "models"
RECIPE_OF = {
    "lungs-ct/1": "lungs-ct",
    "lungs-unet/4": "lungs-4",
    "covid-unet/2": "covid-2",
    "nuclei-unet/2": "nuclei-2",
    "instruments-unet/2": "instruments-2",
}
"""The recipe of each bundled version."""


def main() -> None:
    """Evaluate all bundled models, or those of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "weights", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--shares", action="store_true", help="only print the shares, with the temperature of the card")
    parser.add_argument("--only", default="", help="part of the folder's name, such as nuclei")
    options = parser.parse_args()
    for folder, recipe in RECIPE_OF.items():
        if options.only in folder:
            run_dir = _make_run_with_bundled_weights(folder, recipe, options)
            bundled = read_card(MODELS / folder / CARD_FILE)
            card = bundled if options.shares else _write_new_card(run_dir, recipe, options.out / folder)
            _print_error_shares(run_dir, bundled, card)


def _make_run_with_bundled_weights(folder: str, recipe: str, options: argparse.Namespace) -> Path:
    run_dir: Path = options.work / recipe
    if not (run_dir / SNAPSHOT_FILE).exists():
        base = read_model_recipe(ROOT / "training" / "recipes" / f"{recipe}.json")
        make_run(base, options.data, options.weights, run_dir, start_from_version(base, MODELS / folder))
    for name in (CARD_FILE, WEIGHTS_FILE):
        shutil.copy2(MODELS / folder / name, run_dir / name)
    return run_dir


def _write_new_card(run_dir: Path, recipe: str, folder: Path) -> ModelCard:
    card = evaluate_hold_out(run_dir, _make_request(recipe))
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CARD_FILE, WORST_CASE_FILE):
        shutil.copy2(run_dir / name, folder / name)
    return card


def _make_request(recipe: str) -> EvaluationRequest:
    base = read_model_recipe(ROOT / "training" / "recipes" / f"{recipe}.json")
    return EvaluationRequest(labels_by=base.labels_by, images_may_be_shown=base.images_may_be_shown)


def _print_error_shares(run_dir: Path, old: ModelCard, new: ModelCard) -> None:
    """Print the mean over images of the expected and the true share of errors, for each source."""
    snapshot = read_snapshot(run_dir / SNAPSHOT_FILE)
    predictor = Predictor.load(run_dir, "cpu", read_recipe(run_dir / RECIPE_FILE).find_roi_folder(run_dir))
    samples: dict[str, list[PixelSample]] = defaultdict(list)
    for item in split_by_role(snapshot).hold_out:
        case = make_labelled_case(item, run_dir)
        evaluator = HoldOutEvaluator(predictor, snapshot.task_definition, [case])
        evaluator.evaluate(case)
        samples[item.source].append(evaluator.pixel_sample)
    temperatures = {"old": old.calibration.temperature, "none": 1.0, "new": new.calibration.temperature}
    for source, found in samples.items():
        shares = {
            name: np.mean([compare_error_shares(sample, temperature).expected for sample in found])
            for name, temperature in temperatures.items()
        }
        true = np.mean([compare_error_shares(sample).true for sample in found])
        line = {"model": new.id, "source": source, "n_images": len(found), "true": float(true)}
        line |= {f"expected, {name} temperature": float(share) for name, share in shares.items()}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
