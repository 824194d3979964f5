import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks.step_profile import StepSettings, main, measure_step_cost

WIDE = Architecture(name="conv_unet", in_channels=1, classes=2, options={"widths": [32, 32]})


def test_a_step_takes_time_and_at_least_the_memory_of_its_activations() -> None:
    cost = measure_step_cost(WIDE, StepSettings(side_px=128, precision="fp32"))
    one_layer = 2 * 32 * 128 * 128 * 4
    assert 4 * one_layer < cost.peak_bytes < 60 * one_layer, "four normalisations keep what they were given"
    assert cost.seconds > 0


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ("echo first >&2; echo 'no memory today' >&2; exit 1", "failed: no memory today. Use fewer or smaller planes"),
        ("exit 1", "no reason given"),
        ("kill -9 $$", r"ended from outside \(-9\), maybe because memory ran out"),
    ],
)
def test_a_step_that_fails_says_why(process: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{process}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(MedSegError, match=said):
        measure_step_cost(WIDE, StepSettings())


def test_an_unknown_network_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    order = {"architecture": WIDE.model_dump() | {"name": "nope"}, "size": {}}
    assert main([json.dumps(order)]) == 1
    assert "unknown architecture 'nope'" in capsys.readouterr().err.splitlines()[-1]


def test_an_error_of_torch_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    order = {"architecture": WIDE.model_dump(), "size": {"device": "nonsense"}}
    assert main([json.dumps(order)]) == 1
    assert "nonsense" in capsys.readouterr().err.splitlines()[-1]


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        StepSettings(batch_size=1)
