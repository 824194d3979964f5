"""What a case costs with each version."""

from workflow_phantoms import accepted

from napari_medseg.workflow.correction_effort import Effort, effort_text, efforts
from napari_medseg.workflow.workspace import Workspace


def test_the_line_compares_the_last_two_versions() -> None:
    old, new = Effort("lungs-unet@1", 3, 95.0, 1204.0), Effort("lungs-unet@2", 2, 41.6, 310.2)
    assert effort_text([]) == ""
    assert effort_text([old]) == "1:35 min, 1,204 voxels a case"
    assert effort_text([old, new]) == "per case 1:35 min → 0:42 min, 1,204 → 310 voxels"


def test_accepted_cases_are_counted_by_the_version_that_predicted_them(ws: Workspace) -> None:
    assert efforts(ws, "lungs") == []
    for number in range(3):
        accepted(ws, number)
    (effort,) = efforts(ws, "lungs")
    assert (effort.model, effort.n_cases, effort.changed_voxels) == ("lungs-unet@1", 3, 1.0)
    assert efforts(ws, "nuclei") == []
