"""A reference whose label stands for several labels of the task is scored by their union."""

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import get_task
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import LoadedCase, score_labels
from training.evaluation.scores import CaseScore, Evaluation
from training.reports.evaluation_report import write_evaluation

LESIONS = get_task("covid")


def score(reference: list[int], predicted: list[int], source: str, sets: dict[int, tuple[int, ...]]) -> CaseScore:
    case = LabelledCase("one", Path("one.png"), Path("one.tif"), source=source, label_sets=sets)
    image = Image(np.zeros((1, len(reference)), np.uint8), "YX")
    loaded = LoadedCase(case, image, np.array([reference], np.uint8), None)
    return score_labels(loaded, np.array([predicted], np.uint8), LESIONS, 3).score


def test_a_set_is_found_if_any_of_its_labels_is_drawn() -> None:
    found = score([1, 1, 0, 0], [1, 2, 0, 0], "any", {1: (1, 2)})
    assert found.mean_dice == 1.0
    assert found.miou == 1.0
    assert found.dice["ground-glass or consolidation"] == 1.0
    assert "ground-glass" not in found.dice


def test_sources_with_classes_and_with_sets_have_their_own_figures_on_a_card() -> None:
    scores = (score([1, 2, 0, 0], [1, 0, 0, 0], "classes", {}), score([1, 1, 0, 0], [2, 0, 0, 0], "any", {1: (1, 2)}))
    summary = {(one.metric, one.dataset): one for one in Evaluation("m", "covid", scores).summarise()}
    assert summary["Dice", "classes"].per_label == {"ground-glass": 1.0, "consolidation": 0.0}
    assert summary["Dice", "any"].per_label == {"ground-glass or consolidation": pytest.approx(2 / 3)}
    assert summary["Dice", "any"].mean == pytest.approx(2 / 3)
    assert summary["Dice", "all"].mean == pytest.approx((0.5 + 2 / 3) / 2)


def test_the_evaluation_page_has_a_column_for_each_label_and_each_set(tmp_path: Path) -> None:
    scores = (score([1, 2, 0, 0], [1, 0, 0, 0], "classes", {}), score([1, 1, 0, 0], [2, 0, 0, 0], "any", {1: (1, 2)}))
    table, *_ = write_evaluation(Evaluation("m", "covid", scores), tmp_path, [])
    rows = {row["source"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    assert float(rows["any"]["dice_ground-glass_or_consolidation"]) == pytest.approx(2 / 3)
    assert rows["classes"]["dice_ground-glass_or_consolidation"] == ""
    assert rows["any"]["dice_ground-glass"] == ""
    assert float(rows["classes"]["dice_ground-glass"]) == 1.0
