import csv
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import nn
from training_phantoms import SIDE, phantom, small_card

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import Box
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.predictor import Predictor
from training.data.ignore_regions import ReviewedPart
from training.data.labelled_cases import LabelledCase, pair_by_stem
from training.evaluation.evaluate import (
    evaluate_case,
    evaluate_cases,
    find_cases,
    make_folder_source,
    make_predictor_source,
)
from training.evaluation.scores import Evaluation
from training.reports.case_figure import draw_case_figure
from training.reports.evaluation_report import choose_cases_to_show, write_evaluation

LUNGS = TASKS["lungs"]


class ByPlace(nn.Module):
    """A network with a rule instead of weights: everything dark in the middle is lung, its side is where it lies."""

    def __init__(self, right_is_left: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.right_is_left = right_is_left

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Logits (n, 3, h, w)."""
        lung = ((planes[:, 0] > -0.75) & (planes[:, 0] < -0.05)).float()
        left = (torch.arange(planes.shape[-1], device=planes.device) >= SIDE // 2).float().expand_as(lung)
        if self.right_is_left:
            left = 1 - left
        return self.scale * torch.stack([1 - lung, lung * (1 - left), lung * left], dim=1)


def predictor(right_is_left: bool = False) -> Predictor:
    return Predictor(ByPlace(right_is_left), small_card(), "cpu")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for n in range(4):
        pixels, reference = phantom(n)
        tifffile.imwrite(images / f"p{n // 2}_{n}.tif", pixels)
        tifffile.imwrite(labels / f"p{n // 2}_{n}.tif", reference)
    tifffile.imwrite(images / "unlabelled.tif", phantom(9)[0])
    return images, labels


def evaluate_predictor(network: Predictor, cases: list[LabelledCase]) -> Evaluation:
    judged = evaluate_cases(make_predictor_source(network), cases, LUNGS, network.card.architecture.classes)
    return Evaluation(network.card.id, LUNGS.name, tuple(one.score for one in judged))


def test_a_folder_is_evaluated_image_by_image(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate_predictor(predictor(), find_cases(*folders, group="^(p[0-9])_"))
    assert [score.name for score in evaluation.scores] == ["p0_0", "p0_1", "p1_2", "p1_3"]
    summary = next(score for score in evaluation.summarise() if score.metric == "Dice")
    assert (summary.n_images, summary.n_groups, summary.swapped_sides) == (4, 2, 0)
    assert summary.worst <= summary.mean <= 1
    assert summary.ci_low <= summary.mean <= summary.ci_high
    assert summary.mean > 0.8
    assert set(summary.per_label) == {"right lung", "left lung"}
    for score in evaluation.scores:
        assert score.iou["left lung"] == pytest.approx(score.dice["left lung"] / (2 - score.dice["left lung"]))
        assert set(score.hd95) == {"right lung", "left lung"}
        assert score.unit == "px"
    only = evaluate_predictor(predictor(), find_cases(*folders, only="p1_"))
    assert [score.name for score in only.scores] == ["p1_2", "p1_3"]
    assert only.scores == tuple(score for score in only.scores if score.group == "p1")


def test_exchanged_sides_are_counted(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate_predictor(predictor(right_is_left=True), find_cases(*folders))
    summary = next(score for score in evaluation.summarise() if score.metric == "Dice")
    assert summary.swapped_sides == 4
    assert summary.mean < 0.1


def test_the_tables_say_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate_predictor(predictor(), find_cases(*folders))
    table, data, page = write_evaluation(evaluation, tmp_path / "out")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads(data.read_text())
    assert len(rows) == len(content["images"]) == 4
    assert float(rows[2]["mean_dice"]) == content["images"][2]["mean_dice"] == evaluation.scores[2].mean_dice
    assert float(rows[0]["dice_right_lung"]) == evaluation.scores[0].dice["right lung"]
    summary = {one["metric"]: one["mean"] for one in content["summary"]}
    assert summary["Dice"] == evaluation.summarise()[0].mean
    columns = [(float(row["iou_right_lung"]) + float(row["iou_left_lung"])) / 2 for row in rows]
    assert summary["IoU"] == pytest.approx(np.mean(columns))
    for metric, column in (("mean IoU with background", "miou"), ("accuracy", "agreement")):
        assert summary[metric] == pytest.approx(np.mean([float(row[column]) for row in rows]))
    assert all(metric in page.read_text() for metric in summary)
    assert "p1_3" in page.read_text()


def test_several_sources_have_a_line_each_and_one_for_all(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    cases = [
        LabelledCase(case.name, case.image, case.labels, source=case.name[:2]) for case in pair_by_stem(images, labels)
    ]
    evaluation = evaluate_predictor(predictor(), cases)
    assert [score.dataset for score in evaluation.summarise() if score.metric == "Dice"] == ["p0", "p1", "all"]
    assert {score.metric for score in evaluation.summarise()} == {
        "Dice",
        "Dice of all labels as one",
        "mean IoU with background",
    }


def test_a_label_that_neither_has_is_right(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.full((SIDE, SIDE), 100, np.uint8))
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((SIDE, SIDE), np.uint8))
    case = LabelledCase("empty", tmp_path / "image.tif", tmp_path / "labels.tif")
    assert evaluate_case(predictor(), case, LUNGS).score.mean_dice == 1.0


def test_labels_without_an_image_are_named(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    (images / "p1_3.tif").unlink()
    with pytest.raises(MedSegError, match="p1_3"):
        pair_by_stem(images, labels)
    with pytest.raises(MedSegError, match="not a folder"):
        pair_by_stem(images, labels / "nowhere")


def test_a_pattern_that_fits_nothing_is_an_error(folders: tuple[Path, Path]) -> None:
    with pytest.raises(MedSegError, match="matches 'x'"):
        find_cases(*folders, only="x")


def test_labels_made_elsewhere_are_measured_in_full(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, labels = folders
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for path in labels.iterdir():
        reference = tifffile.imread(path)
        shrunk = np.where(np.arange(SIDE) < 19, 0, reference).astype(np.uint8)
        tifffile.imwrite(theirs / f"{path.stem}_labels.tif", shrunk)
    cases = find_cases(*folders)
    judged = list(evaluate_cases(make_folder_source(theirs), cases, LUNGS))
    for one in judged:
        score = one.score
        right = one.reference == 1
        cut = right & (np.arange(SIDE) < 19)
        assert score.precision["right lung"] == 1.0
        assert score.recall["right lung"] == pytest.approx(1 - cut.sum() / right.sum())
        assert score.accuracy["right lung"] == pytest.approx(1 - cut.sum() / right.size)
        assert score.dice["left lung"] == score.iou["left lung"] == 1.0
        assert score.mean_distance["right lung"] > score.mean_distance["left lung"] == 0.0
        assert score.seconds < 1
    (theirs / "p1_3_labels.tif").unlink()
    with pytest.raises(MedSegError, match="no labels for p1_3"):
        list(evaluate_cases(make_folder_source(theirs), cases, LUNGS))
    with pytest.raises(MedSegError, match="not a folder"):
        make_folder_source(tmp_path / "nowhere")


def test_the_page_shows_the_worst_the_median_and_the_best(folders: tuple[Path, Path], tmp_path: Path) -> None:
    judged = list(evaluate_cases(make_predictor_source(predictor()), find_cases(*folders), LUNGS))
    scores = [one.score for one in judged]
    places = choose_cases_to_show(scores, n_each=1)
    ranked = sorted(scores, key=lambda score: score.mean_dice)
    assert places[ranked[0].name] == "worst"
    assert places[ranked[-1].name] == "best"
    assert set(places.values()) == {"worst", "median", "best"}
    pictures = [draw_case_figure(one, LUNGS) for one in judged]
    *_, page = write_evaluation(Evaluation("m", "lungs", tuple(scores)), tmp_path, pictures)
    text = page.read_text()
    assert text.count("<img") == 4
    assert "The worst cases" in text


def test_instances_have_figures_of_objects(tmp_path: Path) -> None:
    task = TASKS["nuclei"]
    reference = np.zeros((SIDE, SIDE), np.uint16)
    reference[4:20, 4:20], reference[4:20, 20:36], reference[40:50, 40:50] = 9, 4, 700
    merged = np.where(np.isin(reference, [4, 9]), 1, reference).astype(np.uint16)
    for name in ("images", "labels", "theirs"):
        (tmp_path / name).mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.zeros((SIDE, SIDE, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "labels" / "a.tif", reference)
    tifffile.imwrite(tmp_path / "theirs" / "a.tif", merged)
    (one,) = evaluate_cases(
        make_folder_source(tmp_path / "theirs"), find_cases(tmp_path / "images", tmp_path / "labels"), task
    )
    assert one.score.dice == {"nucleus": 1.0}
    assert one.score.objects is not None
    assert one.score.objects.f1 == pytest.approx(2 * 1 / (2 + 3))
    evaluation = Evaluation("m", "nuclei", (one.score,))
    assert [score.metric for score in evaluation.summarise()] == ["Dice", "AJI", "PQ", "F1 of objects"]
    table, data, _ = write_evaluation(evaluation, tmp_path / "out", [draw_case_figure(one, task)])
    assert "aji" in table.read_text().splitlines()[0]
    assert json.loads(data.read_text())["images"][0]["n_reference"] == 3


def test_a_wildcard_is_no_regular_expression(folders: tuple[Path, Path]) -> None:
    with pytest.raises(MedSegError, match=r"'\*\.tif' is no regular expression .*\.\* where a wildcard has \*"):
        find_cases(*folders, only="*.tif")


def test_only_what_somebody_looked_at_is_judged(folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = folders
    whole = find_cases(images, labels)[0]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    wrong = tifffile.imread(whole.labels)
    wrong[:, : SIDE // 2] = 0
    tifffile.imwrite(theirs / whole.labels.name, wrong)
    part = replace(whole, reviewed_part=ReviewedPart(Box(top=0, bottom=SIDE, left=SIDE // 2, right=SIDE)))
    judged = {
        case.reviewed_part is None: one
        for case in (whole, part)
        for one in evaluate_cases(make_folder_source(theirs), [case], LUNGS)
    }
    assert judged[True].score.dice["right lung"] < 0.5
    assert judged[False].score.dice["right lung"] == 1.0
    assert not judged[False].reference[:, : SIDE // 2].any()


def test_a_label_that_no_reference_contains_gets_no_score(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[1].iterdir():
        tifffile.imwrite(path, np.where(tifffile.imread(path) == 1, 1, 0).astype(np.uint8))
    evaluation = evaluate_predictor(predictor(), find_cases(*folders))
    assert all(score.dice["left lung"] == 0 for score in evaluation.scores), "the model finds one"
    summary = next(score for score in evaluation.summarise() if score.metric == "Dice")
    assert (list(summary.per_label), summary.does_not_occur) == (["right lung"], ["left lung"])
    assert summary.mean == pytest.approx(summary.per_label["right lung"])
    assert all(score.mean_dice == score.dice["right lung"] for score in evaluation.scores)
    paths = write_evaluation(evaluation, tmp_path / "out")
    assert "left lung: does not occur in the references, so it has no score." in paths[2].read_text()
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert {row["dice_left_lung"] for row in rows} == {""}
    assert json.loads(paths[1].read_text())["does_not_occur"] == ["left lung"]


def test_references_without_any_label_give_no_score(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[1].iterdir():
        tifffile.imwrite(path, np.zeros((SIDE, SIDE), np.uint8))
    evaluation = evaluate_predictor(predictor(), find_cases(*folders))
    assert evaluation.summarise() == []
    page = write_evaluation(evaluation, tmp_path / "out")[2].read_text()
    assert "No label occurs in the references, so there are no scores." in page


def test_files_are_found_by_their_name_as_text(folders: tuple[Path, Path], tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    (folders[0] / "p0_0.tif").rename(folders[0] / f"{composed}.tif")
    (folders[1] / "p0_0.tif").rename(folders[1] / f"{decomposed}.tif")
    (case,) = find_cases(*folders, only=decomposed, group=f"({decomposed})")
    assert (case.name, case.group) == (composed, composed)
    (tmp_path / "predicted").mkdir()
    tifffile.imwrite(tmp_path / "predicted" / f"{decomposed}_labels.tif", phantom(0)[1])
    (scored,) = evaluate_cases(make_folder_source(tmp_path / "predicted"), [case], LUNGS)
    assert scored.score.mean_dice == 1
    tifffile.imwrite(folders[1] / f"{composed}.tif", phantom(0)[1])
    with pytest.raises(MedSegError, match="have the same name without the suffix"):
        find_cases(*folders)
