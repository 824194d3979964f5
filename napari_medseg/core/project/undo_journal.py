"""The stroke journal: an append-only file with every stroke, undo and redo, which survives `kill -9`.

A file is a magic word and records of ``length, CRC-32, kind, payload``. Each record is passed to the operating system
at once, so that nothing is lost when the process ends, and synced within a second, so that a power failure loses at
most one second. An incomplete last record is removed when the file is opened again, and saved in another file. If other
records are damaged, the whole file is kept under another name, and a new one holds all intact strokes.
"""

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

import numpy as np

from napari_medseg.core.atomic_io import atomic_write, read_file, reserve_damaged_path, sync_file, sync_folder
from napari_medseg.core.errors import MedSegError, format_os_error, get_reason, report_damage
from napari_medseg.core.open_folders import ensure_in_place
from napari_medseg.core.project.journal_records import (
    MAGIC,
    MAX_JOURNAL_BYTES,
    SECONDS_FORMAT,
    STROKE_HEADER,
    JournalContent,
    LostRecords,
    Record,
    RecordKind,
    encode_record,
    read_journal,
)
from napari_medseg.core.project.strokes import VOXEL_RUN_DTYPE, Stroke, StrokeKind

logger = logging.getLogger(__name__)

SYNC_AFTER_S = 0.5


