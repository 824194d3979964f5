"""Notes in an export: names that the project knows are replaced, and free text can be left out."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from workflow_phantoms import phantom, predicted

from napari_medseg.workflow.case_notes import notes
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


def test_free_text_can_be_left_out(reviewed: Workspace, tmp_path: Path) -> None:
    provenance, rows = export(reviewed, tmp_path / "out", with_texts=False)
    assert (provenance["cases"][0]["flagged"], provenance["cases"][0]["note"]) == (True, None)
    assert (provenance["rejected"][0]["case"], provenance["rejected"][0]["reason"]) == ("patient 2 case 2", None)
    assert {(row["flagged"], row["note"]) for row in rows} == {("1", "")}


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
