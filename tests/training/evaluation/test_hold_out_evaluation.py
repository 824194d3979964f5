"""One pass over a hold-out: what is read, predicted and told, and that the run and a later evaluation agree."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor, nn
from training_phantoms import SIDE, item, phantom, small_card

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import InstanceSeparation, ModelCard, Preprocessing, RegionOfInterest, read_card
from napari_medseg.core.snapshot import Box, Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.predictor import Predictor
from training.__main__ import main, run
from training.data.sample_reader import SampleReader
from training.evaluation.calibration import PixelSample, sample_pixels
from training.evaluation.hold_out_evaluation import (
    EvaluationRequest,
    HoldOutEvaluator,
    make_labelled_case,
    write_evaluation_request,
)
from training.evaluation.model_evaluation import ensure_hold_out_evaluation, evaluate_hold_out
from training.run_folder import Compared, Failed, Finished, read_events

LUNGS, NUCLEI = TASKS["lungs"], TASKS["nuclei"]
REQUEST = EvaluationRequest(labels_by="construction")
MakeRun = Callable[..., Path]


class ByPixel(nn.Module):
    """Logits of a pixel from its grey value alone, so that tiles and whole planes agree."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.linspace(-2.0, 2.0, n_classes)[:, None, None])

    def forward(self, planes: Tensor) -> Tensor:
        """Logits (n, classes, h, w)."""
        return self.scales * planes[:, :1]


def make_card(n_classes: int, **changes: object) -> ModelCard:
    card = small_card()
    architecture = card.architecture.model_copy(update={"classes": n_classes})
    return card.model_copy(update={"architecture": architecture, **changes})


def evaluate_item(predictor: Predictor, one: SnapshotItem, folder: Path, task: object = LUNGS) -> HoldOutEvaluator:
    case = make_labelled_case(one, folder)
    evaluator = HoldOutEvaluator(predictor, task, [case], request=REQUEST)
    evaluator.evaluate(case)
    return evaluator


def assert_same_pixels(found: PixelSample, expected: PixelSample) -> None:
    np.testing.assert_array_equal(found.truth, expected.truth)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0.01, atol=0.01)  # planes in memory are float16


@pytest.mark.parametrize("limits", [None, BatchLimits(0, 0, 32, 8)], ids=["whole planes", "tiles"])
@pytest.mark.parametrize("numbers", [Preprocessing(min_side_px=SIDE, max_side_px=SIDE), Preprocessing(min_side_px=100)])
def test_pixels_of_the_prediction_are_those_of_a_pass_of_their_own(
    tmp_path: Path, limits: BatchLimits | None, numbers: Preprocessing
) -> None:
    one = item(tmp_path, "held", Role.HOLD_OUT, seed=3)
    box = Box(top=0, bottom=SIDE, left=0, right=40)
    card, network = make_card(3, preprocessing=numbers), ByPixel(3)
    for part in (one, one.model_copy(update={"reviewed": box})):
        evaluator = evaluate_item(Predictor(network, card, "cpu", limits), part, tmp_path)
        planes = SampleReader(tmp_path, card, LUNGS, seed=0).read_image(part).planes
        expected = sample_pixels(network, planes, card)
        assert len(expected.truth) > 100
        assert_same_pixels(evaluator.pixel_sample, expected)
        assert evaluator.n_sampled_images == 1


def test_of_instances_the_question_is_whether_a_pixel_is_inside_of_any(tmp_path: Path) -> None:
    one = item(tmp_path, "held", Role.HOLD_OUT, seed=3)
    card = make_card(4, task="nuclei", instances=InstanceSeparation(levels=[0.0, 0.3, 0.6]))
    network = ByPixel(4)
    evaluator = evaluate_item(Predictor(network, card, "cpu"), one, tmp_path, NUCLEI)
    planes = SampleReader(tmp_path, card, NUCLEI, seed=0).read_image(one).planes
    assert_same_pixels(evaluator.pixel_sample, sample_pixels(network, planes, card))
    assert evaluator.pixel_sample.logits.shape[1] == 2


