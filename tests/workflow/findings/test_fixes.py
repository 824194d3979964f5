"""A fix changes what was found and nothing else, as one edit that can be taken back."""

import numpy as np
import pytest

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.findings.fixes import make_fix

LUNGS = TASKS["lungs"]
SLICE = Image(np.full((60, 80), 9, np.uint8), "YX")


def make_lungs() -> np.ndarray:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 5:35] = 1
    labels[10:50, 45:75] = 2
    return labels


def find(labels: np.ndarray, kind: str) -> Finding:
    return next(one for one in check_labels(labels, LUNGS, SLICE) if one.kind == kind)


def fixed(labels: np.ndarray, finding: Finding, before: np.ndarray | None = None) -> np.ndarray:
    fix = make_fix(finding, LUNGS)
    assert fix is not None
    edit = fix[1](Canvas(labels, LUNGS))
    after = labels.copy()
    edit.apply(after)
    back = after.copy()
    edit.revert(back)
    np.testing.assert_array_equal(back, labels)
    return after


def test_specks_become_what_surrounds_them() -> None:
    labels = make_lungs()
    labels[2, 2] = 1
    labels[20, 60] = 1
    clean = make_lungs()
    np.testing.assert_array_equal(fixed(labels, find(labels, "specks")), clean)


def test_holes_are_filled_and_another_label_in_one_stays() -> None:
    labels = make_lungs()
    labels[20:23, 10:14] = 0
    labels[30:33, 20:30] = 2
    labels[40, 50] = 0
    after = fixed(labels, next(one for one in check_labels(labels, LUNGS, SLICE) if one.kind == "holes"))
    assert (after[20:23, 10:14] == 1).all()
    assert (after[30:33, 20:30] == 2).all()
    assert after[40, 50] == 0, "a hole of the other lung is another finding"


def test_sides_are_swapped() -> None:
    labels = make_lungs()
    swapped = np.array([0, 2, 1], np.uint8)[labels]
    finding = find(swapped, "sides")
    assert finding.blocking
    np.testing.assert_array_equal(fixed(swapped, finding), labels)


def test_what_was_mended_since_is_said_and_what_is_new_is_left_alone() -> None:
    labels = make_lungs()
    labels[2, 2] = 1
    finding = find(labels, "specks")
    labels[2, 2] = 0
    labels[55, 70] = 1
    _, fix = make_fix(finding, LUNGS) or pytest.fail("specks can be mended")
    with pytest.raises(MedSegError, match="has none of these specks any more"):
        fix(Canvas(labels, LUNGS))


def test_no_tool_mends_what_only_a_person_can_judge() -> None:
    assert make_fix(Finding("empty", "nothing is labelled", blocking=False), LUNGS) is None
    nuclei = np.zeros((60, 80), np.uint16)
    nuclei[5:15, 5:15] = nuclei[30:40, 30:40] = 7
    (finding,) = check_labels(nuclei, TASKS["nuclei"], SLICE)
    assert (finding.kind, len(finding.places)) == ("specks", 1)
    assert make_fix(finding, TASKS["nuclei"]) is None


def test_pieces_and_holes_of_lesions_are_no_findings_and_neither_is_a_slice_without_any() -> None:
    covid = next(task for task in TASKS.values() if task.field)
    labels = np.zeros((60, 80), np.uint8)
    assert [one.kind for one in check_labels(labels, covid, SLICE)] == []
    labels[10:40, 10:60] = 1
    labels[20, 20] = 0
    labels[50, 70] = 1
    assert check_labels(labels, covid, SLICE) == []
    assert {one.kind for one in check_labels(labels, LUNGS, SLICE)} == {"specks", "holes"}
