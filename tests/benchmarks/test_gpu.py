"""The GPU script tests its own logic on a CPU: every part runs, what needs a GPU says so, and a failure is reported."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import gpu
import gpu_checks
import gpu_figures
import numpy as np
import pytest
import torch
from gpu_figures import NO_GPU, NO_TIME, Bench, Figure, Sizes
from torch import nn

SKIPPED_FIGURES = [
    "kept by a dropped predictor",
    "lungs-unet@4, bf16, channels last",
    "lungs-unet@4, bf16, channels last, compiled",
    "lungs-unet@4, fp16, channels last",
    "retrain: memory kept",
    "retrain: peak memory",
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "state", "skipped", "said"),
    [
        ("labels as on the CPU", "passed", SKIPPED_FIGURES[1:4], "lungs-unet@4"),
        ("memory given back", NO_GPU, SKIPPED_FIGURES[:1], NO_GPU),
        pytest.param("retrain", "passed", SKIPPED_FIGURES[4:], "steps/s", marks=pytest.mark.long),
    ],
)
def test_a_part_runs_on_a_cpu_and_says_what_needs_a_gpu(
    name: str, state: str, skipped: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--limit-s", "3000", "--out", str(out)]
    assert gpu.main(arguments, {name: gpu.PARTS[name]}) == 0, capsys.readouterr().out
    report = json.loads(out.read_text())
    (part,) = report["parts"]
    assert (part["name"], part["state"]) == (name, state)
    assert sorted(figure["name"] for figure in part["figures"] if figure["note"] == NO_GPU) == skipped
    assert report["device"] == "cpu"
    assert torch.__version__.startswith(report["versions"]["torch"])
    assert said in capsys.readouterr().out


def raise_after_one_figure(bench: Bench) -> Iterator[Figure]:
    yield Figure("first", 1.0, at_least=1.0)
    raise RuntimeError(f"broken on the {bench.device}")


def measure_too_little(bench: Bench) -> Iterator[Figure]:
    yield Figure("slow", 3.0, "steps/s", at_least=4.0)


def test_a_part_that_raises_is_reported_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"breaks": raise_after_one_figure, "misses": measure_too_little, "holds": lambda _: iter([Figure("a", 1)])}
    out = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--out", str(out)], parts) == 1
    report = json.loads(out.read_text())
    assert [part["state"] for part in report["parts"]] == ["error", "failed", "passed"]
    assert [figure["name"] for figure in report["parts"][0]["figures"]] == ["first"], "what it measured before is kept"
    assert "RuntimeError: broken on the cpu" in report["parts"][0]["error"]
    table = capsys.readouterr().out
    assert "broken on the cpu" in table
    assert "FAILED" in table
    assert gpu.main(["--device", "cpu", "--only", "holds"], parts) == 0


def test_a_part_that_is_too_late_is_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--limit-s", "-1"], {"late": raise_after_one_figure}) == 1
    assert NO_TIME in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "limits", "passed"),
    [
        (0.999, {"at_least": 0.999}, True),
        (0.9989, {"at_least": 0.999}, False),
        (5.0, {"at_most": 4.0}, False),
        (math.nan, {"at_most": 4.0}, False),
        (5.0, {}, None),
        (None, {"at_most": 4.0}, None),
    ],
)
def test_a_figure_passes_within_its_limits(value: float | None, limits: dict[str, float], passed: bool | None) -> None:
    assert Figure("a", value, **limits).passed is passed


def test_objects_are_matched_before_they_are_compared() -> None:
    wanted = np.array([[0, 1, 1, 2, 2, 2, 3, 3]])
    renumbered = np.array([[0, 7, 7, 5, 5, 5, 1, 1]])
    assert gpu_checks.compute_agreement(renumbered, wanted, are_objects=True) == 1.0
    assert gpu_checks.compute_agreement(renumbered, wanted, are_objects=False) == 1 / 8
    merged = np.array([[0, 1, 1, 2, 2, 2, 2, 2]])
    split = np.array([[0, 1, 1, 2, 2, 4, 3, 3]])
    assert gpu_checks.compute_agreement(merged, wanted, are_objects=True) == 6 / 8
    assert gpu_checks.compute_agreement(split, wanted, are_objects=True) == 7 / 8


def test_a_variant_computes_in_its_precision() -> None:
    seen = []
    layer = nn.Conv2d(1, 2, 1)
    layer.register_forward_hook(lambda module, given, answer: seen.append(answer.dtype))
    planes = torch.rand(1, 1, 8, 8)
    for variant in (gpu_checks.Variant(), gpu_checks.Variant(torch.bfloat16), gpu_checks.Variant(torch.float16)):
        assert gpu_checks.VariantNetwork(layer, variant)(planes).dtype is torch.float32
    assert seen == [torch.float32, torch.bfloat16, torch.float16]


def test_all_bundled_models_and_samples_are_compared() -> None:
    names = [f"{folder.parent.name}@{folder.name}" for folder in gpu_checks.list_models(Sizes())]
    assert names == ["covid-unet@2", "instruments-unet@2", "lungs-ct@1", "lungs-unet@4", "nuclei-unet@2"]
    counts = {task: len(list(gpu_checks.read_samples(task, Sizes()))) for task in gpu_checks.SAMPLES}
    assert counts == {"lungs": 25, "covid": 1, "nuclei": 13, "instruments": 2}
    (small,) = gpu_checks.read_samples("covid", Sizes(n_planes=2))
    assert small.spatial_shape == (2, 512, 512)


def test_the_report_is_plain_json() -> None:
    result = gpu_figures.run_part("misses", measure_too_little, Bench("cpu", Sizes(), Path()))
    report = json.loads(json.dumps(gpu_figures.make_report([result], {"device": "cpu"})))
    assert report["passed"] is False
    assert report["parts"][0]["figures"][0] == {
        "name": "slow",
        "value": 3.0,
        "unit": "steps/s",
        "at_least": 4.0,
        "at_most": None,
        "note": "",
        "passed": False,
    }
