"""The processes of jobs on a server: one training per device, the users in turn, and jobs that survive the server."""

import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.workflow.learning.learner import start_process
from napari_medseg.workflow.run_control import find_process, is_alive, start_training
from napari_medseg.workflow.run_outcome import find_final_event, read_log_tail
from napari_medseg.workflow.serving.job_calls import JobState, Purpose
from napari_medseg.workflow.serving.job_files import JobRecord, UserFiles, get_device, remove_old_content, set_device
from napari_medseg.workflow.serving.job_queue import QueuedJob, estimate_wait_s, order_fairly
from training.run_folder import CANCEL_FILE

logger = logging.getLogger(__name__)

TURN_S = 0.1
TIDY_S = 600.0
N_ADAPTATIONS = 2
"""Adaptations take one processor core each, and no GPU."""
ALONE_S = 20.0
"""An adaptation that nobody asks for so long is ended: its window is gone."""
MAX_STARTS = 5
EXIT_SECONDS = 2.0

JobKey = tuple[str, str]
"""Folder name of the user, and id of the job."""


class JobRunner:
    """Starts the jobs of all users in a thread, and knows their states; its methods may be called in any thread.

    Parameters
    ----------
    folder
        Where the jobs of all users are kept.
    devices
        Names of the devices that train, such as ``cuda:0``; empty for the fastest one.
    quota_bytes, keep_s
        What is kept for a user, and for how many seconds after a job was asked for last.
    """

    def __init__(self, folder: Path, devices: Sequence[str], quota_bytes: int, keep_s: float) -> None:
        self._folder = folder
        self._devices = tuple(devices)
        self._quota_bytes, self._keep_s = quota_bytes, keep_s
        self._lock = threading.RLock()  # held for moments only
        self._waiting: dict[JobKey, QueuedJob] = {}
        self._running: dict[JobKey, QueuedJob] = {}
        self._processes: dict[JobKey, subprocess.Popen[bytes]] = {}
        self._served_at: dict[str, float] = {}
        self._followed_at: dict[JobKey, float] = {}
        self._tidied_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._find_jobs()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._take_turns, name="jobs", daemon=True)
        self._thread.start()

    def open(self, user: str) -> UserFiles:
        """Return the files of a user."""
        return UserFiles(self._folder / user, self._quota_bytes)

    def enqueue(self, key: JobKey, record: JobRecord) -> None:
        """Let a job wait for its turn."""
        with self._lock:
            self._waiting[key] = QueuedJob(*key, record.purpose, record.queued_at, record.budget_s)

    def withdraw(self, key: JobKey) -> bool:
        """Take a job out of the queue; False if it does not wait."""
        with self._lock:
            return self._waiting.pop(key, None) is not None

    def end(self, key: JobKey) -> None:
        """End a job at once, whatever it does; nothing of it is kept."""
        with self._lock:
            self._waiting.pop(key, None)
            self._running.pop(key, None)
        self._kill(key)

    def note_followed(self, key: JobKey) -> None:
        """Remember that somebody asked for a job."""
        self._followed_at[key] = time.time()

    def get_state(self, key: JobKey, record: JobRecord) -> JobState:
        """Return the state of a job."""
        with self._lock:
            if key in self._running:
                return "running"
            if key in self._waiting:
                return "waiting"
        return "receiving" if record.state == "receiving" else "ended"

    def find_place(self, key: JobKey) -> tuple[int, float | None]:
        """Return the place of a waiting job in the queue, from 1, and how many seconds it waits, if that is known."""
        with self._lock:
            one = self._waiting.get(key)
            if one is None:
                return 0, None
            running = [other for other in self._running.values() if other.purpose == one.purpose]
            waiting = [other for other in self._waiting.values() if other.purpose == one.purpose]
            order = order_fairly(waiting, self._served_at)
        ahead = order[: order.index(one)]
        return len(ahead) + 1, estimate_wait_s(ahead, running, self._count_lanes(one.purpose), time.time())

    def close(self) -> None:
        """Start nothing more. Training runs go on without the server; adaptations end."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            adapting = [key for key, one in self._running.items() if one.purpose == "adapt"]
        for key in adapting:
            self._kill(key)

    def _count_lanes(self, purpose: Purpose) -> int:
        return len(self._devices) if purpose == "train" else N_ADAPTATIONS

    def _take_turns(self) -> None:
        while not self._closed.wait(TURN_S):
            try:
                self._take_turn()
            except (MedSegError, OSError) as error:  # such as a full disk: the next turn tries again
                logger.warning("jobs: %s", error)

    def _take_turn(self) -> None:
        with self._lock:
            running = list(self._running.items())
        for key, one in running:
            with _go_on_after_damage(key[1]):
                self._look_after(key, one)
        purposes: tuple[Purpose, ...] = ("train", "adapt")
        for purpose in purposes:
            if (next_one := self._choose_next(purpose)) is not None:
                self._start(next_one)
        if time.monotonic() - self._tidied_at > TIDY_S:
            self._tidied_at = time.monotonic()
            self._tidy()

    def _look_after(self, key: JobKey, one: QueuedJob) -> None:
        """Notice that a job has ended, and end an adaptation that nobody wants any more."""
        files = self.open(key[0])
        work = files.get_work_folder(key[1])
        child = self._processes.get(key)
        if one.purpose == "adapt" and self._is_unwanted(key, one, work):
            self._kill(key)
        if child is not None and child.poll() is None:
            return
        if one.purpose == "train" and is_alive(work, child):
            return
        try:
            record = files.read(key[1])
        except MedSegError:
            self.end(key)  # the lane is free; its user is told what is damaged
            raise
        if record is None:
            self.end(key)
            return
        record = record.model_copy(update=_describe_end(record, work, is_of_this_server=child is not None))
        files.write(key[1], record)
        with self._lock:
            self._processes.pop(key, None)
            was_running = self._running.pop(key, None) is not None
        if was_running and record.state == "waiting":
            self.enqueue(key, record)
        logger.info("job %s: %s", key[1], record.state)

    def _is_unwanted(self, key: JobKey, one: QueuedJob, work: Path) -> bool:
        last = max(one.began_at, self._followed_at.get(key, 0.0))
        return (work / CANCEL_FILE).exists() or time.time() - last > ALONE_S

    def _choose_next(self, purpose: Purpose) -> QueuedJob | None:
        with self._lock:
            taken = [one.device for one in self._running.values() if one.purpose == purpose]
            waiting = [one for one in self._waiting.values() if one.purpose == purpose]
            if not waiting or len(taken) >= self._count_lanes(purpose):
                return None
            one = order_fairly(waiting, self._served_at)[0]
            del self._waiting[one.key]
            one.began_at = time.time()
            one.device = next((device for device in self._devices if device not in taken), "")
            self._running[one.key], self._served_at[one.user] = one, one.began_at
            return one

    def _start(self, one: QueuedJob) -> None:
        files = self.open(one.user)
        record, work = files.read(one.job), files.get_work_folder(one.job)
        if record is None:  # deleted meanwhile
            self.end(one.key)
            return
        files.write(one.job, record.model_copy(update={"state": "running", "n_starts": record.n_starts + 1}))
        try:
            if one.purpose == "train":
                set_device(work, one.device)
                process = start_training(work)
            else:
                process = start_process(work, sys.executable)
        except (MedSegError, OSError) as error:
            files.write(one.job, record.model_copy(update={"state": "ended", "problem": get_reason(error)}))
            self.end(one.key)
            return
        with self._lock:
            self._processes[one.key] = process
            is_wanted = one.key in self._running
        if not is_wanted:  # its user discarded it meanwhile
            self._kill(one.key)
            files.remove(one.job)
            return
        logger.info("job %s begins as process %d", one.job, process.pid)

    def _kill(self, key: JobKey) -> None:
        with self._lock:
            process = self._processes.pop(key, None)
        if process is None:  # an earlier server started it
            if (left := find_process(self.open(key[0]).get_work_folder(key[1]))) is not None:
                with contextlib.suppress(psutil.Error):
                    left.kill()
                    left.wait(EXIT_SECONDS)  # it writes no more when its files are removed
        elif process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_SECONDS)

    def _find_jobs(self) -> None:
        """Find the jobs of an earlier server: those that run or wait go on."""
        for user, job, record in self._read_all():
            if record.state == "running" and record.purpose == "train":
                began_at = time.time()
                device = get_device(self.open(user).get_work_folder(job))
                one = QueuedJob(user, job, record.purpose, record.queued_at, record.budget_s, began_at, device)
                self._running[user, job] = one
            elif record.state == "running":
                ended = {"state": "ended", "problem": "the server was started again"}
                self.open(user).write(job, record.model_copy(update=ended))
            elif record.state == "waiting":
                self.enqueue((user, job), record)

    def _tidy(self) -> None:
        """Delete jobs that nobody asked for in a long time, and content that nobody used."""
        for user, job, record in self._read_all():
            followed = max(record.followed_at, self._followed_at.get((user, job), 0.0))
            is_idle = self.get_state((user, job), record) in ("ended", "receiving")
            if is_idle and time.time() - followed > self._keep_s:
                self.open(user).remove(job)
        for folder in self._folder.iterdir():
            remove_old_content(folder, self._keep_s)

    def _read_all(self) -> list[tuple[str, str, JobRecord]]:
        users = [path.name for path in self._folder.iterdir() if path.is_dir()]
        found = []
        for user, job in [(name, job) for name in users for job in self.open(name).list_jobs()]:
            with _go_on_after_damage(job):
                if (record := self.open(user).read(job)) is not None:
                    found.append((user, job, record))
        return found


@contextlib.contextmanager
def _go_on_after_damage(job: str) -> Iterator[None]:
    """Log that a job cannot be read, such as one of a newer version: those of the others go on."""
    try:
        yield
    except MedSegError as error:
        logger.warning("job %s is left alone: %s", job, error)


def _describe_end(record: JobRecord, work: Path, *, is_of_this_server: bool) -> dict[str, object]:
    """Return how the record of a job changes whose process has ended.

    One that died with the computer, so without a last event and not before the eyes of this server, waits again: it
    goes on from its checkpoint.
    """
    if record.purpose == "adapt" or find_final_event(work) is not None:
        return {"state": "ended"}
    if not is_of_this_server and record.n_starts < MAX_STARTS:
        return {"state": "waiting"}
    return {"state": "ended", "problem": f"the training process ended without a result: {read_log_tail(work)}"}
