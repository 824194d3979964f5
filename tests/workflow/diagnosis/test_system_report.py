"""What `medseg doctor` finds out, and what it keeps to itself."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pretend_gpu import pretend_gpu

from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference import device as devices
from napari_medseg.inference.device_status import NvidiaGpu
from napari_medseg.workflow.diagnosis import system_report, trial_prediction
from napari_medseg.workflow.diagnosis.system_report import SystemReport, examine_system, shorten_home
from napari_medseg.workflow.diagnosis.trial_prediction import TrialPrediction, try_prediction


def work(device: str) -> TrialPrediction:
    return TrialPrediction(device, 0.1, 0.2, 0.1, 0.99)


def examine(tmp_path: Path, device: str | None = None, try_on: Callable[[str], TrialPrediction] = work) -> SystemReport:
    return examine_system(
        ModelRegistry(tmp_path / "registry", BUNDLED_MODELS), tmp_path / "none" / "yet", device, try_on
    )


def test_a_real_prediction_is_timed_and_right() -> None:
    trial = try_prediction("cpu")
    assert trial.problem == ""
    assert trial.dice > 0.95
    assert min(trial.load_s, trial.first_s, trial.second_s) > 0


def test_wrong_labels_and_errors_of_any_kind_are_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial_prediction, "MIN_DICE", 1.1)
    assert "labels are wrong" in try_prediction("cpu").problem
    assert "no device 'cuda:9' here" in try_prediction("cuda:9").problem
    monkeypatch.setattr(trial_prediction, "SLICE", tmp_path / "missing.dcm")
    assert try_prediction("cpu").problem


def test_the_report_has_all_sections_and_changes_nothing(tmp_path: Path) -> None:
    report = examine(tmp_path)
    assert report.is_healthy
    assert list(report.sections) == ["versions", "devices", "memory and disk", "encodings", "models"]
    assert {"python", "napari", "torch", "CUDA of torch", "NVIDIA driver"} <= report.sections["versions"].keys()
    assert report.sections["devices"]["cpu"].startswith("CPU; computes in ")
    assert report.sections["models"]["lungs"] == "2 versions, lungs-unet@4 is live"
    assert report.sections["memory and disk"]["shared memory"].startswith("works")
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "registry").exists()


def test_each_device_that_computes_is_tried_and_the_others_say_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretend_gpu(monkeypatch):
        report = examine(tmp_path)
        assert [trial.device for trial in report.trials] == ["cuda:0", "cpu"]
        assert [trial.device for trial in examine(tmp_path, "cpu").trials] == ["cpu"]
    driver = lambda: [NvidiaGpu("RTX 4070", "560.1")]  # noqa: E731
    monkeypatch.setattr(devices, "TORCH", devices.TorchBackend("2.9.0+cpu", "", query_driver=driver))
    report = examine(tmp_path)
    assert any("RTX 4070: torch 2.9.0+cpu has no CUDA" in text for text in report.problems)
    assert report.is_healthy, "the CPU predicts"


def test_a_prediction_that_fails_is_a_problem(tmp_path: Path) -> None:
    report = examine(tmp_path, try_on=lambda device: TrialPrediction(device, problem="it is broken"))
    assert not report.is_healthy
    assert "trial prediction on cpu: it is broken" in report.problems


def test_torch_that_does_not_load_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    """In a process of its own, because this one has loaded torch."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise OSError('libtorch_cpu.so: file too short')", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'broken')!r})\n"
        "from napari_medseg.cli.main import main\n"
        f"main(['doctor', '--json', '--registry', {str(tmp_path / 'r')!r}, '--project', {str(tmp_path / 'p')!r}])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 1, ended.stderr
    report = json.loads(ended.stdout)
    assert any("torch cannot be loaded" in text for text in report["problems"])


def test_the_home_folder_which_may_name_a_person_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "maria.muster")
    assert shorten_home(f"in {tmp_path}/maria.muster/data") == "in ~/data"
    assert shorten_home("nothing") == "nothing"


def test_little_shared_memory_names_the_option_of_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_report, "LITTLE_SHARED_MEMORY_MB", 2**40)
    if Path("/dev/shm").is_dir():
        assert any("--shm-size" in text for text in examine(tmp_path).problems)
