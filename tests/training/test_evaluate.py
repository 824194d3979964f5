import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import nn
from training_phantoms import SIDE, phantom, small_card

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks import TASKS
from napari_medseg.inference.predictor import Predictor
from training.evaluate import LabelledCase, evaluate, evaluate_folder, judge_case, write_evaluation
from training.pairs import pair_by_stem

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


def test_a_folder_is_evaluated_image_by_image(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate_folder(predictor(), *folders, LUNGS, group="^(p[0-9])_")
    assert [score.name for score in evaluation.scores] == ["p0_0", "p0_1", "p1_2", "p1_3"]
    (summary,) = evaluation.summary()
    assert (summary.n_images, summary.n_groups, summary.swapped_sides) == (4, 2, 0)
    assert summary.worst <= summary.mean <= 1
    assert summary.ci_low <= summary.mean <= summary.ci_high
    assert summary.mean > 0.8
    assert set(summary.per_label) == {"right lung", "left lung"}
    for score in evaluation.scores:
        assert score.iou["left lung"] == pytest.approx(score.dice["left lung"] / (2 - score.dice["left lung"]))
        assert set(score.hd95) == {"right lung", "left lung"}
        assert score.unit == "px"
    only = evaluate_folder(predictor(), *folders, LUNGS, only="p1_")
    assert [score.name for score in only.scores] == ["p1_2", "p1_3"]
    assert only.scores == tuple(score for score in only.scores if score.group == "")


def test_exchanged_sides_are_counted(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate_folder(predictor(right_is_left=True), *folders, LUNGS)
    (summary,) = evaluation.summary()
    assert summary.swapped_sides == 4
    assert summary.mean < 0.1


def test_the_tables_say_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate_folder(predictor(), *folders, LUNGS)
    table, data, page = write_evaluation(evaluation, tmp_path / "out")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads(data.read_text())
    assert len(rows) == len(content["images"]) == 4
    assert float(rows[2]["mean_dice"]) == content["images"][2]["mean_dice"] == evaluation.scores[2].mean_dice
    assert float(rows[0]["dice_right_lung"]) == evaluation.scores[0].dice["right lung"]
    assert content["summary"][0]["mean"] == evaluation.summary()[0].mean
    assert "p1_3" in page.read_text()


def test_several_sources_have_a_line_each_and_one_for_all(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    cases = [
        LabelledCase(case.name, case.image, case.labels, source=case.name[:2]) for case in pair_by_stem(images, labels)
    ]
    evaluation = evaluate(predictor(), cases, LUNGS)
    assert [score.dataset for score in evaluation.summary()] == ["p0", "p1", "all"]


def test_a_label_that_neither_has_is_right(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.full((SIDE, SIDE), 100, np.uint8))
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((SIDE, SIDE), np.uint8))
    case = LabelledCase("empty", tmp_path / "image.tif", tmp_path / "labels.tif")
    assert judge_case(predictor(), case, LUNGS).score.mean_dice == 1.0


def test_labels_without_an_image_are_named(folders: tuple[Path, Path]) -> None:
    images, labels = folders
    (images / "p1_3.tif").unlink()
    with pytest.raises(MedSegError, match="p1_3"):
        pair_by_stem(images, labels)
    with pytest.raises(MedSegError, match="no folder"):
        pair_by_stem(images, labels / "nowhere")


def test_a_pattern_that_fits_nothing_is_an_error(folders: tuple[Path, Path]) -> None:
    with pytest.raises(MedSegError, match="matches 'x'"):
        evaluate_folder(predictor(), *folders, LUNGS, only="x")
