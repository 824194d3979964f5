import json
import os
import sys
from pathlib import Path

import pytest

from napari_medseg.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Call `medseg models summary`; exit code, stdout and stderr."""
    code = 0
    try:
        main(["models", "summary", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_an_architecture_is_summarised_as_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(os.environ, "COLUMNS", "160")
    python = tmp_path / "python"  # the next test measures a real step
    python.write_text('#!/bin/sh\necho \'{"seconds": 0.25, "peak_bytes": 7000000}\'\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    size = ("--side", "64", "--channels", "1", "--depth", "2", "--device", "cpu", "--precision", "fp32")
    code, out, _ = run(capsys, "conv_unet", *size)
    assert code == 0
    for part in ("encoder", "levels", "ModuleList", "512 x 4 x 4", "parameters: 7,762,498", "receptive field: 188 px"):
        assert part in out
    assert "2 planes of 64 px in fp32 on CPU" in out


def test_a_version_is_summarised_with_its_own_channels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = ("--registry", str(tmp_path), "--json", "--device", "cpu", "--precision", "fp32")
    code, out, _ = run(capsys, "lungs-unet@4", "--side", "64", "--depth", "1", *place)
    assert code == 0
    found = json.loads(out)
    assert found["architecture"]["in_channels"] == 1
    assert [layer["path"] for layer in found["layers"]] == ["encoder", "decoder", "segmentation_head"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    assert found["receptive_field_px"] > 188
    assert found["step"]["peak_bytes"] > 4 * 4 * found["parameters"], "weights, gradients, two moments"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("vnet",), "inception_unet"),
        (("deeplabv3plus:xception",), "tu-xception65"),
        (("lungs-unet@99",), "lungs-unet@4"),
        (("lungs-unet@4", "--channels", "3"), "Leave --channels"),
        (("conv_unet", "--precision", "fp8"), "bf16"),
    ],
)
def test_what_cannot_be_summarised_is_said_in_one_line(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, *arguments, "--registry", str(tmp_path))
    assert (code, out) == (1, "")
    assert named in err
