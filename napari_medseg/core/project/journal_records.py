"""The records of a stroke journal, and how to read a file in which some of them are damaged.

A record is its body's length and CRC-32, and the body: a kind and a payload. After a damaged record, reading goes on at
the next bytes that are a complete record with the right checksum.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import get_reason, report_damage
from napari_medseg.core.project.strokes import VOXEL_RUN_DTYPE, StrokeKind

MAGIC = b"medseg journal 2\n"
RECORD_HEADER = struct.Struct("<II")
STROKE_HEADER = struct.Struct("<BH")
SECONDS_FORMAT = struct.Struct("<d")
MANUAL_STROKE_KINDS = (StrokeKind.PAINT, StrokeKind.RESET)
MAX_JOURNAL_BYTES = 2**32
FIRST_SEARCH_BYTES, MAX_SEARCH_BYTES = 1 << 12, 1 << 20


class RecordKind(IntEnum):
    """What a record holds. The numbers are stored."""

    STROKE = 1
    UNDO = 2
    REDO = 3
    SECONDS = 4


_UNDO_OR_REDO_BYTES = 1
_SECONDS_BYTES = 1 + SECONDS_FORMAT.size


@dataclass(frozen=True)
class Record:
    """One intact record."""

    kind: RecordKind
    payload: bytes


@dataclass(frozen=True)
class LostRecords:
    """A place whose records cannot be read. `is_stroke`: it is exactly one stroke; else their number is unknown."""

    n_bytes: int
    is_stroke: bool


@dataclass(frozen=True)
class JournalContent:
    """What a journal holds, in order.

    `is_damaged` says whether any byte before `end` is wrong, also if nothing is lost. The bytes from `end` on are the
    beginning of a record that was not written to its end.
    """

    records: tuple[Record | LostRecords, ...]
    is_damaged: bool
    end: int


def encode_record(kind: RecordKind, payload: bytes = b"") -> bytes:
    """Return the bytes of a record."""
    body = bytes([kind]) + payload
    return RECORD_HEADER.pack(len(body), zlib.crc32(body)) + body


def read_journal(data: bytes) -> JournalContent | None:
    """Read all records of a journal that are intact; `None` if these bytes are no journal."""
    if len(data) < len(MAGIC):
        return JournalContent((), is_damaged=False, end=0) if MAGIC.startswith(data) else None
    is_damaged = not data.startswith(MAGIC)
    if is_damaged and data.strip(b"\0") and _find_next_record(data, len(MAGIC)) is None:
        return None
    position = len(MAGIC)
    records: list[Record | LostRecords] = []
    while position < len(data):
        if (record := _read_record(data, position)) is not None:
            position += RECORD_HEADER.size + 1 + len(record.payload)
            records.append(record)
            continue
        behind = _find_next_record(data, position + 1)
        if behind is None and _is_incomplete(data, position):
            break
        behind = len(data) if behind is None else behind
        records.extend(_explain_damage(data[position:behind]))
        position, is_damaged = behind, True
    return JournalContent(tuple(records), is_damaged, position)


def _read_record(data: bytes, position: int) -> Record | None:
    if position + RECORD_HEADER.size >= len(data):
        return None
    length, checksum = RECORD_HEADER.unpack_from(data, position)
    body = data[position + RECORD_HEADER.size : position + RECORD_HEADER.size + length]
    return _decode_body(body, checksum) if len(body) == length else None


def _decode_body(body: bytes, checksum: int) -> Record | None:
    if not body or zlib.crc32(body) != checksum or body[0] not in RecordKind.__members__.values():
        return None
    return Record(RecordKind(body[0]), body[1:])


def _is_incomplete(data: bytes, position: int) -> bool:
    """Whether the file ends inside of the record at `position`, as after a crash or on a full disk."""
    rest = data[position:]
    if len(rest) <= RECORD_HEADER.size or not rest.strip(b"\0"):
        return True
    length, checksum = RECORD_HEADER.unpack_from(rest)
    body = rest[RECORD_HEADER.size :]
    return length > len(body) and _decode_body(body, checksum) is None and _may_begin(body, length)


def _may_begin(body: bytes, length: int) -> bool:
    """Whether bytes can be the beginning of a body of this length; otherwise they were damaged, not cut off."""
    if body[0] == RecordKind.SECONDS:
        return length == _SECONDS_BYTES
    if body[0] != RecordKind.STROKE or len(body) < 1 + STROKE_HEADER.size:
        return body[0] == RecordKind.STROKE
    kind, model_bytes = STROKE_HEADER.unpack_from(body, 1)
    run_bytes = length - 1 - STROKE_HEADER.size - model_bytes
    return kind in StrokeKind.__members__.values() and run_bytes >= 0 and run_bytes % VOXEL_RUN_DTYPE.itemsize == 0


def _explain_damage(data: bytes) -> Iterator[Record | LostRecords]:
    """Yield what is known of the bytes between two intact records: a record with wrong bits, or more."""
    if len(data) <= RECORD_HEADER.size:
        yield LostRecords(len(data), is_stroke=False)
        return
    length, checksum = RECORD_HEADER.unpack_from(data)
    body = data[RECORD_HEADER.size :]
    if (record := _decode_body(body, checksum)) is not None:  # only the length is wrong
        yield record
    elif length != len(body):
        yield LostRecords(len(data), is_stroke=False)
    elif length == _UNDO_OR_REDO_BYTES:
        steps = (RecordKind.UNDO, RecordKind.REDO)
        meant = [kind for kind in steps if zlib.crc32(bytes([kind])) == checksum]  # the kind is wrong
        meant += [kind for kind in steps if body[0] == kind]  # the checksum is wrong
        yield Record(meant[0], b"") if meant else LostRecords(len(data), is_stroke=False)
    elif length != _SECONDS_BYTES:  # a few seconds of work do not matter
        yield LostRecords(len(data), is_stroke=True)


def _find_next_record(data: bytes, begin: int) -> int | None:
    """Return the position of the first intact record from `begin` on."""
    n_bytes = FIRST_SEARCH_BYTES
    while begin < len(data):
        for position in _find_candidates(data, begin, n_bytes):
            if _read_record(data, position) is not None:
                return position
        begin, n_bytes = begin + n_bytes, min(2 * n_bytes, MAX_SEARCH_BYTES)
    return None


def _find_candidates(data: bytes, start: int, n_bytes: int) -> list[int]:
    """List where a record of a possible kind and size may begin, in `n_bytes` from `start` on.

    This is fast; without it, a checksum would be computed at each byte.
    """
    overhang = RECORD_HEADER.size + 1 + STROKE_HEADER.size
    window = data[start : start + n_bytes + overhang]
    padded = np.frombuffer(window + bytes(overhang), np.uint8).astype(np.int64)
    n = min(len(window), n_bytes)

    def column(offset: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return padded[offset : offset + n]

    length = column(0) + (column(1) << 8) + (column(2) << 16) + (column(3) << 24)
    kind, model_bytes = column(8), column(10) + (column(11) << 8)
    run_bytes = length - 1 - STROKE_HEADER.size - model_bytes
    is_stroke = (kind == RecordKind.STROKE) & (run_bytes >= 0) & (run_bytes % VOXEL_RUN_DTYPE.itemsize == 0)
    is_stroke &= (column(9) >= min(StrokeKind)) & (column(9) <= max(StrokeKind))
    is_step = ((kind == RecordKind.UNDO) | (kind == RecordKind.REDO)) & (length == _UNDO_OR_REDO_BYTES)
    is_seconds = (kind == RecordKind.SECONDS) & (length == _SECONDS_BYTES)
    fits = length <= len(data) - start - RECORD_HEADER.size - np.arange(n)
    return [start + int(place) for place in np.flatnonzero((is_stroke | is_step | is_seconds) & fits)]


def has_manual_strokes(path: Path) -> bool:
    """Whether a journal has strokes of a person, except carried-over ones; reads only the record headers if it can.

    A journal that cannot be read is reported, and may have some.
    """
    if not path.exists():
        return False
    try:
        return _find_manual_stroke(path)
    except OSError as error:
        report_damage(f"the strokes in {path} cannot be read: {get_reason(error)}. All other cases open.")
        return True


def _find_manual_stroke(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        raise OSError("it is not a file")
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        while len(head := file.read(RECORD_HEADER.size)) == RECORD_HEADER.size:
            length, _ = RECORD_HEADER.unpack(head)
            start = file.read(2)
            if len(start) > 1 and start[0] == RecordKind.STROKE and start[1] in MANUAL_STROKE_KINDS:
                return True
            file.seek(length - len(start), os.SEEK_CUR)
        is_whole = not head and file.tell() == path.stat().st_size
    return not is_whole and _has_manual_records(read_file(path, MAX_JOURNAL_BYTES))


def _has_manual_records(data: bytes) -> bool:
    """Like `has_manual_strokes`, for a damaged journal; a lost record may be a stroke."""
    content = read_journal(data)
    return content is not None and any(
        isinstance(record, LostRecords)
        or (record.kind is RecordKind.STROKE and record.payload[0] in MANUAL_STROKE_KINDS)
        for record in content.records
    )
