"""What an export says of notes, flags and rejected cases: clear names of the project in free text are replaced.

Free text may name someone in words that no program knows, so it is left out unless a person asks for it. Flags, and the
fact that a case was rejected, are exported in any case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import NO_NOTE, Case, CaseNote, Review, ReviewState
from napari_medseg.workflow.case_notes.notes import CaseNotes, read_case_notes
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.output.names_in_notes import NoteNames, collect_note_names
from napari_medseg.workflow.output.provenance import Entry, read_provenance, write_provenance
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class NotesToExport:
    """Notes by the id of their case, those of the first reading first, and the entries of a task's rejected cases."""

    task: str = ""
    notes: Mapping[int, CaseNotes] = field(default_factory=dict)
    rejected: tuple[Entry, ...] = ()

    def merge_rejected(self, earlier: Sequence[Entry]) -> list[Entry]:
        """Return the rejected cases of this export, and those of other tasks of earlier exports."""
        return [*(entry for entry in earlier if entry.get("task") != self.task), *self.rejected]


NO_NOTES = NotesToExport()


def read_notes_to_export(ws: Workspace, task: str, *, with_texts: bool = False) -> NotesToExport:
    """Read the notes of a project and the rejected cases of a task. Call it in the main thread.

    Parameters
    ----------
    ws, task
        The project, and the name of the task.
    with_texts
        Whether notes and reasons are exported, with the clear names of the project replaced, see `names_in_notes`. By
        default only flags, and which cases were rejected.
    """
    found = read_case_notes(ws)
    has_texts = any(note.note or note.reason for notes in found.values() for note in notes)
    names = collect_note_names(ws) if with_texts and has_texts else None
    notes = {case_id: tuple(_clean(note, names) for note in said) for case_id, said in found.items()}
    reviews = {review.case_id: review for review in ws.project.read_records(Review, "state", ReviewState.REJECTED)}
    rejected = [row.case for row in list_cases(ws, task) if row.state == "rejected"]
    entries = tuple(_describe_rejected(case, notes.get(case.id, ()), reviews.get(case.id)) for case in rejected)
    return NotesToExport(task, notes, entries)


def list_rejected_cases(folder: Path, notes: NotesToExport) -> None:
    """Write the rejected cases, and why they were rejected, into `provenance.json` of an export.

    Raises
    ------
    MedSegError
        If the file is not one of this program.
    """
    known = read_provenance(folder)
    rejected = notes.merge_rejected(known.rejected)
    if known.known and rejected != known.rejected:
        write_provenance(folder, known.cases, known.unfinished, rejected)


def _clean(note: CaseNote, names: NoteNames | None) -> CaseNote:
    texts = ("", "") if names is None else (names.replace_in(note.note), names.replace_in(note.reason))
    return replace(note, note=texts[0], reason=texts[1])


def describe_notes(notes: CaseNotes) -> Entry:
    """Return flag and note of a case for its entry; what second readers say stands in a list of its own."""
    first = _get_first(notes)
    others = [
        {"who": one.who, "flagged": one.is_flagged, "note": one.note or None, "reason": one.reason or None}
        for one in notes
        if one.reading == SECOND
    ]
    said = {"flagged": any(one.is_flagged for one in notes), "note": first.note or None}
    return said | ({"second_reading": others} if others else {})


def _get_first(notes: CaseNotes) -> CaseNote:
    return next((one for one in notes if one.reading != SECOND), NO_NOTE)


def _describe_rejected(case: Case, notes: CaseNotes, review: Review | None) -> Entry:
    return {
        "case": case.name,
        "group": case.group,
        "task": case.task,
        "content_sha256": case.content_hash,
        "who": None if review is None else review.who,
        "rejected": None if review is None else review.closed,
        "reason": _get_first(notes).reason or None,
        **describe_notes(notes),
    }
