"""What an export says of notes, flags and rejected cases: clear names of the project in free text are replaced.

Free text may name someone in words that no program knows, so it can be left out; then flags, and the fact that a case
was rejected, are exported without it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.records import NO_NOTE, Case, CaseNote, Review, ReviewState
from napari_medseg.workflow.case_notes.notes import read_case_notes
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.output.name_replacement import NewNames
from napari_medseg.workflow.output.provenance import Entry, read_provenance, write_provenance
from napari_medseg.workflow.workspace import Workspace

MIN_LENGTH_OF_NAME_PART = 3


@dataclass(frozen=True)
class NotesToExport:
    """Notes by the id of their case, and the entries of the rejected cases of a task."""

    task: str = ""
    notes: Mapping[int, CaseNote] = field(default_factory=dict)
    rejected: tuple[Entry, ...] = ()

    def merge_rejected(self, earlier: Sequence[Entry]) -> list[Entry]:
        """Return the rejected cases of this export, and those of other tasks of earlier exports."""
        return [*(entry for entry in earlier if entry.get("task") != self.task), *self.rejected]


NO_NOTES = NotesToExport()


def read_notes_to_export(ws: Workspace, task: str, *, with_texts: bool = True) -> NotesToExport:
    """Read the notes of a project and the rejected cases of a task. Call it in the main thread.

    Parameters
    ----------
    ws, task
        The project, and the name of the task.
    with_texts
        Whether notes and reasons are exported, with the clear names of the project replaced. Without them, only flags,
        and which cases were rejected.
    """
    found = read_case_notes(ws)
    names = _collect_names(ws) if with_texts and any(note.note or note.reason for note in found.values()) else None
    notes = {case_id: _clean(note, names) for case_id, note in found.items()}
    reviews = {review.case_id: review for review in ws.project.read_records(Review, "state", ReviewState.REJECTED)}
    rejected = [row.case for row in list_cases(ws, task) if row.state == "rejected"]
    entries = tuple(_describe_rejected(case, notes.get(case.id, NO_NOTE), reviews.get(case.id)) for case in rejected)
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


def _clean(note: CaseNote, names: NewNames | None) -> CaseNote:
    texts = ("", "") if names is None else (names.replace_words(note.note), names.replace_words(note.reason))
    return CaseNote(note.id, note.case_id, note.is_flagged, note.who, note.created, *texts)


def _describe_rejected(case: Case, note: CaseNote, review: Review | None) -> Entry:
    return {
        "case": case.name,
        "group": case.group,
        "task": case.task,
        "content_sha256": case.content_hash,
        "who": None if review is None else review.who,
        "rejected": None if review is None else review.closed,
        "reason": note.reason or None,
        "flagged": note.is_flagged,
        "note": note.note or None,
    }


def _collect_names(ws: Workspace) -> NewNames:
    """Return all clear names of the project, and the parts of names of persons, with what stands for them."""
    groups: dict[str, str] = {}
    for keyed, clear in ws.project.identities.read_groups().items():
        label = get_group_label(keyed)
        groups[clear] = label
        if "^" in clear or "," in clear:  # PatientName; other names may consist of words that name no one
            parts = [part for part in re.split(r"[\W_\d]+", clear) if len(part) >= MIN_LENGTH_OF_NAME_PART]
            groups |= {form: label for part in parts for form in (part, part.title(), part.upper(), part.lower())}
    cases: dict[str, str] = {}
    for case in ws.project.read_records(Case):
        files = {case.file_name, *(Path(source).name for source in case.sources), *case.sources, case.series}
        cases |= {name: case.name for name in (*files, *(Path(file).stem for file in files)) if name}
    return NewNames(cases, groups)
