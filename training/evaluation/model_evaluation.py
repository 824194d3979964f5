"""Evaluate the version in a run folder on the run's hold-out, and write the scores to its card.

`python -P -m training.evaluation.model_evaluation RUN_DIR`. A run of a base model or on folders does this in the pass
that compares its version with the old one: Dice and the other metrics of the task for each source with intervals,
calibration, a figure of the worst case, and `evaluation.html` with all images. This module does it for other runs.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.model_card import CARD_FILE, WORST_CASE_FILE, ModelCard, read_card, write_card
from napari_medseg.core.snapshot import SnapshotItem, read_snapshot
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version
from training.checkpoint import choose_run_device
from training.data.dataset import LabelledPlane
from training.data.sample_reader import SampleReader
from training.evaluation.calibration import fit_temperature, sample_pixels
from training.evaluation.hold_out_evaluation import (
    LABELS_BY_SNAPSHOT,
    EvaluationRequest,
    HoldOutEvaluator,
    make_labelled_case,
)
from training.recipe import read_recipe
from training.reports.case_figure import write_case_figures
from training.reports.evaluation_report import write_evaluation
from training.run_folder import EVALUATION_FILE, EXAMPLE_FIGURES_FILE, RECIPE_FILE, SNAPSHOT_FILE
from training.run_setup import (
    MAX_VALIDATION_PLANES,
    choose_planes,
    split_by_role,
    spread_indices,
)

logger = logging.getLogger(__name__)


def ensure_hold_out_evaluation(run_dir: Path, request: EvaluationRequest) -> ModelCard:
    """Evaluate the version of a finished run if the run has not done it; return its card.

    Raises
    ------
    MedSegError
        As `evaluate_hold_out`.
    """
    if (run_dir / EVALUATION_FILE).exists():
        return read_card(run_dir / CARD_FILE)
    return evaluate_hold_out(run_dir, request)


def evaluate_hold_out(run_dir: Path, request: EvaluationRequest) -> ModelCard:
    """Write hold-out scores, calibration and the worst case to the card of a run's version; return the card.

    Parameters
    ----------
    run_dir
        Folder with `recipe.json`, `snapshot.json` and the version that the run made.
    request
        Who made the labels, and whether images may be shown.

    Raises
    ------
    MedSegError
        If the run has no version yet or no hold-out.
    """
    recipe, snapshot = read_recipe(run_dir / RECIPE_FILE), read_snapshot(run_dir / SNAPSHOT_FILE)
    task, split = snapshot.task_definition, split_by_role(snapshot)
    if not split.hold_out:
        raise MedSegError(
            f"the hold-out of {run_dir.name} is empty, so its version cannot be evaluated. Hold a group out."
        )
    device, notice = choose_run_device(recipe, run_dir)
    if notice:
        logger.warning("%s", notice)
    predictor = Predictor.load(run_dir, device, recipe.find_roi_folder(run_dir))
    cases = [make_labelled_case(item, run_dir) for item in split.hold_out]
    evaluator = HoldOutEvaluator(predictor, task, cases, recipe.data.label_steps, request)
    for case in cases:
        evaluator.evaluate(case)
    network, card = load_version(run_dir)
    reader = SampleReader(run_dir, card, task, recipe.run.seed, predictor.roi_predictor, recipe.data.label_steps)
    validation = _read_validation_planes(split.validate, reader)
    temperature = fit_temperature(sample_pixels(network, validation, card)) if validation else 1.0
    return write_hold_out_results(evaluator, card, temperature, run_dir)


def write_hold_out_results(
    evaluator: HoldOutEvaluator, card: ModelCard, temperature: float, run_dir: Path
) -> ModelCard:
    """Write the results of an evaluator: the card, the figure of the worst case and, if requested, the page.

    Returns
    -------
    ModelCard
        The card with scores and calibration.
    """
    if evaluator.worst_figure is not None:
        png = imagecodecs.png_encode(np.ascontiguousarray(evaluator.worst_figure.rgb), level=9)
        (run_dir / WORST_CASE_FILE).write_bytes(png)
    card = evaluator.update_card(card, temperature)
    write_card(card, run_dir / CARD_FILE)
    if evaluator.request is not None and evaluator.scores:
        examples = [figure for _, figure in sorted(evaluator.examples.items())]
        write_case_figures(examples, run_dir / EXAMPLE_FIGURES_FILE)
        write_evaluation(evaluator.evaluation, run_dir, evaluator.figures.list_figures())
    return card


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line; return 1 after an error with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluation.model_evaluation", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--show-image", action="store_true", help="show the image in the figure of the worst case")
    parser.add_argument("--labels-by", default=LABELS_BY_SNAPSHOT)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    request = EvaluationRequest(labels_by=options.labels_by, images_may_be_shown=options.show_image)
    try:
        with translate_errors():
            for score in evaluate_hold_out(options.run_dir, request).hold_out:
                logger.info("%s on %s: %.4f, %d images", score.metric, score.dataset, score.mean, score.n_images)
    except MedSegError as error:
        logger.error("%s", error)
        return 1
    return 0


def _read_validation_planes(items: Sequence[SnapshotItem], reader: SampleReader) -> list[LabelledPlane]:
    """Read the planes of as many validation images as training uses."""
    chosen = [items[index] for index in spread_indices(len(items), MAX_VALIDATION_PLANES)]
    return choose_planes([reader.read_image(item) for item in chosen], MAX_VALIDATION_PLANES)


if __name__ == "__main__":
    sys.exit(main())
