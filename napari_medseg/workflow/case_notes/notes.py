"""Note, flag and reason for rejection of each case: written, and read for a whole list at once.

In a second reading, a person sees and changes only the own notes of a case: those of the first reader would tell what
that one thought. After both readings the newest note of the case counts, whoever wrote it.
Earlier notes are kept as history. Call all functions in the main thread, as they use the database.
"""

from collections.abc import Iterable
from dataclasses import replace

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import NO_NOTE, Case, CaseNote, now
from napari_medseg.workflow.workspace import Workspace

MAX_NOTE_CHARACTERS = 2000


def read_case_notes(ws: Workspace) -> dict[int, CaseNote]:
    """Return the current note of each case that has, or had, one, by the id of the case; one query for all cases.

    A case that is no key has no note, no flag and no reason; `records.NO_NOTE` stands for that. The reason counts while
    the case is rejected; after it was accepted, it is history.
    """
    return {note.case_id: note for note in ws.project.read_records(CaseNote)}


def get_case_note(ws: Workspace, case: Case) -> CaseNote:
    """Return the note of one case that the person who works now sees; `NO_NOTE` if there is none."""
    found = ws.project.listed.read_notes(case.id, case.id)
    if not found:
        return NO_NOTE
    reading = ws.second_readings.show_to_reader(ws.project.read_case_history(case.id)).reading
    return select_note(found, ws.reader.label, reading)


def select_note(found: Iterable[CaseNote], reader: str, reading: int) -> CaseNote:
    """Return the note that counts among those of a case, earlier ones first; in a second reading, that of `reader`."""
    visible = [note for note in found if reading != SECOND or note.who == reader]
    return visible[-1] if visible else NO_NOTE


def set_note(ws: Workspace, case: Case, text: str) -> CaseNote:
    """Write the note of a case; an empty text removes it.

    Raises
    ------
    MedSegError
        If the text is longer than `MAX_NOTE_CHARACTERS`.
    """
    return _write(ws, case, note=_clean(text, "note"))


def set_flag(ws: Workspace, case: Case, is_flagged: bool) -> CaseNote:
    """Flag a case for a colleague, or take the flag away."""
    return _write(ws, case, is_flagged=is_flagged)


def set_reason(ws: Workspace, case: Case, reason: str) -> CaseNote:
    """Write why a case is rejected; an empty text if no one said it. Raises like `set_note`."""
    return _write(ws, case, reason=_clean(reason, "reason"))


def describe_note(note: CaseNote, *, is_rejected: bool = False) -> str:
    """Return flag, reason and note as one text for a tooltip or a cell, such as ``flagged; blurred``; or empty."""
    parts = ["flagged: ask a colleague" * note.is_flagged, note.reason * is_rejected, note.note]
    return "; ".join(part for part in parts if part)


def _write(ws: Workspace, case: Case, **changes: object) -> CaseNote:
    before = get_case_note(ws, case)
    after = replace(before, **changes)  # type: ignore[arg-type]
    if after == before:
        return before
    return ws.project.insert(replace(after, id=0, case_id=case.id, who=ws.reader.key(), created=now()))


def _clean(text: str, what: str) -> str:
    text = " ".join(text.split())
    if len(text) > MAX_NOTE_CHARACTERS:
        raise MedSegError(
            f"this {what} has {len(text):,} characters; at most {MAX_NOTE_CHARACTERS:,} are kept. Shorten it."
        )
    return text
