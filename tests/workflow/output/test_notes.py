"""Notes in an export: names that the project knows are replaced, and free text can be left out."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from workflow_phantoms import accepted, phantom, phantom_labels, predicted

from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import get_case_row
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.output.notes import list_rejected_cases, read_notes_to_export
from napari_medseg.workflow.review import accept, open_review, reject
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def reviewed(ws: Workspace) -> Workspace:
    """One accepted and one rejected case of persons, with notes that name them."""
    image = replace(phantom(1), group="Mustermann^Erika", name="PAT0815")
    accepted, prediction = predicted(ws, image)
    draft = open_review(ws, accepted, prediction)
    draft.record([1], 0, 1)
    accept(ws, draft, draft.labels, image)
    notes.set_note(ws, accepted, "Erika MUSTERMANN (PAT0815) again, see Mustermann^Erika; nodule?")
    notes.set_flag(ws, accepted, True)
    rejected, prediction = predicted(ws, replace(phantom(2), group="Q-77", name="b"))
    reject(ws, open_review(ws, rejected, prediction))
    notes.set_reason(ws, rejected, "Q-77 moved")
    return ws


def export(ws: Workspace, folder: Path, *, with_texts: bool = True) -> tuple[dict, list[dict]]:
    found = read_notes_to_export(ws, "lungs", with_texts=with_texts)
    items = read_export_items(ws, list_accepted_rows(ws, "lungs"), notes=found)
    export_corrections(items, folder, ".tif", with_images=False)
    list_rejected_cases(folder, found)
    with (folder / "measurements.csv").open(newline="") as table:
        return json.loads((folder / "provenance.json").read_text()), list(csv.DictReader(table))


def test_notes_flags_and_reasons_are_exported_without_the_names_that_the_project_knows(
    reviewed: Workspace, tmp_path: Path
) -> None:
    provenance, rows = export(reviewed, tmp_path / "out")
    (case,), (rejected,) = provenance["cases"], provenance["rejected"]
    assert case["flagged"] is True
    assert case["note"] == "patient 1 patient 1 (patient 1 case 1) again, see patient 1; nodule?"
    assert (rejected["case"], rejected["reason"]) == ("patient 2 case 2", "patient 2 moved")
    assert rejected["group"].startswith("patient 2 #")
    assert {(row["flagged"], row["note"]) for row in rows} == {("1", case["note"])}
    written = "".join(path.read_text() for path in (tmp_path / "out").glob("*.[jc]*"))
    assert not [name for name in ("Mustermann", "MUSTERMANN", "Erika", "PAT0815", "Q-77") if name in written]


def test_free_text_is_left_out_unless_asked_for(reviewed: Workspace, tmp_path: Path) -> None:
    export(reviewed, tmp_path / "out")
    provenance, rows = export(reviewed, tmp_path / "out", with_texts=False)
    assert (provenance["cases"][0]["flagged"], provenance["cases"][0]["note"]) == (True, None)
    assert (provenance["rejected"][0]["case"], provenance["rejected"][0]["reason"]) == ("patient 2 case 2", None)
    assert {(row["flagged"], row["note"]) for row in rows} == {("1", "")}
    assert {note.note for said in read_notes_to_export(reviewed, "lungs").notes.values() for note in said} == {""}


def test_rejected_cases_are_those_of_now_and_another_tasks_stay_listed(reviewed: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(reviewed, out)
    path = out / "provenance.json"
    content = json.loads(path.read_text())
    content["rejected"].append({"case": "slide 1 case 9", "task": "nuclei"})
    path.write_text(json.dumps(content))
    (rejected,) = [row for row in reviewed.project.read_case_histories("lungs") if row.correction is None]
    draft = open_review(reviewed, rejected.case, rejected.prediction)
    accept(reviewed, draft, draft.labels, replace(phantom(2), group="Q-77", name="b"))
    provenance, _ = export(reviewed, out)
    assert [entry["case"] for entry in provenance["rejected"]] == ["slide 1 case 9"]
    assert len(provenance["cases"]) == 2


def test_what_both_readers_said_is_exported(ws: Workspace, tmp_path: Path) -> None:
    ws.reader.set_name("Anna")
    case = accepted(ws, 0)
    notes.set_note(ws, case, "nodule?")
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    notes.set_flag(ws, case, True)
    notes.set_note(ws, case, "no, a vessel")
    accept(ws, open_review(ws, case, get_case_row(ws, case).prediction), phantom_labels(), phantom(0))
    provenance, rows = export(ws, tmp_path / "out")
    (entry,) = provenance["cases"]
    said = {"who": "reader 2", "flagged": True, "note": "no, a vessel", "reason": None}
    assert (entry["flagged"], entry["note"], entry["second_reading"]) == (True, "nodule?", [said])
    assert {(row["note"], row["second_reader_note"]) for row in rows} == {("nodule?", "no, a vessel")}


@pytest.mark.parametrize("group", ["Otto Berg", "Berg, Otto", "BERG^OTTO", "otto_berg", "Otto-Berg 1961"])
def test_parts_of_names_are_replaced_however_names_are_stated(ws: Workspace, group: str) -> None:
    case, _ = predicted(ws, replace(phantom(1), group=group))
    notes.set_note(ws, case, "Otto? see BERG, berg's film and Otto Bergs CT")
    assert export_note(ws) == "patient 1? see patient 1, patient 1's film and patient 1 patient 1 CT"


@pytest.mark.parametrize(
    ("reader", "text", "expected"),
    [
        ("Anna Kowalski", "ask Anna Kowalski or KOWALSKI, not Annamaria", "ask reader 1 or reader 1, not Annamaria"),
        (
            "Dr. Ben Li",
            "Ben says, Li too: an 8 mm node, dr. li",
            "reader 1 says, reader 1 too: an 8 mm node, dr. li",
        ),
        ("Müller", "Mueller, Muller, mu\u0308ller", "reader 1, reader 1, reader 1"),
    ],
)
def test_names_of_readers_are_replaced(ws: Workspace, reader: str, text: str, expected: str) -> None:
    case, _ = predicted(ws, phantom(1))
    ws.reader.set_name(reader)
    notes.set_note(ws, case, text)
    ws.reader.set_name("Cleo")
    assert export_note(ws) == expected


def test_words_that_name_nobody_stay(ws: Workspace) -> None:
    for number in range(5):
        case, _ = predicted(ws, replace(phantom(number), group=f"LIDC patient {number} left"))
    notes.set_note(ws, case, "LIDC: the left lung of this patient, max. 8 mm")
    assert export_note(ws) == "LIDC: the left lung of this patient, max. 8 mm"


def export_note(ws: Workspace) -> str:
    ((note,),) = read_notes_to_export(ws, "lungs", with_texts=True).notes.values()
    return note.note
