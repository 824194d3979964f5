"""Note, flag and reason for rejection of each case: written, and read for a whole list at once.

The notes of a reading stand for themselves: what a second reader says replaces nothing that was said before. In a blind
reading, a person sees and changes only the own notes: those of the first reader would tell what that one thought.
Earlier notes are kept as history. Call all functions in the main thread, as they use the database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import NO_NOTE, Case, CaseNote, now
from napari_medseg.workflow.workspace import Workspace

MAX_NOTE_CHARACTERS = 2000

CaseNotes = tuple[CaseNote, ...]
"""What is said about one case: in its first reading, then by each second reader; none of them is empty."""


def read_case_notes(ws: Workspace) -> dict[int, CaseNotes]:
    """Return what the person who works now may see, by the id of the case; one query for all cases.

    A case that is no key has no note, no flag and no reason. The reason counts while the case is rejected; after it was
    accepted, it is history.
    """
    found: dict[int, list[CaseNote]] = {}
    for note in ws.project.read_records(CaseNote):
        found.setdefault(note.case_id, []).append(note)
    unread, reader = ws.second_readings.list_unread(), ws.reader.label
    notes = {case_id: list_current_notes(of) for case_id, of in found.items()}
    for case_id in unread & notes.keys():
        notes[case_id] = tuple(one for one in notes[case_id] if (one.reading, one.who) == (SECOND, reader))
    return {case_id: current for case_id, current in notes.items() if current}


def get_case_note(ws: Workspace, case: Case) -> CaseNote:
    """Return the note of one case that the person who works now changes; `NO_NOTE` if there is none."""
    found = ws.project.listed.read_notes(case.id, case.id)
    if not found:
        return NO_NOTE
    reading = ws.second_readings.show_to_reader(ws.project.read_case_history(case.id)).reading
    return select_note(found, ws.reader.label, reading)


def select_note(found: Iterable[CaseNote], reader: str, reading: int) -> CaseNote:
    """Return the note that counts among those of a case, earlier ones first; in a second reading, that of `reader`."""
    own = [note for note in found if note.reading == reading and (reading != SECOND or note.who == reader)]
    return own[-1] if own else NO_NOTE


def list_current_notes(found: Iterable[CaseNote]) -> CaseNotes:
    """Return the newest notes among those of a case, earlier ones first: of the first reading, then of each other."""
    newest = {(note.reading, note.who * (note.reading == SECOND)): note for note in found}
    return tuple(newest[key] for key in sorted(newest) if not newest[key].is_empty)


def list_other_notes(found: Iterable[CaseNote], reading: int) -> CaseNotes:
    """Return what others say, beside the note of `select_note`: to a second reader nothing, to others those."""
    return () if reading == SECOND else tuple(one for one in list_current_notes(found) if one.reading == SECOND)


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


def describe_notes(note: CaseNote, others: Sequence[CaseNote], *, is_rejected: bool = False) -> str:
    """Return `describe_note` of a note, and a line for each second reader who said something."""
    lines = [describe_note(note, is_rejected=is_rejected)]
    lines += [f"{one.who}, second reading: {describe_note(one, is_rejected=True)}" for one in others]
    return "\n".join(filter(None, lines))


def _write(ws: Workspace, case: Case, **changes: object) -> CaseNote:
    history = ws.second_readings.show_to_reader(ws.project.read_case_history(case.id))
    found = ws.project.listed.read_notes(case.id, case.id)
    before = select_note(found, ws.reader.label, history.reading)
    after = replace(before, **changes)  # type: ignore[arg-type]
    if after == before:
        return before
    who = ws.reader.key()
    return ws.project.insert(replace(after, id=0, case_id=case.id, who=who, created=now(), reading=history.reading))


def _clean(text: str, what: str) -> str:
    text = " ".join(text.split())
    if len(text) > MAX_NOTE_CHARACTERS:
        raise MedSegError(
            f"this {what} has {len(text):,} characters; at most {MAX_NOTE_CHARACTERS:,} are kept. Shorten it."
        )
    return text
