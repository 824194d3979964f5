"""Evaluate the version in a run folder on the run's hold-out, and write the figures onto its card.

`python -P -m training.evaluation.model_evaluation RUN_DIR`. A base model's run ends with it: Dice and the task's other
figures by source with intervals, calibration, a figure of the worst case, and `evaluation.html` with all images.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from torch import nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, WORST_CASE_FILE, Calibration, ModelCard, write_card
from napari_medseg.core.snapshot import SnapshotItem, read_snapshot
from napari_medseg.core.tasks import Task
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version
from training.data.dataset import LabelledPlane
from training.data.ignore_regions import get_reviewed_part
from training.data.labelled_cases import LabelledCase
from training.data.sample_reader import SampleReader
from training.evaluation.calibration import expected_calibration_error, fit_temperature, sample_pixels
from training.evaluation.case_figure import CaseFigure, blank_out_image, draw_case_figure
from training.evaluation.evaluate import evaluate_cases, make_predictor_source
from training.evaluation.evaluation_report import choose_cases_to_show, write_evaluation
from training.evaluation.scores import Evaluation
from training.recipe import Recipe, read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE
from training.run_setup import choose_planes, choose_training_device, split_by_role

MAX_CALIBRATION_PLANES = 60

logger = logging.getLogger(__name__)


def evaluate_hold_out(run_dir: Path, labels_by: str, images_may_be_shown: bool) -> ModelCard:
    """Write hold-out figures, calibration and worst case onto the card of a run's version; return the card.

    Parameters
    ----------
    run_dir
        With `recipe.json`, `snapshot.json` and the version that the run made.
    labels_by
        Who made the labels of the hold-out, for the card.
    images_may_be_shown
        Whether the picture of the worst case, which travels with the version, may show the image behind the labels.

    Raises
    ------
    MedSegError
        If the run has no version yet or no hold-out.
    """
    recipe, snapshot = read_recipe(run_dir / RECIPE_FILE), read_snapshot(run_dir / SNAPSHOT_FILE)
    task, split = snapshot.task_definition, split_by_role(snapshot)
    if not split.hold_out:
        raise MedSegError(f"{run_dir.name} holds nothing out, so nothing can judge its version. Hold a group out.")
    device = str(choose_training_device())
    predictor = Predictor.load(run_dir, device, recipe.find_roi_folder(run_dir))
    cases = [make_labelled_case(item, run_dir) for item in split.hold_out]
    source, n_classes = make_predictor_source(predictor), predictor.card.architecture.classes
    evaluation = Evaluation(
        predictor.card.id, task.name, tuple(judged.score for judged in evaluate_cases(source, cases, task, n_classes))
    )
    shown = [case for case in cases if case.name in choose_cases_to_show(evaluation.scores)]
    pictures = [draw_case_figure(judged, task) for judged in evaluate_cases(source, shown, task, n_classes)]
    write_evaluation(evaluation, run_dir, pictures)
    if not images_may_be_shown:
        worst = [case for case in shown if case.name == min(pictures, key=lambda picture: picture.dice).name]
        pictures = [
            draw_case_figure(blank_out_image(judged), task) for judged in evaluate_cases(source, worst, task, n_classes)
        ]
    write_worst_case_figure(pictures, run_dir)
    network, card = load_version(run_dir)
    validation, held_out = (
        _read_planes(items, run_dir, card, task, recipe, predictor.roi_predictor)
        for items in (split.validate, split.hold_out)
    )
    calibration = fit_calibration((network, card), validation, held_out, len(split.hold_out))
    card = card.model_copy(update={"hold_out": evaluation.summarise(labels_by), "calibration": calibration})
    write_card(card, run_dir / CARD_FILE)
    return card


def fit_calibration(
    version: tuple[nn.Module, ModelCard],
    validation: Sequence[LabelledPlane],
    hold_out: Sequence[LabelledPlane],
    n_images: int,
) -> Calibration:
    """Fit the temperature on validation planes, and measure the calibration error on those of the hold-out."""
    network, card = version
    temperature = fit_temperature(sample_pixels(network, validation, card)) if validation else 1.0
    if not hold_out:
        return Calibration(temperature=temperature)
    sample = sample_pixels(network, hold_out, card)
    return Calibration(
        temperature=temperature,
        ece=expected_calibration_error(sample, temperature),
        ece_uncorrected=expected_calibration_error(sample),
        n_images=n_images,
    )


def make_labelled_case(item: SnapshotItem, run_dir: Path) -> LabelledCase:
    """Return the case of a snapshot's item."""
    files, part = (run_dir / item.image, run_dir / item.labels), get_reviewed_part(item, run_dir)
    return LabelledCase(item.name, *files, item.group, item.source or "hold-out", part)


def write_worst_case_figure(case_figures: Sequence[CaseFigure], folder: Path) -> None:
    """Write the picture with the smallest Dice beside the card."""
    if case_figures:
        worst = min(case_figures, key=lambda picture: picture.dice)
        (folder / WORST_CASE_FILE).write_bytes(imagecodecs.png_encode(np.ascontiguousarray(worst.rgb), level=9))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge from the command line; 1 after an error that the text explains."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluation.model_evaluation", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--show-image", action="store_true", help="in the picture of the worst case")
    parser.add_argument("--labels-by", default="the references of the snapshot")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        for score in evaluate_hold_out(options.run_dir, options.labels_by, options.show_image).hold_out:
            logger.info("%s on %s: %.4f, %d images", score.metric, score.dataset, score.mean, score.n_images)
    except MedSegError as error:
        logger.error("%s", error)
        return 1
    return 0


def _read_planes(
    items: Sequence[SnapshotItem],
    run_dir: Path,
    card: ModelCard,
    task: Task,
    recipe: Recipe,
    roi_model: Predictor | None,
) -> list[LabelledPlane]:
    reader = SampleReader(run_dir, card, task, recipe.run.seed, roi_model, recipe.data.label_steps)
    return choose_planes([reader.read_image(item) for item in items], MAX_CALIBRATION_PLANES)


if __name__ == "__main__":
    sys.exit(main())
