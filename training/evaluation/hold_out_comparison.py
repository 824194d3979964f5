"""The end of a run: write the new version, compare it with the old one on the hold-out, write card and report."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from napari_medseg.core.model_card import (
    CARD_FILE,
    Architecture,
    Calibration,
    DataSource,
    Lineage,
    ModelCard,
    read_card,
)
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import now
from napari_medseg.core.snapshot import Role, round_robin
from napari_medseg.inference.device import free_cached_memory
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version, save_version
from napari_medseg.networks.ensemble import ENSEMBLE, N_MEMBERS
from training.checkpoint import TrainingProgress, delete_checkpoints
from training.data.labelled_cases import LabelledCase
from training.evaluation.calibration import (
    compute_reliability_bins,
    expected_calibration_error,
    fit_temperature,
    sample_pixels,
)
from training.evaluation.evaluate import add_full_metrics, evaluate_loaded_case, score_empty_prediction
from training.evaluation.hold_out_evaluation import (
    N_BEST,
    N_WORST,
    EvaluationRequest,
    HoldOutEvaluator,
    load_hold_out_case,
    make_labelled_case,
    read_evaluation_request,
)
from training.evaluation.model_evaluation import write_hold_out_results
from training.evaluation.out_of_domain import BUDGET_SHARE, describe_run
from training.evaluation.provenance import get_code_version
from training.evaluation.run_verdict import read_earlier_comparisons, read_verdict
from training.evaluation.scores import CaseScore, exclude_absent_labels, list_absent_labels
from training.model_selection import select_network
from training.reports.run_report import Reliability, RunOutcome, write_report
from training.run_folder import Compared, Event, Finished, Notice, is_cancelled, is_paused, read_events
from training.run_setup import TrainingSetup

COMPARISON_SHARE = 0.2  # of the time that start-up and reading have left; why so much: docs/retraining.md
MIN_COMPARED_CASES = MIN_GROUPS
TIME_RESERVE_FACTOR = 1.2
CORRECTIONS = "corrections"

logger = logging.getLogger(__name__)


@dataclass
class BaseScores:
    """Scores of the version that a run starts from, in the order of the comparison.

    Parameters
    ----------
    scores
        Without the labels that occur in no reference.
    devices
        By name of the case, the devices that predicted it: of the model, and of that of the region of interest. Empty
        for a first model, which is compared with an empty prediction.
    device
        Device for the new version: the CPU if a GPU failed.
    """

    scores: list[CaseScore]
    devices: dict[str, list[torch.device]]
    device: torch.device


def score_base(setup: TrainingSetup) -> Generator[Notice, None, BaseScores]:
    """Evaluate the version that the run starts from on the hold-out, before training.

    The duration predicts how long the evaluation of the new version will take, of the whole hold-out if a full
    evaluation is requested; this time is reserved. With a budget, cases are taken from all patients in turn until a
    fifth of the time left is used, but at least as many as the promotion gate needs. The first model of a task is
    compared with an empty prediction. Labels that occur in no reference do not count.
    """
    clock = setup.time_budget
    limit_s = float("inf") if clock.budget_s is None else COMPARISON_SHARE * (clock.budget_s - clock.elapsed_s())
    predictor, cases = _load_predictor(setup, setup.base_folder), _list_hold_out_cases(setup)
    is_full = read_evaluation_request(setup.run_dir) is not None
    began = clock.elapsed_s()
    scores: list[CaseScore] = []
    devices: dict[str, list[torch.device]] = {}
    notices: list[str] = []
    for case in cases:
        if len(scores) >= MIN_COMPARED_CASES and clock.elapsed_s() - began > limit_s:
            break
        loaded = load_hold_out_case(case, setup.task)
        if not setup.is_first_model or clock.budget_s is not None:  # of a first model, for its time alone
            evaluated = evaluate_loaded_case(predictor, loaded, setup.task, notices.append)
            if is_full and clock.budget_s is not None:
                add_full_metrics(evaluated, setup.task)  # likewise
        if setup.is_first_model:
            evaluated = score_empty_prediction(loaded, setup.task)
        else:
            devices[case.name] = _list_devices(predictor)
        scores.append(evaluated.score)
    spent_s = clock.elapsed_s() - began
    expected_s = spent_s * len(cases) / len(scores) if is_full and scores else spent_s
    of_statistics_s = BUDGET_SHARE * (clock.budget_s or 0.0)
    clock.reserve_for_evaluation(TIME_RESERVE_FACTOR * setup.recipe.n_members * expected_s + of_statistics_s)
    logger.info("%d of %d hold-out cases took %.1f s before training", len(scores), len(cases), spent_s)
    yield from map(Notice, notices)
    return BaseScores(list(exclude_absent_labels(scores)), devices, predictor.device)


def finish_run(setup: TrainingSetup, progress: TrainingProgress, base: BaseScores) -> Generator[Event, None, bool]:
    """Write the best version, compare it with the old one case by case, and write card and report.

    Where a GPU fails meanwhile, the old version is scored again on the device that the new one is scored on.
    If the run folder requests a full evaluation, it is done in the same pass over the hold-out.

    Returns
    -------
    bool
        False if a pause was requested. Then all of this is repeated when the run resumes.
    """
    network, architecture = yield from select_network(setup, progress)
    card = save_version(network, _build_card(setup, architecture), setup.run_dir)
    if not progress.best_epoch:
        yield Notice("no epoch was better than the version that the run started from; the result keeps its weights")
    free_cached_memory(setup.learner.device)
    predictor, cases = _load_predictor(setup, setup.run_dir, base.device), _list_hold_out_cases(setup)
    request = read_evaluation_request(setup.run_dir)
    evaluator = HoldOutEvaluator(predictor, setup.task, cases, setup.recipe.data.label_steps, request)
    comparison = _Comparison(setup, predictor, evaluator, base)
    if not (yield from comparison.compare_cases(cases)):
        return False
    old = base.scores
    new = exclude_absent_labels(evaluator.scores[: len(old)], list_absent_labels(old))
    card = write_hold_out_results(evaluator, card, _choose_temperature(setup, network, card, request), setup.run_dir)
    card = describe_run(setup, predictor.roi_predictor)
    reliability = measure_reliability(setup, network, card, evaluator)
    last = Finished(
        progress.best_epoch, progress.best_val_dice, is_cancelled(setup.run_dir), setup.time_budget.elapsed_s()
    )
    worst, best = evaluator.figures.list_worst(N_WORST), evaluator.figures.list_best(N_BEST, N_WORST)
    rival = "an empty prediction" if setup.is_first_model else read_card(setup.base_folder / CARD_FILE).id
    n_earlier = read_earlier_comparisons(setup.run_dir)
    verdict = "" if n_earlier is None else read_verdict(setup.run_dir, n_earlier).text
    hidden = frozenset(case.name for case in cases if not case.may_be_shown)
    outcome = RunOutcome(card, rival, old[: len(new)], new, worst, best, reliability, verdict, hidden)
    write_report(setup.run_dir, outcome, [*(event for event, _ in read_events(setup.run_dir)), last])
    yield replace(last, seconds=setup.time_budget.elapsed_s())
    delete_checkpoints(setup.run_dir)  # last, so that a run that is killed here does not restart from the beginning
    return True


def measure_reliability(
    setup: TrainingSetup, network: nn.Module, card: ModelCard, evaluator: HoldOutEvaluator
) -> Reliability | None:
    """Measure the calibration of the probabilities on the hold-out, or on the validation planes if there is none."""
    sample, n_images = evaluator.pixel_sample, evaluator.n_sampled_images
    words = f"{n_images} hold-out images"
    if not n_images:
        sample, words = sample_pixels(network, setup.validation, card), "the validation planes"
    temperature = card.calibration.applied_temperature
    bins = compute_reliability_bins(sample, temperature)
    errors = [expected_calibration_error(sample, divisor) for divisor in (temperature, 1.0)]
    return Reliability(bins, errors[0], errors[1], words, n_images) if bins else None


@dataclass
class _Comparison:
    """The new version on the cases of the old one; `base.scores` change where the old one is scored again."""

    setup: TrainingSetup
    predictor: Predictor
    evaluator: HoldOutEvaluator
    base: BaseScores
    _old: Predictor | None = field(default=None, init=False)

    def compare_cases(self, cases: Sequence[LabelledCase]) -> Generator[Event, None, bool]:
        """Evaluate the cases of the old version, and all others if a full evaluation is requested.

        A budget can end the comparison early, unless a full evaluation is requested. Return False if a pause is
        requested.
        """
        setup, evaluator, old = self.setup, self.evaluator, self.base.scores
        by_name, nowhere = {case.name: case for case in cases}, list_absent_labels(old)
        for position, before in enumerate(old):
            if is_paused(setup.run_dir):
                return False
            n_compared, is_full = len(evaluator.scores), evaluator.request is not None
            if not is_full and n_compared >= MIN_COMPARED_CASES and setup.time_budget.is_exhausted():
                # another process used the CPU since the start
                yield Notice(f"the time budget is used up: {n_compared} of {len(old)} hold-out cases were compared")
                return True
            case = by_name.pop(before.name)
            after = exclude_absent_labels([evaluator.evaluate(case)], nowhere)[0]
            yield from map(Notice, evaluator.take_notices())
            if self.base.devices.get(case.name, now_on := _list_devices(self.predictor)) != now_on:
                before = exclude_absent_labels([(yield from self._score_old_again(case))], nowhere)[0]
                old[position] = before
            figures = (before.metric_value, after.metric_value, before.dice, after.dice)
            yield Compared(before.name, before.source, *figures, before.group, before.metric)
        for case in by_name.values() if evaluator.request is not None else ():
            if is_paused(setup.run_dir):
                return False
            evaluator.evaluate(case)
            yield from map(Notice, evaluator.take_notices())
        return True

    def _score_old_again(self, case: LabelledCase) -> Generator[Event, None, CaseScore]:
        """Score the old version on the devices of the new one, which fell back to the CPU meanwhile."""
        if self._old is None or self._old.device != self.predictor.device:
            yield Notice(f"the device changed: the old version is scored again on {self.predictor.device_title}, too")
            network, card = load_version(self.setup.base_folder)
            self._old = Predictor(network, card, self.predictor.device, roi_predictor=self.predictor.roi_predictor)
        notices: list[str] = []
        loaded = load_hold_out_case(case, self.setup.task)
        score = evaluate_loaded_case(self._old, loaded, self.setup.task, notices.append).score
        yield from map(Notice, notices)
        return score


def _choose_temperature(
    setup: TrainingSetup, network: nn.Module, card: ModelCard, request: EvaluationRequest | None
) -> float:
    """Fit the temperature of a model with a full evaluation; a retrained version keeps the temperature of its parent.

    A retraining run has too few validation images for a stable fit. Without validation images the temperature is 1.
    """
    if request is None:
        return card.calibration.applied_temperature
    return fit_temperature(sample_pixels(network, setup.validation, card)) if setup.split.validate else 1.0


def _list_hold_out_cases(setup: TrainingSetup) -> list[LabelledCase]:
    return [make_labelled_case(item, setup.run_dir) for item in round_robin(setup.split.hold_out)]


def _load_predictor(setup: TrainingSetup, folder: Path, device: torch.device | None = None) -> Predictor:
    return Predictor.load(folder, device or setup.learner.device, setup.recipe.find_roi_folder(setup.run_dir))


def _list_devices(predictor: Predictor) -> list[torch.device]:
    return [one.device for one in (predictor, predictor.roi_predictor) if one is not None]


def _build_card(setup: TrainingSetup, architecture: Architecture) -> ModelCard:
    """Return the new card. The sources of a base model are already on its first card; corrections are added here."""
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
        weaknesses.append(f"{n_members} networks predict together: {n_members} times the time and memory of one")
    # The temperature of the parent is kept as the best estimate; its calibration errors belong to the parent only.
    changes = {
        "calibration": Calibration(temperature=base.calibration.applied_temperature),
        "domain": None,
        "name": recipe.run.name,
        "version": recipe.run.version,
        "own_task": setup.snapshot.own_task,
        "architecture": architecture,
        "weaknesses": weaknesses,
        "amendments": [],
        "training_data": sources,
        "hold_out": [],
        "lineage": lineage,
    }
    return base.model_copy(update=changes)
