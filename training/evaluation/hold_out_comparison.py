"""What a run leaves: the new version, its comparison with the old one on the hold-out, its card and its report."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from napari_medseg.core.model_card import (
    CARD_FILE,
    Architecture,
    Calibration,
    DataSource,
    Lineage,
    ModelCard,
    read_card,
    write_card,
)
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import now
from napari_medseg.core.snapshot import Role, round_robin
from napari_medseg.inference.predictor import Predictor, load_roi_predictor
from napari_medseg.networks import save_version
from napari_medseg.networks.ensemble import ENSEMBLE, N_MEMBERS
from training.checkpoint import TrainingProgress, delete_checkpoints
from training.data.labelled_cases import LabelledCase
from training.data.sample_reader import SampleReader
from training.evaluation.calibration import compute_reliability_bins, expected_calibration_error, sample_pixels
from training.evaluation.case_figure import CaseFigure, draw_case_figure
from training.evaluation.evaluate import evaluate_case, evaluate_empty_prediction
from training.evaluation.model_evaluation import make_labelled_case, write_worst_case_figure
from training.evaluation.provenance import get_code_version
from training.evaluation.run_report import Reliability, RunOutcome, write_report
from training.evaluation.scores import CaseScore, Evaluation
from training.model_selection import select_network
from training.run_folder import Compared, Event, Finished, Notice, is_cancelled, is_paused, read_events
from training.run_setup import TrainingSetup, choose_planes

COMPARISON_SHARE = 0.25
MIN_COMPARED_CASES = MIN_GROUPS
TIME_RESERVE_FACTOR = 1.2
N_WORST, N_BEST = 4, 2
MAX_CALIBRATION_IMAGES, MAX_CALIBRATION_PLANES = 20, 60
LABELS_BY = "the references of the snapshot"
CORRECTIONS = "corrections"

logger = logging.getLogger(__name__)


def score_base(setup: TrainingSetup) -> list[CaseScore]:
    """Measure the version that the run starts from on the hold-out, before anything else.

    Its time tells what the same for the new version will take; that is reserved on the clock. Under a budget, cases
    are taken from all patients in turn until a quarter of the budget is used, but at least as many as the gate needs.
    The first model of a task is compared with an empty answer.
    """
    clock = setup.time_budget
    limit_s = float("inf") if clock.budget_s is None else COMPARISON_SHARE * clock.budget_s
    predictor = _load_predictor(setup, setup.base_folder)
    began = clock.elapsed_s()
    scores: list[CaseScore] = []
    for case in _list_hold_out_cases(setup):
        if len(scores) >= MIN_COMPARED_CASES and clock.elapsed_s() - began > limit_s:
            break
        if setup.is_first_model and clock.budget_s is not None:
            evaluate_case(predictor, case, setup.task)  # for its time alone
        judged = (
            evaluate_empty_prediction(case, setup.task)
            if setup.is_first_model
            else evaluate_case(predictor, case, setup.task)
        )
        scores.append(judged.score)
    clock.reserved_s += TIME_RESERVE_FACTOR * setup.recipe.n_members * (clock.elapsed_s() - began)
    return scores


def finish_run(
    setup: TrainingSetup, progress: TrainingProgress, old: Sequence[CaseScore]
) -> Generator[Event, None, bool]:
    """Write the best version, compare it with the old one case by case, and write card and report.

    Returns
    -------
    bool
        False where somebody wanted a pause meanwhile: then all of this is done again when the run goes on.
    """
    network, architecture = yield from select_network(setup, progress)
    card = save_version(network, _build_card(setup, architecture), setup.run_dir)
    if not progress.best_epoch:
        yield Notice("no epoch was better than the version that the run started from: the result is that version")
    predictor = _load_predictor(setup, setup.run_dir)
    cases = {case.name: case for case in _list_hold_out_cases(setup)}
    new, pictures = list[CaseScore](), list[CaseFigure]()
    for before in old:
        if is_paused(setup.run_dir):
            return False
        if (
            len(new) >= MIN_COMPARED_CASES and setup.time_budget.is_exhausted()
        ):  # something else took the processor since the start
            yield Notice(f"the budget is used up: {len(new)} of {len(old)} hold-out cases are compared")
            break
        judged = evaluate_case(predictor, cases[before.name], setup.task)
        after = judged.score
        new.append(after)
        pictures = _keep_extremes([*pictures, draw_case_figure(judged, setup.task)])
        figures = (before.metric_value, after.metric_value, before.dice, after.dice)
        yield Compared(before.name, before.source, *figures, before.group, before.metric)
    if new:
        scores = Evaluation(card.id, card.task, tuple(new)).summarise(LABELS_BY)
        card = card.model_copy(update={"hold_out": scores})
        write_worst_case_figure(pictures[:1], setup.run_dir)
    found = measure_reliability(setup, network, card)
    card = card.model_copy(update={"calibration": _update_calibration(card, found)})
    write_card(card, setup.run_dir / CARD_FILE)
    last = Finished(
        progress.best_epoch, progress.best_val_dice, is_cancelled(setup.run_dir), setup.time_budget.elapsed_s()
    )
    worst, best = pictures[:N_WORST], pictures[N_WORST:][::-1]
    rival = "an empty answer" if setup.is_first_model else read_card(setup.base_folder / CARD_FILE).id
    outcome = RunOutcome(card, rival, old[: len(new)], new, worst, best, found)
    write_report(setup.run_dir, outcome, [*(event for event, _ in read_events(setup.run_dir)), last])
    yield replace(last, seconds=setup.time_budget.elapsed_s())
    delete_checkpoints(setup.run_dir)  # last, so that a run that is killed here need not begin again
    return True


def measure_reliability(setup: TrainingSetup, network: nn.Module, card: ModelCard) -> Reliability | None:
    """Measure how far probabilities can be believed: on the hold-out, or under a budget on what is in memory."""
    planes, words, n_images = setup.validation, "the validation planes", 0
    if setup.recipe.run.budget_s is None and (items := round_robin(setup.split.hold_out)[:MAX_CALIBRATION_IMAGES]):
        recipe = setup.recipe
        roi_predictor = load_roi_predictor(recipe.find_roi_folder(setup.run_dir), str(setup.learner.device))
        reader = SampleReader(setup.run_dir, card, setup.task, recipe.run.seed, roi_predictor, recipe.data.label_steps)
        images = [reader.read_image(item) for item in items]
        planes, n_images = tuple(choose_planes(images, MAX_CALIBRATION_PLANES)), len(items)
        words = f"{n_images} images of the hold-out"
    sample = sample_pixels(network, planes, card)
    temperature = card.calibration.temperature
    bins = compute_reliability_bins(sample, temperature)
    errors = [expected_calibration_error(sample, divisor) for divisor in (temperature, 1.0)]
    return Reliability(bins, errors[0], errors[1], words, n_images) if bins else None


def _update_calibration(card: ModelCard, found: Reliability | None) -> Calibration:
    """Return the card's calibration with its errors, where they were measured on the hold-out."""
    if found is None or not found.n_hold_out:
        return card.calibration
    errors = {"ece": found.ece, "ece_uncorrected": found.ece_uncorrected, "n_images": found.n_hold_out}
    return card.calibration.model_copy(update=errors)


