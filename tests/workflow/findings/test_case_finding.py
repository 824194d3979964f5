"""What a person said to be right does not come back, until the labels there change; what many cases share is one."""

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.records import Case
from napari_medseg.workflow.data_checks import check_corrections
from napari_medseg.workflow.findings.case_finding import CaseFinding, dismiss, select_findings
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


def make_sound_labels() -> np.ndarray:
    labels = phantom_labels()
    labels[10, 6:26] = 0
    return labels


def correct(ws: Workspace, image: Image, labels: np.ndarray) -> Case:
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.add_seconds(30.0)
    draft.record_missed_changes(labels)
    accept(ws, draft, labels, image)
    return case


def test_it_is_right_is_remembered_while_the_labels_there_are_the_same(ws: Workspace) -> None:
    labels = make_sound_labels()
    labels[2, 2] = 1
    correct(ws, phantom(0), labels)
    (speck,) = check_corrections(ws, "lungs")
    assert [place.centre for _, place in speck.spots] == [(2, 2)]
    dismiss(ws, speck)
    assert check_corrections(ws, "lungs") == []
    labels[40, 40] = 0 if labels[40, 40] else 1
    labels[2, 60] = 2
    correct(ws, phantom(0), labels)
    found = check_corrections(ws, "lungs")
    assert all(place.centre != (2, 2) for one in found for _, place in one.spots), "the same speck, other changes"
    assert (2, 60) in [place.centre for one in found for _, place in one.spots]
    labels[2, 3] = 2
    correct(ws, phantom(0), labels)
    assert any(place.centre == (2, 2) for one in check_corrections(ws, "lungs") for _, place in one.spots)


def test_one_of_several_specks_that_is_new_comes_alone(ws: Workspace) -> None:
    labels = make_sound_labels()
    labels[2, 2] = labels[2, 10] = 1
    correct(ws, phantom(0), labels)
    (specks,) = check_corrections(ws, "lungs")
    assert len(specks.spots) == 2
    dismiss(ws, specks)
    labels[45, 3] = 1
    correct(ws, phantom(0), labels)
    (left,) = check_corrections(ws, "lungs")
    assert [place.centre for _, place in left.spots] == [(45, 3)]
    assert "2 of them are right, 1 to look at" in left.text


def test_a_case_accepted_unseen_can_be_called_right_and_what_blocks_cannot(ws: Workspace) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    accept(ws, draft, draft.labels, image)
    found = check_corrections(ws, "lungs")
    assert "unseen" in [one.finding.kind for one in found]
    for one in found:
        dismiss(ws, one)
    assert check_corrections(ws, "lungs") == []
    with pytest.raises(MedSegError, match="cannot be right"):
        dismiss(ws, CaseFinding(case, Finding("sides", "exchanged", blocking=True)))
    with pytest.raises(MedSegError, match="cannot be right"):
        dismiss(ws, CaseFinding(None, Finding("absent", "no left lung", blocking=False)))


def test_what_most_cases_have_is_one_finding_that_is_dismissed_for_all(ws: Workspace) -> None:
    labels = make_sound_labels()
    labels[2, 2] = 1
    cases = [correct(ws, phantom(number), labels) for number in range(5)]
    (shared,) = check_corrections(ws, "lungs")
    assert shared.text == "5 of 5 cases have specks of right lung: normal here?"
    assert [case.id for case, _ in shared.spots] == [case.id for case in cases]
    assert len(select_findings(shared.members, frozenset(), 20)) == 5, "five of twenty are not most of them"
    dismiss(ws, shared)
    assert check_corrections(ws, "lungs") == []