class StrokeJournal:
    """The strokes of one review, the undone strokes, and the seconds worked; read from the file if it exists.

    Parameters
    ----------
    path
        Path of the journal; the file is created with the first record.

    Raises
    ------
    MedSegError
        If the file cannot be read, is not a journal, or is damaged and the folder cannot be written to.
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

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever recorded."""
        return self._size == 0

    def add(self, stroke: Stroke) -> None:
        """Write a stroke; strokes that were undone before can no longer be redone.

        Raises
        ------
        MedSegError
            If the journal cannot be written, such as on a full disk, its project was renamed while it is open, or
            something else wrote to it; it is then unchanged.
        """
        self._append(_encode_stroke(stroke))
        self.applied_strokes.append(stroke)
        self.undone_strokes.clear()

    def undo(self) -> Stroke | None:
        """Undo the last stroke and return it; `None` if there is none."""
        if not self.applied_strokes:
            return None
        self._append(encode_record(RecordKind.UNDO))
        self.undone_strokes.append(self.applied_strokes.pop())
        return self.undone_strokes[-1]

    def redo(self) -> Stroke | None:
        """Redo the stroke that was undone last and return it; `None` if there is none."""
        if not self.undone_strokes:
            return None
        self._append(encode_record(RecordKind.REDO))
        self.applied_strokes.append(self.undone_strokes.pop())
        return self.applied_strokes[-1]

    def add_seconds(self, seconds: float) -> None:
        """Add to the seconds that a person worked."""
        self._append(encode_record(RecordKind.SECONDS, SECONDS_FORMAT.pack(seconds)))
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

    def _append(self, record: bytes) -> None:
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
        if os.fstat(self._file.fileno()).st_size > self._size:
            if self._has_foreign_records():
                raise MedSegError(
                    f"the last change is not saved: {self.path.name} was written to by another window. "
                    "Open the case again, and repeat the change."
                )
            self._file.truncate(self._size)  # the rest of a failed write, see below
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            with contextlib.suppress(OSError):  # a failed clean-up must not hide the error; the next write repeats it
                self._file.truncate(self._size)
            raise
        self._size += len(data)

    def _has_foreign_records(self) -> bool:
        """Whether whole records follow those of this journal; a failed write leaves a part of one."""
        with self.path.open("rb") as file:
            file.seek(self._size)
            rest = file.read()
        content = read_journal(MAGIC * bool(self._size) + rest)
        return content is not None and any(isinstance(record, Record) for record in content.records)

    def _sync_in_background(self) -> None:
        try:
            self.sync()
        except OSError as error:
            logger.warning("%s is written but not synced: %s", self.path, error)

    def _restore_from_file(self) -> int:
        """Read the intact records, and set aside what is damaged or incomplete. Return the size of the file then."""
        try:
            data = read_file(self.path, MAX_JOURNAL_BYTES)
        except OSError as error:
            raise MedSegError(f"cannot read the strokes in {self.path}: {format_os_error(error)}") from error
        content = read_journal(data)
        if content is None:
            raise MedSegError(f"{self.path} is not a journal of strokes. Move it away; the prediction is not affected.")
        self._replay(content.records)
        self.saved_at = self.path.stat().st_mtime
        if content.is_damaged:
            return self._replace_damaged_file(content)
        if content.end < len(data):
            self._cut_incomplete_record(data, content.end)
        return content.end

    def _replay(self, records: Iterable[Record | LostRecords]) -> None:
        """Restore strokes and seconds. A lost stroke takes part, so that its undo does not undo another stroke."""
        applied: list[Stroke | LostRecords] = []
        undone: list[Stroke | LostRecords] = []
        for record in records:
            if isinstance(record, LostRecords):
                applied.append(record)
                undone.clear()
                continue
            match record.kind:
                case RecordKind.STROKE:
                    applied.append(_decode_stroke(record.payload))
                    undone.clear()
                case RecordKind.UNDO if applied:
                    last = applied[-1]
                    is_known = isinstance(last, Stroke) or last.is_stroke
                    undone.append(applied.pop() if is_known else LostRecords(0, is_stroke=True))
                case RecordKind.REDO if undone:
                    applied.append(undone.pop())
                case RecordKind.SECONDS:
                    self.seconds += SECONDS_FORMAT.unpack(record.payload)[0]
        self.applied_strokes = [stroke for stroke in applied if isinstance(stroke, Stroke)]
        self.undone_strokes = [stroke for stroke in undone if isinstance(stroke, Stroke)]

    def _cut_incomplete_record(self, data: bytes, end: int) -> None:
        kept = self.path.with_suffix(".torn")
        try:
            if kept.exists():  # never overwritten
                kept = reserve_damaged_path(kept)
            kept.write_bytes(data[end:])
            os.truncate(self.path, end)
        except OSError as error:
            raise MedSegError(f"cannot restore {self.path}: {format_os_error(error)}") from error
        logger.warning("%s ended in an incomplete record of %d bytes", self.path, len(data) - end)

    def _replace_damaged_file(self, content: JournalContent) -> int:
        """Keep the damaged file under another name, write a new one with all that was read, and tell the user."""
        steps = [_encode_stroke(stroke) for stroke in (*self.applied_strokes, *reversed(self.undone_strokes))]
        steps += [encode_record(RecordKind.UNDO)] * len(self.undone_strokes)
        data = b"".join([MAGIC, *steps, encode_record(RecordKind.SECONDS, SECONDS_FORMAT.pack(self.seconds))])
        try:
            before = self.path.stat()
            kept = reserve_damaged_path(self.path)
            shutil.copyfile(self.path, kept)
            sync_file(kept)
            with atomic_write(self.path) as beside:
                beside.write_bytes(data)
                os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))  # drafts are listed by it
        except OSError as error:
            raise MedSegError(f"cannot restore {self.path}: {format_os_error(error)}") from error
        sync_folder(self.path.parent)
        lost = [record for record in content.records if isinstance(record, LostRecords)]
        n_strokes = len(self.applied_strokes) + len(self.undone_strokes)
        what = f"{sum(one.n_bytes for one in lost)} bytes in {len(lost)} places cannot be read" if lost else ""
        report_damage(
            f"{self.path} is damaged: {what or 'no stroke is lost'}. {n_strokes} strokes are restored; "
            f"check the labels before you accept them. The damaged file is kept as {kept.name}."
        )
        return len(data)


def get_journal_path(project_folder: Path, review_id: int) -> Path:
    """Return the path of the journal of a review; the file exists if anything was recorded."""
    return project_folder / "journal" / f"{review_id}.journal"


def _encode_stroke(stroke: Stroke) -> bytes:
    model = stroke.model.encode()
    head = STROKE_HEADER.pack(stroke.kind, len(model))
    return encode_record(RecordKind.STROKE, head + model + stroke.voxel_runs.tobytes())


def _decode_stroke(payload: bytes) -> Stroke:
    kind, model_length = STROKE_HEADER.unpack_from(payload)
    runs_at = STROKE_HEADER.size + model_length
    model = payload[STROKE_HEADER.size : runs_at].decode()
    return Stroke(StrokeKind(kind), np.frombuffer(payload, VOXEL_RUN_DTYPE, offset=runs_at), model)
