"""More corrections no longer help: said only with both pieces of evidence, of enough cases."""

from pathlib import Path

import numpy as np
import pytest
from meter_phantoms import NEW, OLD, make_row
from workflow_phantoms import phantom, phantom_labels, predicted, write_version

from napari_medseg.core.readings.records import VersionAgreement
from napari_medseg.core.records import Run, RunState
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.meter.rows import MeterRow
from napari_medseg.workflow.meter.saturation import (
    RetrainPair,
    compare_versions,
    find_retrain_pair,
    judge_saturation,
    list_to_compare,
    read_compared,
    store_version_agreement,
)
from napari_medseg.workflow.review import record_prediction
from napari_medseg.workflow.workspace import Workspace

PAIR = RetrainPair("lungs-unet@2", "lungs-unet@3", 10, 20)
FLAT = [make_row(model, 30.0, share=0.1) for model in (OLD, NEW) for _ in range(8)]


@pytest.fixture
def retrained(ws: Workspace, tmp_path: Path) -> Workspace:
    """Two retrains of ten and of twenty corrections."""
    for version, n_corrections in ((2, 10), (3, 20)):
        write_version(tmp_path / "registry" / "lungs-unet" / str(version), version, parent="lungs-unet@1")
        run = f"run {version}"
        made = f"lungs-unet@{version}"
        ws.project.insert(Run(run, "lungs", OLD, f"runs/{run}", RunState.PROMOTED, n_corrections, made, ""))
    return ws


def compare(ws: Workspace, n_cases: int, n_wrong: int, pair: RetrainPair = PAIR) -> None:
    """Undecided cases with stored labels of both versions, which differ in some of them."""
    for number in range(n_cases):
        case, _ = predicted(ws, phantom(number))
        for model, labels in ((pair.older, phantom_labels()), (pair.newer, phantom_labels())):
            if number < n_wrong and model == pair.newer:
                labels = np.roll(labels, 3, axis=0)
            record_prediction(ws, case, PredictionResult(labels, 0.1, None, 1.0, "CPU"), model)
    for agreement in compare_versions(ws, pair, list_to_compare(ws, pair, ws.project.listed.read_waiting("lungs"))):
        store_version_agreement(ws, agreement)


def judge(ws: Workspace, meter: list[MeterRow]) -> tuple[bool, str]:
    pair = find_retrain_pair(ws, "lungs")
    (found,) = judge_saturation(pair, read_compared(ws, pair), meter, ws.project.listed.read_waiting("lungs"))
    return found.no_longer_helps, found.text


def test_both_pieces_of_evidence_say_it_with_their_numbers(retrained: Workspace) -> None:
    assert find_retrain_pair(retrained, "lungs") == PAIR
    compare(retrained, 8, 0)
    assert list_to_compare(retrained, PAIR, retrained.project.listed.read_waiting("lungs")) == [], "stored"
    said, text = judge(retrained, FLAT)
    assert said
    assert "no longer help: lungs-unet@2 and lungs-unet@3 agree on 8 undecided cases: Dice 1.000 (1.000 to" in text
    assert f"edited share from {OLD} to {NEW}: +0.0 points" in text


@pytest.mark.parametrize(
    ("n_cases", "n_wrong", "meter", "reason"),
    [
        (7, 0, FLAT, "8 undecided cases with labels must be compared, 7 are"),
        (8, 2, FLAT, "both versions differ on undecided cases"),
        (8, 0, FLAT[:-1], "two versions with 8 corrected cases each"),
        (8, 0, [], "two versions with 8 corrected cases each"),
        (8, 0, FLAT[:8] + [make_row(NEW, 30.0, share=0.05)] * 8, "the edited share may still fall"),
    ],
)
def test_thin_or_contrary_evidence_says_nothing(
    retrained: Workspace, n_cases: int, n_wrong: int, meter: list[MeterRow], reason: str
) -> None:
    compare(retrained, n_cases, n_wrong)
    said, text = judge(retrained, meter)
    assert not said
    assert reason in text
    assert "it is not shown" in text


def test_one_retrain_or_one_without_new_corrections_is_no_evidence(ws: Workspace, tmp_path: Path) -> None:
    compare(ws, 8, 0)
    assert "two retrains are needed" in judge(ws, FLAT)[1]
    for version in (2, 3):
        write_version(tmp_path / "registry" / "lungs-unet" / str(version), version)
        ws.project.insert(Run(f"r{version}", "lungs", OLD, "", RunState.KEPT_OLD, 10, f"lungs-unet@{version}", ""))
    said, text = judge(ws, FLAT)
    assert not said
    assert "lungs-unet@3 learnt from no more corrections than lungs-unet@2" in text


def test_cases_in_which_neither_finds_anything_do_not_count(retrained: Workspace) -> None:
    for number in range(9):
        case, _ = predicted(retrained, phantom(number))
        dice = None if number else 1.0
        store_version_agreement(retrained, VersionAgreement(0, case.id, PAIR.older, PAIR.newer, dice, ""))
    assert "must be compared, 1 are" in judge(retrained, FLAT)[1]


def test_missing_predictions_are_made_but_not_recorded(retrained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    case, newest = predicted(retrained, phantom(0))
    asked = []

    def predict(image: object, folder: Path, **_options: object) -> list[PredictionResult]:
        asked.append(folder.name)
        return [PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU")]

    monkeypatch.setattr(retrained.engine, "predict", predict)
    retrained.project.folder.joinpath("images").mkdir(exist_ok=True)
    from napari_medseg.core.project.case_files import write_image_copy

    write_image_copy(retrained.project.folder, phantom(0))
    (to_do,) = list_to_compare(retrained, PAIR, retrained.project.listed.read_waiting("lungs"))
    (agreement,) = compare_versions(retrained, PAIR, [to_do])
    assert (asked, agreement.dice, agreement.case_id) == (["2", "3"], 1.0, case.id)
    assert list_cases(retrained, "lungs")[0].prediction == newest
