"""`medseg evaluate`: the figures of a model against reference labels, on real CT slices."""

import json
from collections.abc import Callable
from pathlib import Path

from napari_medseg.workflow.workspace import PACKAGE_DIR

Call = Callable[..., tuple[int, str, str]]
CT = PACKAGE_DIR / "samples" / "ct_a0001"


def test_evaluate_measures_files_against_files(medseg: Call, registry: Path, tmp_path: Path) -> None:
    code, out, _ = medseg(
        *("evaluate", "--images", CT / "dicom", "--labels", CT / "labels", "--only", "A0001_z0[12]"),
        *("--group", "A[0-9]+", "-o", tmp_path / "figures", "--registry", registry, "--json"),
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["model"] == "lungs-unet@77"
    assert all(entry["group"] == "A0001" for entry in answer["images"])
    assert answer["summary"][0]["n_images"] == len(answer["images"]) > 2
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".csv", ".json", ".html"}
