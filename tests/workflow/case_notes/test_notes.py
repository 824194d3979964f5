"""Notes, flags and reasons: the newest counts, a whole list is read at once, and texts are kept as identities."""

import sqlite3

import pytest
from workflow_phantoms import phantom, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.records import NO_NOTE
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.case_notes.rejection_reasons import list_presets, list_rejection_reasons
from napari_medseg.workflow.workspace import Workspace


def test_each_part_of_a_note_is_set_alone_and_the_newest_counts(ws: Workspace) -> None:
    first, second = (predicted(ws, phantom(number))[0] for number in (1, 2))
    assert notes.read_case_notes(ws) == {}
    assert notes.get_case_note(ws, first) == NO_NOTE
    notes.set_note(ws, first, "  is this\n a lesion? ")
    notes.set_flag(ws, first, True)
    notes.set_reason(ws, second, "blurred")
    found = notes.read_case_notes(ws)
    assert [(n.note, n.is_flagged, n.reason) for (n,) in found.values()] == [
        ("is this a lesion?", True, ""),
        ("", False, "blurred"),
    ]
    notes.set_flag(ws, first, False)
    notes.set_note(ws, first, "")
    assert notes.get_case_note(ws, first).note == ""
    assert first.id not in notes.read_case_notes(ws), "all was taken back"
    (of_first,), (of_second,) = found[first.id], found[second.id]
    assert notes.describe_note(of_first) == "flagged: ask a colleague; is this a lesion?"
    assert (notes.describe_note(of_second), notes.describe_note(of_second, is_rejected=True)) == (
        "",
        "blurred",
    )


def test_what_changes_nothing_is_not_written_and_a_long_text_is_refused(ws: Workspace) -> None:
    case, _ = predicted(ws, phantom(1))
    assert notes.set_reason(ws, case, "") == NO_NOTE
    kept = notes.set_note(ws, case, "why")
    assert notes.set_note(ws, case, "why ") == kept
    with pytest.raises(MedSegError, match=r"2,001 characters; at most 2,000 are kept"):
        notes.set_note(ws, case, "x" * 2001)


def test_free_text_lies_in_the_table_of_identities_only(ws: Workspace) -> None:
    case, _ = predicted(ws, phantom(1))
    notes.set_note(ws, case, "Erika Mustermann asked")
    notes.set_reason(ws, case, "Mustermann moved")
    database = sqlite3.connect(ws.project.folder / DATABASE)
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    with_name = [
        table
        for table in tables
        if any("Mustermann" in str(row) for row in database.execute(f"SELECT * FROM {table}").fetchall())
    ]
    database.close()
    assert with_name == ["identities"]
    assert "Mustermann" not in repr(notes.get_case_note(ws, case)), "no log names anyone"


def test_presets_fit_the_images_and_typed_reasons_are_offered_again(ws: Workspace) -> None:
    lungs, nuclei = ws.tasks.get_task("lungs"), ws.tasks.get_task("nuclei")
    assert list_presets(lungs) != list_presets(nuclei)
    cases = [predicted(ws, phantom(number))[0] for number in range(7)]
    for case, reason in zip(cases, ["a", "b", "c", "d", "e", list_presets(lungs)[0], "f"], strict=True):
        notes.set_reason(ws, case, reason)
    assert list_rejection_reasons(ws, lungs) == [*list_presets(lungs), "f", "e", "d", "c", "b"]
    assert list_rejection_reasons(ws, nuclei) == list(list_presets(nuclei))
    notes.set_reason(ws, cases[0], "c")
    notes.set_reason(ws, cases[1], "")
    assert list_rejection_reasons(ws, lungs)[-5:] == ["c", "f", "e", "d", "b"]
