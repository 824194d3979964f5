"""What a server answers to calls about training runs and adaptations: it takes them, reports them, gives them back.

Jobs live on the disk, so they survive the server: the process of a run goes on without it, and the next server finds
it by its lock. A run whose process died with the computer is started again from its checkpoint.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.workflow.serving.job_calls import (
    MAX_CHUNK_BYTES,
    RESULTS,
    WAS_CANCELLED,
    Answer,
    Begin,
    Call,
    Control,
    Discard,
    Done,
    Fetch,
    Follow,
    JobStatus,
    Missing,
    Offer,
    Send,
    decode_call,
    encode,
)
from napari_medseg.workflow.serving.job_files import (
    JobRecord,
    UserFiles,
    name_user_folder,
    refuse_foreign_files,
    set_device,
)
from napari_medseg.workflow.serving.job_runner import TIDY_S, JobKey, JobRunner
from napari_medseg.workflow.serving.limits import ServerLimits
from training.run_folder import CHECKPOINT_FILE, EVENTS_FILE, LOG_FILE

DAY_S = 86_400.0
N_THREADS = 4


class JobDesk:
    """Takes calls about jobs from any thread.

    Parameters
    ----------
    folder
        Where the jobs of all users are kept.
    devices
        Names of the devices that train, such as ``cuda:0``; empty for the fastest one. Each trains one run at a time.
    limits
        What is kept for a user, and for how long after a job was asked for last.

    Attributes
    ----------
    threads
        In which an event loop answers calls.
    """

    def __init__(
        self,
        folder: Path,
        devices: Sequence[str] = ("",),
        limits: ServerLimits | None = None,
    ) -> None:
        limits = limits or ServerLimits()
        self._runner = JobRunner(folder, devices, limits.max_user_bytes, limits.keep_days * DAY_S)
        self.threads = ThreadPoolExecutor(N_THREADS, thread_name_prefix="job calls")
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    def handle(self, user: str, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        """Answer a call of a user whose token was checked. It takes moments; call it in a thread.

        Returns
        -------
        bytes, bytes
            The answer as JSON, and bytes of files.

        Raises
        ------
        MedSegError
            If it is no call, or it cannot be done; the text is for the user.
        """
        try:
            message = decode_call(call)
        except ValidationError as error:
            raise MedSegError(
                "the server does not understand the call. Install the same version here and there."
            ) from (error)
        name = name_user_folder(user)
        with self._locks_lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock, translate_errors():
            answer, data = self._answer((name, message.job), self._runner.open(name), message, payload)
        return encode(answer), data

    def close(self) -> None:
        """Start nothing more. Training runs go on without the server; adaptations end."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._runner.close()

    def _answer(self, key: JobKey, files: UserFiles, call: Call, payload: bytes) -> tuple[Answer, bytes]:
        match call:
            case Offer():
                return self._take_offer(key, files, call), b""
            case Send():
                return _receive(files, call, payload), b""
            case Begin():
                return self._begin(key, files), b""
            case Control():
                return self._control(key, files, call), b""
            case Discard():
                self._runner.end(key)
                files.remove(call.job)
                return Done(), b""
            case Fetch():
                return _fetch(files, call)
            case Follow():
                return self._follow(key, files, call)

    def _take_offer(self, key: JobKey, files: UserFiles, call: Offer) -> Answer:
        record = files.read(call.job)
        if record is None:
            refuse_foreign_files(call.purpose, call.files)
            files.make_room(call.files)
            now = time.time()
            record = JobRecord(purpose=call.purpose, files=call.files, made_at=now, followed_at=now)
            files.write(call.job, record)
        missing = files.find_missing(record.files) if record.state == "receiving" else {}
        return Missing(state=self._runner.get_state(key, record), files=missing)

    def _begin(self, key: JobKey, files: UserFiles) -> Answer:
        record = _require(files, key[1])
        if self._runner.get_state(key, record) in ("waiting", "running"):
            return Done()
        files.lay_out(key[1], record)
        changes: dict[str, object] = {"state": "waiting", "queued_at": time.time(), "problem": "", "n_starts": 0}
        if record.purpose == "train":
            changes["budget_s"] = set_device(files.get_work_folder(key[1]), "")
        record = record.model_copy(update=changes)
        files.write(key[1], record)
        self._runner.note_followed(key)
        self._runner.enqueue(key, record)
        return Done()

    def _control(self, key: JobKey, files: UserFiles, call: Control) -> Answer:
        record, path = _require(files, call.job), files.get_work_folder(call.job) / call.file
        if not call.present:
            path.unlink(missing_ok=True)
            return Done()
        if record.state == "receiving" and call.file == "pause":  # nothing runs, and the rest of the files may come
            return Done()
        is_early = record.state == "receiving" or self._runner.withdraw(key)
        has_best = (path.parent / CHECKPOINT_FILE).exists()  # it waits to go on: its turn makes a version of that
        if is_early and call.file == "cancel" and not has_best:
            files.write(call.job, record.model_copy(update={"state": "ended", "problem": WAS_CANCELLED}))
        elif is_early and call.file == "pause" and record.purpose == "train":
            files.write(call.job, record.model_copy(update={"state": "ended", "problem": "it was paused"}))
        else:
            path.parent.mkdir(exist_ok=True)
            path.touch()
            if is_early and record.state == "waiting":
                self._runner.enqueue(key, record)
        return Done()

    def _follow(self, key: JobKey, files: UserFiles, call: Follow) -> tuple[Answer, bytes]:
        record = files.read(call.job)
        if record is None:
            return JobStatus(state="unknown"), b""
        now = time.time()
        self._runner.note_followed(key)
        if now - record.followed_at > TIDY_S:
            files.write(call.job, record.model_copy(update={"followed_at": now}))
        state = self._runner.get_state(key, record)  # first: then the files of an ended job are complete
        work = files.get_work_folder(call.job)
        events, log = _read_lines(work / EVENTS_FILE, call.events), _read_lines(work / LOG_FILE, call.log)
        place, wait_s = self._runner.find_place(key) if state == "waiting" else (0, None)
        is_read = state == "ended" and not events and not log
        results = files.keep_results(call.job, RESULTS[record.purpose]) if is_read else []
        status = JobStatus(
            state=state,
            place=place,
            wait_s=wait_s,
            n_events=len(events),
            problem=record.problem,
            results=tuple(results),
            server_time=now,
        )
        return status, events + log


