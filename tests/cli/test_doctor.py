"""`medseg doctor` prints what was found; `--json` too, and the exit code says whether a prediction works."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_medseg.inference.tuning import tuner
from napari_medseg.inference.tuning.settings import CACHE_VARIABLE
from napari_medseg.workflow.diagnosis import trial_prediction

Call = Callable[..., tuple[int, str, str]]


def test_the_doctor_reports_and_predicts(medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    places = ("--registry", tmp_path / "registry", "--project", tmp_path / "project", "--device", "cpu")
    code, out, _ = medseg("doctor", *places)
    assert code == 0
    assert "cpu: model loaded in" in out
    assert str(tmp_path) not in out
    assert "project folder: ~" in out
    elsewhere = (*places[:-1], "cuda:9")  # is not here, so nothing is predicted
    assert str(tmp_path / "project") in medseg("doctor", "--paths", *elsewhere)[1]
    report = json.loads(medseg("doctor", "--json", *places)[1])
    assert report["healthy"]
    assert report["trials"][0]["dice"] > 0.95
    assert str(tmp_path) not in json.dumps(report)


def test_the_exit_code_is_1_if_a_prediction_fails(
    medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ("--registry", tmp_path / "registry", "--project", tmp_path / "project")
    code, out, _ = medseg("doctor", "--json", "--device", "cuda:9", *places)
    assert code == 1
    assert "no device 'cuda:9' here" in json.loads(out)["trials"][0]["problem"]
    monkeypatch.setattr(trial_prediction, "SLICE", tmp_path / "missing.dcm")
    code, out, _ = medseg("doctor", *places)
    assert code == 1
    assert "cpu: failed: " in out


def test_what_is_fastest_is_measured_again_on_demand(
    medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(tuner, "has_openvino", lambda: False)  # its conversion takes seconds and is tested elsewhere
    places = ("--registry", tmp_path / "registry", "--project", tmp_path / "project", "--device", "cpu")
    report = json.loads(medseg("doctor", "--json", "--measure-again", *places)[1])
    assert report["healthy"]
    (measured,) = report["measured"]
    assert measured["model"] == "lungs-unet@4"
    assert measured["trials"]
    assert len(list((tmp_path / "cache" / "tuning").iterdir())) == 1
