"""Which cases are drawn, while their ranks are not known yet."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import TASKS
from training.evaluation.scores import CaseScore, EvaluatedCase
from training.reports.case_figure import (
    CaseFigure,
    FigureSelection,
    draw_case_figure,
    read_case_figures,
    write_case_figures,
)
from training.reports.evaluation_report import N_SHOWN_EACH, choose_cases_to_show

LUNGS = TASKS["lungs"]


def evaluated(name: str, dice: float) -> EvaluatedCase:
    """A case whose picture says which one it is."""
    pixels = np.random.default_rng(int(name)).integers(0, 255, (8, 8), np.uint8)
    labels = np.zeros((8, 8), np.uint8)
    score = CaseScore(name, "", "", {"right lung": dice}, swapped=False, seconds=0.0)
    return EvaluatedCase(score, Image(pixels, "YX"), labels, labels)


@pytest.mark.parametrize("n_cases", [1, 2, 5, 6, 9, 10, 40])
def test_worst_median_and_best_are_those_of_all_cases_in_whatever_order_they_come(n_cases: int) -> None:
    rng = random.Random(n_cases)
    cases = [evaluated(str(number), rng.choice((0.1, 0.5, 0.9, rng.random()))) for number in range(n_cases)]
    selection = FigureSelection(n_cases, 4, N_SHOWN_EACH, N_SHOWN_EACH)
    for position in rng.sample(range(n_cases), n_cases):
        selection.add(cases[position], LUNGS, position)
    wanted = choose_cases_to_show([case.score for case in cases])
    figures = selection.list_figures()
    assert wanted.keys() <= {figure.name for figure in figures}
    assert [int(figure.name) for figure in figures] == sorted(int(figure.name) for figure in figures)
    assert len(figures) <= 4 + 2 * N_SHOWN_EACH
    for figure in figures:
        np.testing.assert_array_equal(figure.rgb, draw_case_figure(cases[int(figure.name)], LUNGS).rgb)
    ranked = sorted(cases, key=lambda case: case.score.mean_dice)
    worst, best = selection.list_worst(4), selection.list_best(2, 4)
    assert [figure.name for figure in worst] == [case.score.name for case in ranked[:4]]
    assert [figure.name for figure in best] == [case.score.name for case in ranked[4:][-2:][::-1]]


def test_few_figures_are_kept_on_the_way() -> None:
    selection = FigureSelection(1000, 4, 0, 2)
    for position in random.Random(0).sample(range(1000), 300):
        selection.add(evaluated(str(position), position / 1000), LUNGS, position)
        assert len(selection.list_figures()) <= 6


def test_figures_come_back_from_a_file(tmp_path: Path) -> None:
    drawn = draw_case_figure(evaluated("7", 0.25), LUNGS)
    figures = [drawn, replace(drawn, name="größer", rgb=np.zeros((3, 5, 3), np.uint8))]
    write_case_figures(figures, tmp_path / "figures.npz")
    found = read_case_figures(tmp_path / "figures.npz")
    assert [(one.name, one.dice) for one in found] == [("7", 0.25), ("größer", 0.25)]
    for one, other in zip(found, figures, strict=True):
        assert isinstance(one, CaseFigure)
        np.testing.assert_array_equal(one.rgb, other.rgb)


@pytest.mark.parametrize("damage", [b"", b"PK", b"x" * 500])
def test_damaged_figures_are_a_message(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "figures.npz").write_bytes(damage)
    with pytest.raises(MedSegError, match=r"figures\.npz is damaged"):
        read_case_figures(tmp_path / "figures.npz")
    np.savez(tmp_path / "figures.npz", names=np.array(["a"]))
    with pytest.raises(MedSegError, match="dices"):
        read_case_figures(tmp_path / "figures.npz")
