"""Kept checks of corrections: read back as they were written, and found again if their file is damaged."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.quality.label_mixups import SIDE_PX, EdgeThumbnail
from napari_medseg.core.quality.label_set_checks import LabelContent
from napari_medseg.workflow.findings.certain_voxels import CertainVoxels
from napari_medseg.workflow.findings.kept_checks import CHECKS_FILE, CorrectionCheck, KeptChecks
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER


@pytest.fixture
def check() -> CorrectionCheck:
    rng = np.random.default_rng(0)
    edges, outline = rng.random((SIDE_PX, SIDE_PX)).astype(np.float32), rng.random((SIDE_PX, SIDE_PX)) > 0.5
    content = LabelContent({1: 7, 2: 9}, 4096, is_constant=False)
    certain = CertainVoxels((2, 5), "labels/certain-1-ab.tif", "cd")
    return CorrectionCheck([Finding("specks", "3 specks", False, 1)], EdgeThumbnail(edges, outline), content, certain)


def test_a_check_is_read_back_as_it_was_written(tmp_path: Path, check: CorrectionCheck) -> None:
    with KeptChecks(tmp_path) as kept:
        assert kept.read("a") is None
        kept.write("a", check)
    with KeptChecks(tmp_path) as kept:
        found = kept.read("a")
        assert kept.read("b") is None
    assert found is not None
    assert (found.findings, found.content, found.certain) == (check.findings, check.content, check.certain)
    np.testing.assert_array_equal(found.sketch.gradient_magnitude, check.sketch.gradient_magnitude)
    np.testing.assert_array_equal(found.sketch.label_outline, check.sketch.label_outline)


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + bytes(200)])
def test_a_damaged_file_is_written_anew(tmp_path: Path, check: CorrectionCheck, damage: bytes) -> None:
    path = tmp_path / CHECKS_FOLDER / CHECKS_FILE
    path.parent.mkdir()
    path.write_bytes(damage)
    for _ in range(3):  # the first use may only find out
        with KeptChecks(tmp_path) as kept:
            kept.write("a", check)
    with KeptChecks(tmp_path) as kept:
        assert kept.read("a") is not None


def test_a_damaged_row_is_found_again_and_a_folder_that_cannot_be_written_costs_nothing(
    tmp_path: Path, check: CorrectionCheck
) -> None:
    with KeptChecks(tmp_path) as kept:
        kept.write("a", check)
        assert kept._database is not None
        kept._database.execute("UPDATE checks SET sketch = x'00'")
        assert kept.read("a") is None
    (tmp_path / "file").write_bytes(b"")
    with KeptChecks(tmp_path / "file") as kept:
        kept.write("a", check)
        assert kept.read("a") is None
