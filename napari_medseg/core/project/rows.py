"""Conversion of records to and from rows of `project.sqlite`: one column per field, with the same name."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from napari_medseg.core.errors import MedSegError, get_reason, report_damage
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.readings.records import (
    DraftAgreement,
    GroundTruthChoice,
    ReaderAgreement,
    SecondReadingChoice,
    SecondReadingShare,
    VersionAgreement,
)
from napari_medseg.core.records import (
    Case,
    CaseNote,
    Correction,
    DismissedFinding,
    HoldOutShare,
    ImportedMask,
    Prediction,
    RememberedLayout,
    RememberedMeaning,
    Review,
    ReviewState,
    Run,
    RunState,
    UnreadCorrection,
)
from napari_medseg.core.snapshot import Role

T = TypeVar("T")
Record = TypeVar(
    "Record",
    Case,
    Prediction,
    Review,
    Correction,
    ImportedMask,
    RememberedMeaning,
    RememberedLayout,
    DraftAgreement,
    VersionAgreement,
    ReaderAgreement,
    SecondReadingShare,
    SecondReadingChoice,
    GroundTruthChoice,
    CaseNote,
    DismissedFinding,
    HoldOutShare,
    UnreadCorrection,
    Run,
)


@dataclass(frozen=True)
class Table:
    """Storage of one record type: the table to write, the table or view to read, and derived fields."""

    write: str
    read: str
    derived: tuple[str, ...] = ()


TABLES: dict[type, Table] = {
    Case: Table("cases", "cases_with_side", ("held_out", "name", "sources", "file_name", "series")),
    Prediction: Table("predictions", "predictions"),
    Review: Table("reviews", "reviews"),
    Correction: Table("corrections", "corrections"),
    ImportedMask: Table("imported_masks", "imported_masks"),
    RememberedMeaning: Table("mask_meanings", "mask_meanings"),
    RememberedLayout: Table("array_layouts", "array_layouts"),
    DraftAgreement: Table("draft_agreements", "draft_agreements"),
    VersionAgreement: Table("version_agreements", "version_agreements"),
    ReaderAgreement: Table("reader_agreements", "reader_agreements"),
    SecondReadingShare: Table("second_reading_shares", "second_reading_shares"),
    SecondReadingChoice: Table("second_reading_choices", "second_reading_choices"),
    GroundTruthChoice: Table("ground_truth_choices", "ground_truth_choices"),
    CaseNote: Table("case_notes", "case_notes_with_texts", ("note", "reason")),
    DismissedFinding: Table("dismissed_findings", "dismissed_findings"),
    HoldOutShare: Table("hold_out_shares", "hold_out_shares"),
    UnreadCorrection: Table("unread_corrections", "unread_corrections"),
    Run: Table("runs", "runs"),
}


@dataclass(frozen=True)
class RunItem:
    """One correction that a run used, with its group and role."""

    run_id: str
    correction_id: int
    group: str
    role: Role


def encode_record(record: Record) -> dict[str, object]:
    """Return the values of an insert by column; a run has its own id, others get theirs from the database."""
    derived = TABLES[type(record)].derived + (() if isinstance(record, Run) else ("id",))
    return {
        field.name: _encode_value(field.name, getattr(record, field.name))
        for field in fields(record)
        if field.name not in derived
    }


def decode_record(kind: type[Record], row: Sequence[Any]) -> Record:
    """Rebuild a record from its columns, which are in the order of its fields.

    Raises
    ------
    MedSegError
        If a value is damaged.
    """
    values = list(row)
    try:
        for place, decode in _DECODERS_BY_PLACE[kind]:
            values[place] = decode(values[place])
        if bytes in map(type, values):
            raise TypeError("bytes in place of text or a number")
    except (ValueError, TypeError, RecursionError) as error:
        raise MedSegError(
            f"the row {row[0]!r} of the table {TABLES[kind].write} is damaged: {get_reason(error)}"
        ) from error
    return kind(*values)


def decode_rows(connection: Connection, rows: Iterable[Sequence[Any]], decode: Callable[[Sequence[Any]], T]) -> list[T]:
    """Decode rows; a damaged one is reported and left out, so that it does not cost the others."""
    found = []
    for row in rows:
        try:
            found.append(decode(row))
        except MedSegError as error:
            path = connection.execute("PRAGMA database_list").fetchone()[2]
            report_damage(f"{path}: {error}. It is left out; the others are used. Restore the file from a backup.")
    return found


def decode_text(path: Path, data: bytes) -> str:
    """Decode a text; SQLite itself refuses the whole query for one wrong byte. The report has no text: it may name."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        report_damage(f"{path} is damaged: a text of {len(text)} characters has wrong bytes. Restore a backup of it.")
        return text


def quote_column(column: str) -> str:
    """Quote a column name: ``group`` is an SQL keyword."""
    return f'"{column}"'


def _decode_tuple(text: str) -> tuple[Any, ...] | None:
    values = parse_json(text)
    return None if values is None else tuple(values)


DECODERS: dict[str, Callable[[Any], Any]] = {
    "shape": _decode_tuple,
    "spacing_mm": _decode_tuple,
    "sources": _decode_tuple,
    "held_out": bool,
    "scores": _decode_tuple,
    "is_chosen": bool,
    "is_flagged": bool,
    "adapted_corrections": _decode_tuple,
}


_STATES = {Review: ReviewState, Run: RunState}
_DECODERS_BY_PLACE: dict[type, list[tuple[int, Callable[[Any], Any]]]] = {
    kind: [
        (place, _STATES[kind] if field.name == "state" else DECODERS[field.name])
        for place, field in enumerate(fields(kind))
        if field.name == "state" or field.name in DECODERS
    ]
    for kind in TABLES
}


def _encode_value(name: str, value: object) -> object:
    return json.dumps(value) if DECODERS.get(name) is _decode_tuple else value
