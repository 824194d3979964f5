"""The work of the last two versions in one line: the medians of the meter."""

import pytest
from workflow_phantoms import phantom, predicted

from napari_medseg.workflow.meter.effort import CorrectionEffort, format_effort, read_efforts
from napari_medseg.workflow.meter.rows import list_meter_rows
from napari_medseg.workflow.meter.trend import list_version_work
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


def test_the_last_two_versions_are_told() -> None:
    old, new = CorrectionEffort("lungs-unet@1", 8, 95.0, 1204.0), CorrectionEffort("lungs-unet@2", 9, 41.6, 310.2)
    assert format_effort([]) == ""
    assert format_effort([old]) == "median 1:35 min, 1,204 vox a case"
    assert format_effort([old, new]) == "median per case 1:35 min → 0:42 min, 1,204 → 310 voxels"


def correct(ws: Workspace, number: int, seconds: float) -> None:
    case, prediction = predicted(ws, phantom(number))
    draft = open_review(ws, case, prediction)
    draft.record(list(range(number + 1)), [0] * (number + 1), [1] * (number + 1))
    draft.add_seconds(seconds)
    accept(ws, draft, draft.labels, phantom(number))


def test_it_is_the_median_of_the_meter_over_the_same_cases(ws: Workspace) -> None:
    for number, seconds in enumerate((10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 600.0)):
        correct(ws, number, seconds)
    assert read_efforts(ws, "lungs") == [], "seven cases give no figure"
    correct(ws, 7, 70.0)
    correct(ws, 8, 0.0)  # without a time
    correct(ws, 0, 5000.0)  # again: it began with accepted labels
    (work,) = list_version_work(list_meter_rows(ws, "lungs"))
    (effort,) = read_efforts(ws, "lungs")
    assert work.seconds is not None
    assert (effort.model, effort.n_cases, effort.seconds) == (work.model, work.n_timed, work.seconds.value)
    assert (effort.n_cases, effort.seconds, effort.changed_voxels) == (8, pytest.approx(45.0), 4.5)
    assert read_efforts(ws, "nuclei") == []
