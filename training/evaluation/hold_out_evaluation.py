"""One pass of a model over the hold-out: each image is read and predicted once for all results.

The comparison with the old version, the card, the report of a run and the evaluation page share these results: scores,
pixels for the calibration, and figures of the worst, median and best cases.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import Calibration, ModelCard, PostprocessingStep
from napari_medseg.core.snapshot import IGNORE_INDEX, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.events import PredictionResult, get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.preprocess import PreparedImage, prepare_labels
from napari_medseg.inference.roi import Box, compute_roi_box
from training.data.ignore_regions import get_reviewed_part
from training.data.instance_targets import make_network_targets
from training.data.label_sets import replace_by_sets
from training.data.label_transforms import apply_label_steps
from training.data.labelled_cases import LabelledCase
from training.data.sample_reader import check_label_values, check_labels_file
from training.evaluation.calibration import PixelSample, PixelSampler, expected_calibration_error, join_samples
from training.evaluation.evaluate import LoadedCase, add_full_metrics, load_case, score_labels
from training.evaluation.scores import CaseScore, EvaluatedCase, Evaluation
from training.reports.case_figure import CaseFigure, FigureSelection, blank_out_image, draw_case_figure
from training.reports.evaluation_report import N_SHOWN_EACH
from training.run_folder import EVALUATION_REQUEST_FILE
from training.run_setup import spread_indices

LABELS_BY_SNAPSHOT = "the references of the snapshot"
N_EXAMPLES = 2
"""Number of cases with a figure for every model, so that a benchmark can show models side by side."""
MAX_CALIBRATION_PLANES = 60
N_WORST, N_BEST = 4, 2
"""Number of figures in the report of a run."""


class EvaluationRequest(BaseModel):
    """Request for a full evaluation of a run: the whole hold-out, all metrics, and the evaluation page.

    `labels_by` states on the card who made the labels of the hold-out. The figure of the worst case, which is stored
    with the version, shows the image only if `images_may_be_shown` is true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels_by: str
    images_may_be_shown: bool = False


def write_evaluation_request(request: EvaluationRequest, run_dir: Path) -> None:
    """Write the request into a run folder. The run then evaluates its version in the pass that compares it."""
    text = request.model_dump_json(indent=2) + "\n"
    (run_dir / EVALUATION_REQUEST_FILE).write_text(text, encoding="utf-8")


def read_evaluation_request(run_dir: Path) -> EvaluationRequest | None:
    """Return the request in a run folder; `None` if there is none, as in the runs of a project."""
    path = run_dir / EVALUATION_REQUEST_FILE
    if not path.exists():
        return None
    return read_json_model(
        path, EvaluationRequest, "is not a valid evaluation request", "Delete it and evaluate later."
    )


def make_labelled_case(item: SnapshotItem, run_dir: Path) -> LabelledCase:
    """Return the case of a snapshot's item."""
    files, part = (run_dir / item.image, run_dir / item.labels), get_reviewed_part(item, run_dir)
    source, sha256 = item.source or "hold-out", item.labels_sha256
    return LabelledCase(
        item.name, *files, item.group, source, part, sha256, item.label_sets, item.image_shape, item.may_be_shown
    )


def load_hold_out_case(case: LabelledCase, task: Task) -> LoadedCase:
    """Read a case of the hold-out.

    Raises
    ------
    MedSegError
        As `load_case`; also if the labels changed after the snapshot or have a value that the task does not have.
    """
    check_labels_file(case.name, case.labels, case.labels_sha256)
    loaded = load_case(case)
    check_label_values(case.name, _clear_ignored_value(loaded), task)
    return loaded


