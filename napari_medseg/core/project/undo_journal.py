"""The stroke journal: an append-only file with every stroke, undo and redo, which survives `kill -9`.

A file is a magic word and records of ``length, CRC-32, kind, payload``. Each record is passed to the operating system
at once, so that nothing is lost when the process ends, and synced within a second, so that a power failure loses at
most one second. An incomplete last record is removed when the file is opened again, and saved in another file.
"""

import contextlib
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from enum import IntEnum
from io import FileIO
from pathlib import Path

import numpy as np

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.open_folders import ensure_in_place
from napari_medseg.core.project.strokes import VOXEL_RUN_DTYPE, Stroke, StrokeKind

logger = logging.getLogger(__name__)

MAGIC = b"medseg journal 2\n"
RECORD_HEADER = struct.Struct("<II")
STROKE_HEADER = struct.Struct("<BH")
SECONDS_FORMAT = struct.Struct("<d")
SYNC_AFTER_S = 0.5
MANUAL_STROKE_KINDS = (StrokeKind.PAINT, StrokeKind.RESET)


class _RecordKind(IntEnum):
    STROKE = 1
    UNDO = 2
    REDO = 3
    SECONDS = 4


class StrokeJournal:
    """The strokes of one review, the undone strokes, and the seconds worked; read from the file if it exists.

    Parameters
    ----------
    path
        Path of the journal; the file is created with the first record.

    Raises
    ------
    MedSegError
        If the file is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.applied_strokes: list[Stroke] = []
        self.undone_strokes: list[Stroke] = []
        self.seconds = 0.0
        self.saved_at: float | None = None
        self._file_lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._file: FileIO | None = None
        self._size = self._restore_from_file() if path.exists() else 0

    def add(self, stroke: Stroke) -> None:
        """Write a stroke; strokes that were undone before can no longer be redone.

        Raises
        ------
        MedSegError
            If the journal cannot be written, such as on a full disk, or its project was renamed while it is open; it
            is then unchanged.
        """
        model = stroke.model.encode()
        self._append(
            _RecordKind.STROKE, STROKE_HEADER.pack(stroke.kind, len(model)) + model + stroke.voxel_runs.tobytes()
        )
        self.applied_strokes.append(stroke)
        self.undone_strokes.clear()

    def undo(self) -> Stroke | None:
        """Undo the last stroke and return it; `None` if there is none."""
        if not self.applied_strokes:
            return None
        self._append(_RecordKind.UNDO, b"")
        self.undone_strokes.append(self.applied_strokes.pop())
        return self.undone_strokes[-1]

    def redo(self) -> Stroke | None:
        """Redo the stroke that was undone last and return it; `None` if there is none."""
        if not self.undone_strokes:
            return None
        self._append(_RecordKind.REDO, b"")
        self.applied_strokes.append(self.undone_strokes.pop())
        return self.applied_strokes[-1]

    def add_seconds(self, seconds: float) -> None:
        """Add to the seconds that a person worked."""
        self._append(_RecordKind.SECONDS, SECONDS_FORMAT.pack(seconds))
        self.seconds += seconds

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        with self._file_lock:
            self._timer = None
            if self._file is None:
                return
            descriptor = os.dup(self._file.fileno())
        try:  # outside the lock: the next stroke must not wait for the disk
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Sync and close the file; a later record opens it again."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self.sync()
        finally:
            with self._file_lock:
                if self._file is not None:
                    self._file.close()
                    self._file = None

    def _append(self, kind: _RecordKind, payload: bytes) -> None:
        body = bytes([kind]) + payload
        record = RECORD_HEADER.pack(len(body), zlib.crc32(body)) + body
        with self._file_lock:
            try:
                self._write(record if self._size else MAGIC + record)
            except OSError as error:
                raise MedSegError(
                    f"the last change is not saved: {get_reason(error)}. Free disk space for {self.path}, then repeat "
                    "the change."
                ) from error
            if self._timer is None:
                # In a separate thread: a sync can take a second on a busy disk, and the window must not wait for it.
                self._timer = threading.Timer(SYNC_AFTER_S, self._sync_in_background)
                self._timer.daemon = True
                self._timer.start()
        self.saved_at = time.time()

    def _write(self, data: bytes) -> None:
        if self._file is None:  # an open file goes along with a renamed project, so strokes stay in their journal
            ensure_in_place(self.path)
            self._file = FileIO(self.path, "ab")
        if os.fstat(self._file.fileno()).st_size > self._size:  # the rest of a failed write, see below
            self._file.truncate(self._size)
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            with contextlib.suppress(OSError):  # a failed clean-up must not hide the error; the next write repeats it
                self._file.truncate(self._size)
            raise
        self._size += len(data)

    def _sync_in_background(self) -> None:
        try:
            self.sync()
        except OSError as error:
            logger.warning("%s is written but not synced: %s", self.path, error)

    def _restore_from_file(self) -> int:
        """Read the complete records; move an incomplete rest to another file. Return the size of the records."""
        data = self.path.read_bytes()
        if data[: len(MAGIC)] != MAGIC[: len(data)]:
            raise MedSegError(f"{self.path} is not a journal of strokes. Move it away; the prediction is not affected.")
        end = len(MAGIC) if len(data) >= len(MAGIC) else 0
        for kind, payload, behind in _iterate_records(data, end):
            self._apply_record(kind, payload)
            end = behind
        if end < len(data):
            self.path.with_suffix(".torn").write_bytes(data[end:])
            os.truncate(self.path, end)
            logger.warning("%s ended in an incomplete record of %d bytes", self.path, len(data) - end)
        self.saved_at = self.path.stat().st_mtime
        return end

    def _apply_record(self, kind: _RecordKind, payload: bytes) -> None:
        match kind:
            case _RecordKind.STROKE:
                self.applied_strokes.append(_decode_stroke(payload))
                self.undone_strokes.clear()
            case _RecordKind.UNDO:
                self.undone_strokes.append(self.applied_strokes.pop())
            case _RecordKind.REDO:
                self.applied_strokes.append(self.undone_strokes.pop())
            case _RecordKind.SECONDS:
                self.seconds += SECONDS_FORMAT.unpack(payload)[0]


def get_journal_path(project_folder: Path, review_id: int) -> Path:
    """Return the path of the journal of a review; the file exists if anything was recorded."""
    return project_folder / "journal" / f"{review_id}.journal"


def has_manual_strokes(path: Path) -> bool:
    """Whether a journal has strokes of a person, except carried-over ones; reads only the record headers."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        while len(head := file.read(RECORD_HEADER.size)) == RECORD_HEADER.size:
            length, _ = RECORD_HEADER.unpack(head)
            start = file.read(2)
            if len(start) > 1 and start[0] == _RecordKind.STROKE and start[1] in MANUAL_STROKE_KINDS:
                return True
            file.seek(length - len(start), os.SEEK_CUR)
    return False


def _iterate_records(data: bytes, position: int) -> Iterator[tuple[_RecordKind, bytes, int]]:
    while position + RECORD_HEADER.size <= len(data):
        length, checksum = RECORD_HEADER.unpack_from(data, position)
        body = data[position + RECORD_HEADER.size : position + RECORD_HEADER.size + length]
        if len(body) != length or zlib.crc32(body) != checksum or not body:
            return
        position += RECORD_HEADER.size + length
        yield _RecordKind(body[0]), body[1:], position


def _decode_stroke(payload: bytes) -> Stroke:
    kind, model_length = STROKE_HEADER.unpack_from(payload)
    runs_at = STROKE_HEADER.size + model_length
    model = payload[STROKE_HEADER.size : runs_at].decode()
    return Stroke(StrokeKind(kind), np.frombuffer(payload, VOXEL_RUN_DTYPE, offset=runs_at), model)