def test_planes_come_from_the_region_of_interest_and_all_over_a_volume(tmp_path: Path) -> None:
    pixels, labels = (np.stack([phantom(seed)[part] for seed in range(90)]) for part in (0, 1))
    tifffile.imwrite(tmp_path / "stack.tif", pixels, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "stack_labels.tif", labels, metadata={"axes": "ZYX"})
    one = SnapshotItem(name="stack", image="stack.tif", labels="stack_labels.tif", group="p", role=Role.HOLD_OUT)
    finder = Predictor(ByPixel(3), make_card(3), "cpu")
    card = make_card(3, field=RegionOfInterest(task="lungs", margin=0.1))
    evaluator = evaluate_item(Predictor(ByPixel(3), card, "cpu", roi_predictor=finder), one, tmp_path)
    whole = evaluate_item(finder, one, tmp_path)
    assert len(evaluator.pixel_sample.truth) > 60 * 100
    assert (evaluator.pixel_sample.truth > 0).sum() <= (whole.pixel_sample.truth > 0).sum()
    assert len(whole.pixel_sample.truth) <= 60 * (SIDE // 3 + 1) ** 2, "60 of 90 planes"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """How often each file is read as an image, and how often each is predicted."""
    found: dict[str, Counter[str]] = {"reads": Counter(), "predictions": Counter()}
    read, predict = formats.read, Predictor.predict

    def count_read(path: Path, **options: object) -> Image:
        found["reads"][path.stem] += 1
        return read(path, **options)

    def count_prediction(self: Predictor, image: Image, *args: object, **options: object) -> Iterator[object]:
        found["predictions"][image.sources[0].stem] += 1
        return predict(self, image, *args, **options)

    monkeypatch.setattr(formats, "read", count_read)
    monkeypatch.setattr(Predictor, "predict", count_prediction)
    return found


@pytest.mark.parametrize("budget_s", [None, 30.0])
def test_a_retrain_predicts_the_hold_out_once_by_each_version(
    make_run: MakeRun, counts: dict[str, Counter[str]], budget_s: float | None
) -> None:
    run_dir = make_run(n_epochs=1, steps_per_epoch=1, budget_s=budget_s)
    assert main([str(run_dir)]) == 0
    held = ("held0", "held1", "held2")
    assert counts["predictions"] == dict.fromkeys(held, 2), "by the old version, and by the new one"
    learnt = ("train0", "train1", "train2", "train3", "old")
    assert counts["reads"] == dict.fromkeys(held, 2) | dict.fromkeys(learnt, 1)
    card = read_card(run_dir / "card.json")
    assert card.calibration.n_images == 3
    assert card.hold_out[0].labels_by == "the references of the snapshot"
    assert f"calibration error {card.calibration.ece:.4f} on 3 hold-out images" in (run_dir / "report.html").read_text()
    assert not (run_dir / "evaluation.json").exists()


def test_a_run_that_is_asked_to_tells_what_a_later_evaluation_would(
    make_run: MakeRun, counts: dict[str, Counter[str]], tmp_path: Path
) -> None:
    items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(3)]
    items += [item(tmp_path, f"check{n}", Role.VALIDATE, seed=10 + n) for n in range(2)]
    items += [item(tmp_path, f"held{n}", Role.HOLD_OUT, group=f"p{n % 2}", seed=30 + n) for n in range(4)]
    run_dir = make_run(items=items, n_epochs=2)
    write_evaluation_request(REQUEST, run_dir)
    assert main([str(run_dir)]) == 0
    assert set(counts["predictions"].values()) == {2}
    told = read_card(run_dir / "card.json")
    images = json.loads((run_dir / "evaluation.json").read_text())["images"]
    assert [image["name"] for image in images] == ["held0", "held1", "held2", "held3"]
    compared = {event.case: event.new for event, _ in read_events(run_dir) if isinstance(event, Compared)}
    assert compared == {image["name"]: image["mean_dice"] for image in images}
    assert told.hold_out[0].labels_by == "construction"
    assert ensure_hold_out_evaluation(run_dir, REQUEST) == told
    assert set(counts["predictions"].values()) == {2}, "nothing is done again"
    worst = (run_dir / "worst_case.png").read_bytes()
    again = evaluate_hold_out(run_dir, REQUEST)
    assert set(counts["predictions"].values()) == {3}
    assert again.hold_out == told.hold_out
    for name in ("temperature", "ece", "ece_uncorrected", "n_images"):
        assert getattr(again.calibration, name) == pytest.approx(getattr(told.calibration, name), rel=1e-3)
    assert (run_dir / "worst_case.png").read_bytes() == worst


def test_a_full_evaluation_covers_what_a_budget_does_not_compare(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.hold_out_comparison.MIN_COMPARED_CASES", 1)
    monkeypatch.setattr("training.evaluation.hold_out_comparison.COMPARISON_SHARE", 0.0)
    run_dir = make_run(n_epochs=1, steps_per_epoch=1, budget_s=30.0)
    write_evaluation_request(REQUEST, run_dir)
    events = list(run(run_dir, time.monotonic()))
    assert sum(isinstance(event, Compared) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert len(json.loads((run_dir / "evaluation.json").read_text())["images"]) == 3
    assert read_card(run_dir / "card.json").hold_out[0].n_images == 3


@pytest.mark.parametrize(("changed", "words"), [(2, "changed after the snapshot"), (9, "have the value 9")])
def test_labels_that_cannot_be_right_end_the_run_before_it_trains(
    make_run: MakeRun, tmp_path: Path, changed: int, words: str
) -> None:
    items = [item(tmp_path, f"case{n}", role, seed=n) for n, role in enumerate((Role.TRAIN, Role.HOLD_OUT))]
    hashed = items[1].model_copy(update={"labels_sha256": "0" * 64}) if changed == 2 else items[1]
    labels = tifffile.imread(tmp_path / hashed.labels)
    tifffile.imwrite(tmp_path / hashed.labels, np.where(labels > 0, changed, 0).astype(np.uint8))
    run_dir = make_run(items=[items[0], hashed])
    assert main([str(run_dir)]) == 1
    events = [event for event, _ in read_events(run_dir)]
    assert isinstance(events[-1], Failed)
    assert words in events[-1].message
    assert len(events) == 2, "Started and Failed"


def test_without_a_hold_out_there_is_nothing_to_evaluate(make_run: MakeRun, tmp_path: Path) -> None:
    run_dir = make_run(items=[item(tmp_path, "only", Role.TRAIN)])
    with pytest.raises(MedSegError, match=r"hold-out of .* is empty"):
        evaluate_hold_out(run_dir, REQUEST)
