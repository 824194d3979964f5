"""Nothing that comes from a first reading reaches its second reader before that person has decided."""

from pathlib import Path

import pytest
from workflow_phantoms import accepted, phantom, phantom_labels

from napari_medseg.core.readings.hidden_names import hide_names
from napari_medseg.core.records import Case
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import get_case_row
from napari_medseg.workflow.findings.case_finding import CaseFinding, hide_blind
from napari_medseg.workflow.meter.figures import read_meter
from napari_medseg.workflow.output.export import list_accepted_rows
from napari_medseg.workflow.report.write import write_project_report
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.second_reader.hidden import describe_left_out, leave_out_unread
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace

SECRET = "the vessel beside the heart"


@pytest.fixture
def read_blind(ws: Workspace) -> list[Case]:
    """Two cases that Anna corrected; Ben, who works now, is to read the first one blind."""
    ws.reader.set_name("Anna")
    cases = [accepted(ws, number) for number in (0, 1)]
    for case in cases:
        notes.set_note(ws, case, SECRET)
    ws.second_readings.choose(cases[0], is_chosen=True)
    ws.reader.set_name("Ben")
    return cases


def decide(ws: Workspace, case: Case) -> None:
    accept(ws, open_review(ws, case, get_case_row(ws, case).prediction), phantom_labels(), phantom(0))


def test_a_case_is_unread_until_its_second_reader_has_decided(ws: Workspace, read_blind: list[Case]) -> None:
    first, other = read_blind
    assert ws.second_readings.list_unread("lungs") == ws.second_readings.list_unread() == {first.id}
    assert ws.second_readings.list_unread("nuclei") == frozenset()
    ws.reader.set_name("Anna")
    assert ws.second_readings.list_unread() == frozenset()
    assert [ws.second_readings.is_awaited(case) for case in (first, other)] == [True, False]
    ws.reader.set_name("Ben")
    decide(ws, first)
    assert ws.second_readings.list_unread() == frozenset()
    assert not ws.second_readings.is_awaited(first)


def test_rows_notes_and_labels_of_it_are_left_out_and_said_to_be(ws: Workspace, read_blind: list[Case]) -> None:
    first, other = read_blind
    records = read_meter(ws, "lungs")
    assert [row.case.id for row in records.rows] == [first.id, other.id]
    assert [row.case.id for row in records.shown_rows] == [other.id]
    assert list(notes.read_case_notes(ws)) == [other.id]
    shown, hidden = leave_out_unread(ws, list_accepted_rows(ws, "lungs"))
    assert ([row[0].id for row in shown], [case.id for case in hidden]) == ([other.id], [first.id])
    assert describe_left_out(1) == "1 case is left out: you are to read it blind, and have not decided yet."
    decide(ws, first)
    assert len(read_meter(ws, "lungs").shown_rows) == 3
    assert leave_out_unread(ws, list_accepted_rows(ws, "lungs"))[1] == []


def test_the_page_shows_neither_its_picture_nor_its_row(ws: Workspace, read_blind: list[Case], tmp_path: Path) -> None:
    first, other = read_blind
    for _ in write_project_report(ws.project.folder, ws.registry, tmp_path / "out"):
        pass
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert other.name in page
    assert first.name not in page
    assert "1 case is left out" in page


def test_reports_and_previews_of_a_run_show_no_labels_of_it(ws: Workspace, read_blind: list[Case]) -> None:
    first, other = read_blind
    items = build_snapshot(ws, "lungs")[0].items
    shown = {item.name: item.may_be_shown for item in items if item.source == "corrections"}
    assert shown == {first.name: False, other.name: True}


def test_a_shared_finding_does_not_lead_into_it(ws: Workspace, read_blind: list[Case]) -> None:
    from napari_medseg.core.quality.label_checks import Finding

    finding = Finding("specks", "2 of 2 cases have specks", blocking=False)
    shared = CaseFinding(None, finding, members=tuple(CaseFinding(case, finding) for case in read_blind))
    (shown,) = hide_blind(ws, [shared])
    assert [case.id for case, _ in shown.spots] == [read_blind[1].id]


def test_a_name_is_replaced_as_a_whole() -> None:
    text = "worst change -0.3 (patient 1 case 1); patient 1 case 12 loses"
    assert hide_names(text, {"patient 1 case 1"}) == (
        "worst change -0.3 (a case that is read blind); patient 1 case 12 loses"
    )
    assert hide_names(text, ()) == text