def _receive(files: UserFiles, call: Send, payload: bytes) -> Answer:
    file = next((file for file in _require(files, call.job).files if file.sha256 == call.sha256), None)
    if file is None or len(payload) > MAX_CHUNK_BYTES:
        raise MedSegError("the run did not say that it would send this file, or so much of it at once.")
    files.receive(file, call.offset, payload)
    return Done()


def _fetch(files: UserFiles, call: Fetch) -> tuple[Answer, bytes]:
    record = _require(files, call.job)
    if call.name not in RESULTS[record.purpose]:
        raise MedSegError(f"{call.name!r} is no result of a run.")
    with (files.get_work_folder(call.job) / call.name).open("rb") as stream:
        stream.seek(call.offset)
        return Done(), stream.read(MAX_CHUNK_BYTES)


def _require(files: UserFiles, job: str) -> JobRecord:
    record = files.read(job)
    if record is None:
        raise MedSegError("the server does not know this run any more. Start a new one.")
    return record


def _read_lines(path: Path, offset: int) -> bytes:
    """Return whole new lines of a file that grows, at most half a chunk."""
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(MAX_CHUNK_BYTES // 2)
    is_long_line = b"\n" not in data and len(data) == MAX_CHUNK_BYTES // 2
    return data if is_long_line else data[: data.rfind(b"\n") + 1]