def _list_hold_out_cases(setup: TrainingSetup) -> list[LabelledCase]:
    return [make_labelled_case(item, setup.run_dir) for item in round_robin(setup.split.hold_out)]


def _load_predictor(setup: TrainingSetup, folder: Path) -> Predictor:
    return Predictor.load(folder, str(setup.learner.device), setup.recipe.find_roi_folder(setup.run_dir))


def _keep_extremes(case_figures: Sequence[CaseFigure]) -> list[CaseFigure]:
    """Return the pictures with the smallest Dice, and behind them those with the largest, ascending."""
    ranked = sorted(case_figures, key=lambda case: case.dice)
    return ranked if len(ranked) <= N_WORST + N_BEST else [*ranked[:N_WORST], *ranked[-N_BEST:]]


def _build_card(setup: TrainingSetup, architecture: Architecture) -> ModelCard:
    """Return the new card; a base model's sources are on the card that it starts with, corrections are added."""
    recipe, base = setup.recipe, setup.base
    is_retrain = bool(base.lineage.created)
    learnt = setup.snapshot.filter_by_role(Role.TRAIN, Role.VALIDATE)
    corrected = [item for item in learnt if is_retrain or item.source == CORRECTIONS]
    sources = list(base.training_data)
    if corrected:
        sources.append(
            DataSource(
                name=CORRECTIONS,
                n_images=len(corrected),
                groups=len({item.group for item in corrected}),
                labels="the user's accepted corrections",
                licence="the user's own data",
            )
        )
    lineage = Lineage(
        parent=base.id if is_retrain else base.lineage.parent,
        began_with="" if is_retrain else base.lineage.began_with,
        run=setup.run_dir.absolute().name,
        snapshot_sha256=setup.snapshot.sha256,
        n_corrections=len(corrected),
        seed=recipe.run.seed,
        code_version=get_code_version(),
        created=now(),
    )
    weaknesses = list(base.weaknesses)
    if architecture.name == ENSEMBLE != base.architecture.name:
        n_members = architecture.options[N_MEMBERS]
        weaknesses.append(f"{n_members} networks answer together: {n_members} times the time and memory of one")
    # The temperature is the best guess there is; how well it does was measured on another version.
    changes = {
        "calibration": Calibration(temperature=base.calibration.temperature),
        "name": recipe.run.name,
        "version": recipe.run.version,
        "own_task": setup.snapshot.own_task,
        "architecture": architecture,
        "weaknesses": weaknesses,
        "training_data": sources,
        "hold_out": [],
        "lineage": lineage,
    }
    return base.model_copy(update=changes)
