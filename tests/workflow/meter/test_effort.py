"""What a case costs with each version."""

from workflow_phantoms import accepted

from napari_medseg.workflow.meter.effort import CorrectionEffort, compute_efforts, format_effort
from napari_medseg.workflow.workspace import Workspace


def test_the_line_compares_the_last_two_versions() -> None:
    old, new = CorrectionEffort("lungs-unet@1", 3, 95.0, 1204.0), CorrectionEffort("lungs-unet@2", 2, 41.6, 310.2)
    assert format_effort([]) == ""
    assert format_effort([old]) == "1:35 min, 1,204 voxels a case"
    assert format_effort([old, new]) == "per case 1:35 min → 0:42 min, 1,204 → 310 voxels"


def test_accepted_cases_are_counted_by_the_version_that_predicted_them(ws: Workspace) -> None:
    assert compute_efforts(ws, "lungs") == []
    for number in range(3):
        accepted(ws, number)
    (effort,) = compute_efforts(ws, "lungs")
    assert (effort.model, effort.n_cases, effort.changed_voxels) == ("lungs-unet@1", 3, 1.0)
    assert compute_efforts(ws, "nuclei") == []