@dataclass(frozen=True)
class CalibrationPlan:
    """The positions of the hold-out cases used for calibration, and the number of planes of each."""

    positions: frozenset[int]
    n_planes: int

    @classmethod
    def spread_over(cls, n_cases: int) -> "CalibrationPlan":
        """Use planes of as many cases as possible, at most `MAX_CALIBRATION_PLANES` in total."""
        positions = spread_indices(n_cases, MAX_CALIBRATION_PLANES)
        return cls(frozenset(positions), MAX_CALIBRATION_PLANES // max(1, len(positions)))


Item = TypeVar("Item")


def choose_examples(items: Sequence[Item]) -> Sequence[Item]:
    """Choose the first and the middle one of a hold-out."""
    return items[:: max(1, len(items) // N_EXAMPLES)][:N_EXAMPLES]


class HoldOutEvaluator:
    """Evaluates the cases of a hold-out one at a time, and collects the results.

    Parameters
    ----------
    predictor
        The model.
    task
        The task of the labels.
    cases
        All cases of the hold-out; they may be evaluated in any order, and some may be omitted.
    label_steps
        Steps applied to the training labels. They are also applied for the calibration, but not for the scores.
    request
        If given, all metrics and figures of median cases are made too. Without it, surface distances, which take longer
        than the prediction, are not computed.
    """

    def __init__(
        self,
        predictor: Predictor,
        task: Task,
        cases: Sequence[LabelledCase],
        label_steps: Sequence[PostprocessingStep] = (),
        request: EvaluationRequest | None = None,
    ) -> None:
        self.request = request
        self.scores: list[CaseScore] = []
        n_median = 0 if request is None else N_SHOWN_EACH
        n_worst, n_best = max(N_WORST, N_SHOWN_EACH), max(N_BEST, N_SHOWN_EACH)
        self.figures = FigureSelection(sum(case.may_be_shown for case in cases), n_worst, n_median, n_best)
        self.examples: dict[int, CaseFigure] = {}
        """Figures of the example cases by position, if a full evaluation is requested."""
        self._is_image_hidden = request is not None and not request.images_may_be_shown
        self._blank_figure: CaseFigure | None = None
        self._predictor, self._task, self._label_steps = predictor, task, tuple(label_steps)
        self._positions = {case.name: position for position, case in enumerate(cases)}
        self._plan = CalibrationPlan.spread_over(len(cases))
        self._samples: list[PixelSample] = []
        self._sources: list[str] = []
        self._notices: list[str] = []

    @property
    def evaluation(self) -> Evaluation:
        """The scores so far, in the order of the cases of the hold-out."""
        in_order = sorted(self.scores, key=lambda score: self._positions[score.name])
        return Evaluation(self._predictor.card.id, self._task.name, tuple(in_order))

    @property
    def n_sampled_images(self) -> int:
        """Number of images used for the calibration."""
        return len(self._samples)

    @property
    def pixel_sample(self) -> PixelSample:
        """Logits and classes of the sampled pixels of all images."""
        return join_samples(self._samples)

    @property
    def worst_figure(self) -> CaseFigure | None:
        """Figure of the worst case for the version: with its image, or with a black image if it must not be shown."""
        if self._is_image_hidden:
            return self._blank_figure
        return next(iter(self.figures.list_worst(1)), None)

    def evaluate(self, case: LabelledCase) -> CaseScore:
        """Read, predict and score one case; keep its sampled pixels and its figure.

        Raises
        ------
        MedSegError
            As `load_hold_out_case`; also if the image cannot be predicted.
        """
        loaded, position = load_hold_out_case(case, self._task), self._positions[case.name]
        sampler = PixelSampler(self._predictor.card, self._choose_planes(loaded, position))
        began = time.monotonic()
        result = get_result(self._predictor.predict(loaded.image, observer=sampler), self._notices.append)
        n_classes, seconds = self._predictor.card.architecture.classes, time.monotonic() - began
        evaluated = score_labels(loaded, result.labels, self._task, n_classes, seconds)
        if self.request is not None:
            evaluated = add_full_metrics(evaluated, self._task)
        if sampler.grid is not None:
            self._samples.append(sampler.make_sample(self._make_targets(loaded, result, sampler)))
            self._sources.append(case.source)
        if case.may_be_shown:
            self._draw(evaluated, position)
        self.scores.append(evaluated.score)
        return evaluated.score

    def _draw(self, evaluated: EvaluatedCase, position: int) -> None:
        """Keep the figures of a case that are asked for."""
        self.figures.add(evaluated, self._task, position)
        if self.request is not None and position in choose_examples(range(len(self._positions))):
            self.examples[position] = draw_case_figure(evaluated, self._task)
        is_worst = self._blank_figure is None or evaluated.score.mean_dice < self._blank_figure.dice
        if self._is_image_hidden and is_worst:
            self._blank_figure = draw_case_figure(blank_out_image(evaluated), self._task)

    def take_notices(self) -> list[str]:
        """Return what the predictions have told the user since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def update_card(self, card: ModelCard, temperature: float) -> ModelCard:
        """Return a card with the scores so far, the temperature, and its calibration error on the hold-out."""
        changes: dict[str, object] = {"calibration": self.measure_calibration(temperature)}
        if self.scores:
            labels_by = LABELS_BY_SNAPSHOT if self.request is None else self.request.labels_by
            changes["hold_out"] = self.evaluation.summarise(labels_by)
        return card.model_copy(update=changes)

    def measure_calibration(self, temperature: float) -> Calibration:
        """Measure the expected calibration error with and without the temperature, if there are sampled pixels."""
        sample = self.pixel_sample
        if not len(sample.truth):
            return Calibration(temperature=temperature)
        return Calibration(
            temperature=temperature,
            ece=expected_calibration_error(sample, temperature),
            ece_uncorrected=expected_calibration_error(sample),
            ece_by_source=self._measure_by_source(temperature),
            n_images=self.n_sampled_images,
        )

    def _measure_by_source(self, temperature: float) -> dict[str, float]:
        """Return the calibration error on the images of each source; empty if there is only one."""
        by_source: dict[str, list[PixelSample]] = {}
        for source, sample in zip(self._sources, self._samples, strict=True):
            by_source.setdefault(source, []).append(sample)
        errors = {name: expected_calibration_error(join_samples(some), temperature) for name, some in by_source.items()}
        return errors if len(errors) > 1 else {}

    def _choose_planes(self, loaded: LoadedCase, position: int) -> list[int]:
        """Choose reviewed planes, evenly spread over the image; none if the case is not used for calibration."""
        if position not in self._plan.positions:
            return []
        n_planes = int(np.prod(loaded.reference.shape[:-2]))
        counting = np.arange(n_planes)
        if loaded.ignored_mask is not None:
            counting = np.flatnonzero(~_flatten_to_planes(loaded.ignored_mask).all(axis=(1, 2)))
        return [int(counting[index]) for index in spread_indices(len(counting), self._plan.n_planes)]

    def _make_targets(self, loaded: LoadedCase, result: PredictionResult, sampler: PixelSampler) -> NDArray[np.uint8]:
        """Return the true classes (n, h, w) of the sampled planes on the network's grid, ignored ones included."""
        planes, card = list(sampler.planes), self._predictor.card
        box: Box = (slice(None), slice(None))
        if result.roi is not None and card.field is not None:
            box = compute_roi_box(result.roi, card.field.margin)
        labels = apply_label_steps(_flatten_to_planes(_clear_ignored_value(loaded))[planes], self._label_steps)
        labels = labels[:, box[0], box[1]]
        targets = make_network_targets(labels, card)
        targets = replace_by_sets(targets, labels, loaded.case.label_sets, card.architecture.classes)
        if loaded.ignored_mask is not None:
            ignored = _flatten_to_planes(loaded.ignored_mask)[planes][:, box[0], box[1]]
            targets = np.where(ignored, IGNORE_INDEX, targets)
        return prepare_labels(targets, _get_grid(sampler, targets.shape))


def _clear_ignored_value(loaded: LoadedCase) -> NDArray[np.integer]:
    """Return the reference with background in unlabelled pixels."""
    part = loaded.case.reviewed_part
    if part is None or part.ignored_value is None:
        return loaded.reference
    return np.where(loaded.reference == part.ignored_value, 0, loaded.reference)


def _get_grid(sampler: PixelSampler, shape: tuple[int, ...]) -> PreparedImage:
    """Return the network's grid for the sampled planes; `shape` (n, y, x) is their shape on the original grid."""
    assert sampler.grid is not None
    return replace(sampler.grid, spatial_shape=shape)


def _flatten_to_planes(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.reshape(-1, *labels.shape[-2:])
