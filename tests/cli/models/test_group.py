"""`medseg models`: versions are listed, shown, promoted and rolled back."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import write_version

Call = Callable[..., tuple[int, str, str]]


def test_models_are_listed_shown_promoted_and_rolled_back(medseg: Call, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for version in (77, 78):
        write_version(folder / "lungs-unet" / str(version), version=version, parent="lungs-unet@1")
    place = ("--registry", folder)
    assert medseg("models", "promote", "lungs-unet@77", *place)[0] == 1, "never live and no reason"
    assert medseg("models", "promote", "lungs-unet@77", "--reason", "measured elsewhere", *place)[0] == 0
    assert medseg("models", "promote", "lungs-unet@78", "--reason", "newer", *place)[0] == 0
    listed = json.loads(medseg("models", "list", "--json", *place)[1])
    listed = [entry for entry in listed if entry["model"].startswith("lungs-")]
    assert [entry["model"] for entry in listed][:2] == ["lungs-unet@78", "lungs-unet@77"]
    assert [entry["live"] for entry in listed][:2] == [True, False]
    code, out, _ = medseg("models", "roll-back", *place)
    assert (code, out) == (0, "lungs-unet@77 is live.\n")
    for command in ("roll-back", "list"):
        assert "unknown task 'lung'; choose one of" in medseg("models", command, "--task", "lung", *place)[2]
    shown = medseg("models", "show", "lungs-unet@77", *place)[1]
    assert "promoted because: measured elsewhere" in shown
    assert "from: lungs-unet@1" in shown
    assert json.loads(medseg("models", "show", "lungs-unet@77", "--json", *place)[1])["version"] == 77
    assert "lungs-unet@78" in medseg("models", "list", *place)[1]
