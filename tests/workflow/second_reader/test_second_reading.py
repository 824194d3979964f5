"""A second person reads a case blind: what is seen, what is stored, whose labels count, and how far both agree."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import SHAPE, accepted, phantom, phantom_labels, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.readings.records import FIRST, SECOND
from napari_medseg.core.records import NO_NOTE, Case, Correction, Prediction, Review
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.case_list.filters import make_search_text
from napari_medseg.workflow.case_list.ranking import needs_prediction
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import get_case_row, list_cases, list_current_corrections, read_case_rows
from napari_medseg.workflow.findings.case_finding import CaseFinding, hide_blind
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.review import accept, list_draft_cases, open_review, record_prediction, reject
from napari_medseg.workflow.second_reader.readings import (
    compute_missing_agreements,
    list_read_twice,
    store_agreement,
    summarise_agreement,
    use_reading,
)
from napari_medseg.workflow.second_reader.selection import is_in_share
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace

ANNA, BEN = "Dr. Anna Ä", "Ben"


def read_second(ws: Workspace, case: Case, labels: np.ndarray | None = None) -> Correction:
    """Accept what the second person sees, or other labels, and return the correction."""
    row = get_case_row(ws, case)
    draft = open_review(ws, case, row.prediction)
    return accept(ws, draft, draft.labels if labels is None else labels, phantom(0))


@pytest.fixture
def first(ws: Workspace) -> Case:
    """A case that Anna corrected, chosen for a second reading; Ben works now."""
    ws.reader.set_name(ANNA)
    case = accepted(ws, 0)
    ws.second_readings.choose(case, is_chosen=True)
    assert get_case_row(ws, case).state == "accepted", "it is not blind for the one who read it"
    ws.reader.set_name(BEN)
    return case


def test_notes_of_the_first_reader_are_hidden_until_the_second_has_read(ws: Workspace, first: Case) -> None:
    ws.reader.set_name(ANNA)
    notes.set_note(ws, first, "is this a vessel?")
    notes.set_flag(ws, first, True)
    seen = get_case_row(ws, first)
    assert (seen.note.note, seen.note.is_flagged, seen.is_read_twice) == ("is this a vessel?", True, True)
    ws.reader.set_name(BEN)
    for row in (get_case_row(ws, first), list_cases(ws, "lungs")[0], read_case_rows(ws, "lungs", 0, 9)[0][0]):
        assert (row.reading, row.note, row.reason) == (SECOND, NO_NOTE, "")
        assert "vessel" not in make_search_text(row)
    assert notes.get_case_note(ws, first) == NO_NOTE
    own = notes.set_flag(ws, first, True)
    assert own.note == "", "the first reader's text is not copied into what the second one says"
    assert get_case_row(ws, first).note == notes.get_case_note(ws, first) == own
    read_second(ws, first)
    ws.reader.set_name("Carla")
    row = get_case_row(ws, first)
    assert (row.note.note, row.other_notes, row.is_flagged) == ("is this a vessel?", (own,), True), "both are kept"
    assert "vessel" in make_search_text(row)
    notes.set_flag(ws, first, False)
    row = get_case_row(ws, first)
    assert (row.note.is_flagged, row.other_notes) == (False, (own,)), "a colleague answers the first reader"


def test_the_other_person_gets_the_draft_of_the_model_and_nothing_else(ws: Workspace, first: Case) -> None:
    row = get_case_row(ws, first)
    assert (row.state, row.correction, row.review, row.reading) == ("predicted", None, None, SECOND)
    assert row.prediction is not None
    assert list_cases(ws, "lungs") == [row]
    np.testing.assert_array_equal(open_review(ws, first, row.prediction).labels, phantom_labels())


def test_its_correction_is_stored_beside_the_first_which_counts(ws: Workspace, first: Case) -> None:
    ((_, counts),) = list_current_corrections(ws, "lungs")
    second = read_second(ws, first)
    assert (second.reading, second.who, counts.who) == (SECOND, "reader 2", "reader 1")
    assert list_current_corrections(ws, "lungs") == [(first, counts)]
    assert get_case_row(ws, first).state == "accepted"
    assert get_case_row(ws, first).correction == second, "the second person sees the own labels"
    assert read_case_labels(ws.project.folder, first, counts).ravel()[0] == 1


def test_the_second_person_goes_on_with_the_own_draft(ws: Workspace, first: Case) -> None:
    draft = open_review(ws, first, get_case_row(ws, first).prediction)
    draft.record([5], 0, 2)
    draft.close()
    assert list_draft_cases(ws) == [first]
    ws.reader.set_name(ANNA)
    assert list_draft_cases(ws) == []
    assert open_review(ws, first, get_case_row(ws, first).prediction).labels.ravel()[5] == 0
    ws.reader.set_name(BEN)
    assert open_review(ws, first, get_case_row(ws, first).prediction).labels.ravel()[5] == 2


def test_a_third_person_gets_no_case_that_two_have_read(ws: Workspace, first: Case) -> None:
    ws.reader.set_name("Cleo")
    assert get_case_row(ws, first).reading == SECOND
    ws.reader.set_name(BEN)
    read_second(ws, first)
    ws.reader.set_name("Cleo")
    assert get_case_row(ws, first).reading == FIRST


def test_undecided_and_rejected_cases_are_nobodys_second_reading(ws: Workspace) -> None:
    ws.second_readings.set_share(1.0)
    undecided, _ = predicted(ws, phantom(3))
    case, prediction = predicted(ws, phantom(4))
    reject(ws, open_review(ws, case, prediction))
    ws.reader.set_name(ANNA)
    ws.reader.set_name(BEN)
    assert {get_case_row(ws, one).reading for one in (undecided, case)} == {FIRST}


def test_the_share_is_the_same_in_every_project_and_only_grows() -> None:
    hashes = [f"{number:064x}" for number in range(2000)]
    tenth = {one for one in hashes if is_in_share(one, 0.1)}
    assert 150 < len(tenth) < 250
    assert tenth < {one for one in hashes if is_in_share(one, 0.3)}
    assert not any(is_in_share(one, 0.0) for one in hashes)
    assert all(is_in_share(one, 1.0) for one in hashes)


def test_a_choice_by_hand_overrides_the_share(ws: Workspace, first: Case) -> None:
    ws.second_readings.set_share(1.0)
    ws.second_readings.choose(first, is_chosen=False)
    assert get_case_row(ws, first).reading == FIRST
    with pytest.raises(MedSegError, match="from 0 to 1"):
        ws.second_readings.set_share(20)
    assert ws.second_readings.share == 1.0


def test_agreement_is_reported_per_label_in_millimetres(ws: Workspace, first: Case) -> None:
    moved = phantom_labels()
    moved[10:38, 26:28] = 1  # the right lung is two pixels of 0.7 mm wider
    read_second(ws, first, moved)
    task = ws.tasks.get_task("lungs")
    for agreement in compute_missing_agreements(ws.project.folder, task, list_read_twice(ws, "lungs")):
        store_agreement(ws, agreement)
        store_agreement(ws, agreement)
    (read,) = list_read_twice(ws, "lungs")
    assert read.agreement is not None
    right, left = summarise_agreement(task, [read])
    assert right.dice == pytest.approx(2 * 560 / (561 + 616))
    assert (right.hd95, right.unit, right.n_cases) == (pytest.approx(1.4, abs=0.01), "mm", 1)
    assert (left.dice, left.hd95) == (1.0, 0.0)
    assert not list(compute_missing_agreements(ws.project.folder, task, [read])), "it is computed once"


def test_the_second_reading_can_be_used_and_the_first_again(ws: Workspace, first: Case) -> None:
    with pytest.raises(MedSegError, match="no labels of a second reader"):
        use_reading(ws, first, SECOND)
    ((_, one),) = list_current_corrections(ws, "lungs")
    other = read_second(ws, first)
    assert use_reading(ws, first, SECOND) == other
    assert [correction for _, correction in list_current_corrections(ws, "lungs")] == [other]
    assert [correction for _, correction, _ in list_accepted_rows(ws, "lungs")] == [other]
    assert build_snapshot(ws, "lungs")[0].items[0].labels.endswith(other.labels_file)
    assert get_case_row(ws, first).reading == FIRST, "both readings were compared: nothing is blind any more"
    assert use_reading(ws, first, FIRST) == one
    assert [correction for _, correction in list_current_corrections(ws, "lungs")] == [one]


def test_an_open_review_follows_the_reading_that_was_chosen(ws: Workspace, first: Case) -> None:
    read_second(ws, first)
    ws.reader.set_name(ANNA)
    prediction = get_case_row(ws, first).prediction
    seen = open_review(ws, first, prediction)
    assert seen.labels.ravel()[0] == 1
    seen.close()
    for reading, value in ((SECOND, 0), (FIRST, 1), (SECOND, 0)):
        use_reading(ws, first, reading)
        draft = open_review(ws, first, prediction)
        assert draft.labels.ravel()[0] == value
        draft.close()
    draft = open_review(ws, first, prediction)
    draft.record([7], 0, 1)
    newest = accept(ws, draft, draft.labels, phantom(0))
    assert [correction for _, correction in list_current_corrections(ws, "lungs")] == [newest], "the newest decision"


def test_a_rejection_by_the_second_reader_is_told_and_changes_nothing(ws: Workspace, first: Case) -> None:
    reject(ws, open_review(ws, first, get_case_row(ws, first).prediction))
    assert get_case_row(ws, first).state == "rejected"
    assert len(list_current_corrections(ws, "lungs")) == 1
    (read,) = list_read_twice(ws, "lungs")
    assert (read.second, read.second_who) == (None, "reader 2")


def test_a_second_reading_names_the_prediction_that_was_seen(ws: Workspace, first: Case) -> None:
    (seen,) = ws.project.read_records(Prediction, "case_id", first.id)
    ws.project.insert(replace(seen, id=0, adapted_sha256="ab", adapted_corrections=(1,)))
    correction = read_second(ws, first)
    assert (correction.model, correction.adapted_sha256, correction.adapted_corrections) == (seen.model, "", ())


def test_names_stay_in_the_table_of_identities(ws: Workspace, first: Case, tmp_path: Path) -> None:
    read_second(ws, first)
    folder = ws.project.folder
    export_corrections(read_export_items(ws, list_accepted_rows(ws, "lungs")), tmp_path / "out", ".tif", False)
    files = [path for path in (*folder.rglob("*"), *(tmp_path / "out").iterdir()) if path.is_file()]
    kept = [path for path in files if not path.name.startswith("project.sqlite")]
    assert len(kept) > 4
    assert not [path for path in kept if any(name.encode() in path.read_bytes() for name in (ANNA, f'"{BEN}"'))]
    assert "reader 1" in (tmp_path / "out" / "provenance.json").read_text(encoding="utf-8")
    assert ws.project.identities.read_readers() == {"reader 1": ANNA, "reader 2": BEN}
    assert {review.who for review in ws.project.read_records(Review)} == {"reader 1", "reader 2"}


def test_the_first_name_is_that_of_the_account(open_workspace: Callable[[], Workspace]) -> None:
    ws = open_workspace()
    accepted(ws, 0)
    assert not ws.reader.is_named
    ws.reader.set_name(f"  {ANNA} ")
    assert (ws.reader.label, ws.reader.name) == ("reader 1", ANNA)
    ws = open_workspace()
    assert (ws.reader.key(), ws.project.identities.read_readers()) == ("reader 1", {"reader 1": ANNA})
    ws.reader.set_name(ANNA.upper())
    assert ws.reader.label == "reader 1"
    ws.reader.set_name(BEN)
    assert (ws.reader.label, ws.reader.list_names()) == ("", [ANNA, BEN])
    for name in ("", "  ", "x" * 81, "a\x00b"):
        with pytest.raises(MedSegError, match="a name of 1 to 80"):
            ws.reader.set_name(name)


def test_a_smaller_review_region_limits_the_comparison(ws: Workspace, first: Case) -> None:
    from napari_medseg.core.project.review_region import RegionOutline, ReviewRegion

    outline = RegionOutline(corners=((-0.5, -0.5), (-0.5, 29.5), (SHAPE[0] - 0.5, 29.5), (SHAPE[0] - 0.5, -0.5)))
    draft = open_review(ws, first, get_case_row(ws, first).prediction)
    draft.save_review_region(ReviewRegion(outlines=(outline,)))
    labels = phantom_labels()
    labels[labels == 2] = 0
    accept(ws, draft, labels, phantom(0))
    task = ws.tasks.get_task("lungs")
    (agreement,) = compute_missing_agreements(ws.project.folder, task, list_read_twice(ws, "lungs"))
    (_, right, _), (_, left, _) = agreement.scores
    assert right > 0.99
    assert left is None, "the second person did not look there"


def test_the_second_reading_begins_like_the_first_and_is_never_predicted_again(ws: Workspace, first: Case) -> None:
    before = get_case_row(ws, first).prediction
    newer = PredictionResult(np.ones(SHAPE, np.uint8), 0.1, None, 1.5, "CPU")  # learnt from the first labels, perhaps
    after = record_prediction(ws, first, newer, "lungs-unet@9")
    row = get_case_row(ws, first)
    assert (row.prediction, row.reading) == (before, SECOND)
    assert not needs_prediction(row, "lungs-unet@10")
    draft = open_review(ws, first, after, newer.labels)
    np.testing.assert_array_equal(draft.labels, phantom_labels())
    draft.close()
    np.testing.assert_array_equal(open_review(ws, first, after).labels, phantom_labels())


def test_findings_of_a_blind_case_are_hidden_and_what_stops_training_names_no_case(ws: Workspace, first: Case) -> None:
    found = [CaseFinding(first, Finding("specks", "s", blocking=False)), CaseFinding(first, Finding("b", "t", True))]
    (shown,) = hide_blind(ws, found)
    assert (shown.case, shown.spots, shown.finding.blocking) == (None, (), True)
    ws.reader.set_name(ANNA)
    assert hide_blind(ws, found) == found


def test_other_writes_keep_what_was_read_of_second_readings(ws: Workspace, first: Case) -> None:
    draft = open_review(ws, first, get_case_row(ws, first).prediction)
    stored = ws.second_readings._read()
    predicted(ws, phantom(7))
    assert ws.second_readings._read() is stored
    reject(ws, draft)
    assert get_case_row(ws, first).state == "rejected", "closing a review is seen, though no row is new"
