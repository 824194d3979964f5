"""A run folder that mirrors a run on a server: for the window and for commands it looks as if it trained here.

The mirror sends what the run reads, writes events and log into the folder as they come, forwards the files `pause` and
`cancel`, and puts the results there before it writes that the run has finished. If the link breaks, the run goes on at
the server, and the mirror finds it again by the id in `remote.json`; so does the next mirror of the folder. What a
person decides meanwhile is told later, see `untold`.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import CARD_FILE
from napari_medseg.inference.remote.messages import LinkLost, RemoteRefused
from napari_medseg.workflow.remote.link import WAITING, JobLink, ask, describe_wait
from napari_medseg.workflow.remote.mirrored import append_new_lines, count_events, count_lines, get_key, read_line
from napari_medseg.workflow.remote.remote_run import AT_SERVER, describe_cancel, may_have_begun
from napari_medseg.workflow.remote.results import fetch_results
from napari_medseg.workflow.remote.run_files import collect_adaptation, collect_training
from napari_medseg.workflow.remote.untold import leave_decision
from napari_medseg.workflow.remote.upload import Upload
from napari_medseg.workflow.serving.job_calls import (
    WAS_CANCELLED,
    Begin,
    Control,
    Discard,
    Done,
    Follow,
    JobStatus,
    Purpose,
)
from training.run_folder import (
    CANCEL_FILE,
    EXIT_PAUSED,
    PAUSE_FILE,
    Event,
    Failed,
    Finished,
    Notice,
    Paused,
    Started,
    append_event,
    is_cancelled,
    is_paused,
)

logger = logging.getLogger(__name__)

POLL_S = 0.2
RETRY_S = 1.0
REFUSED_RETRY_S = 20.0
T = TypeVar("T")


class _Stopped(Exception):
    """The mirror ends although the run at the server may go on."""


class RunMirror:
    """Mirrors one job in its folder.

    Parameters
    ----------
    folder
        The run folder, or that of an adaptation.
    job
        Its id at the server.
    link
        Carries the calls.
    purpose
        What the folder is.
    patience_s
        How long a lost link is waited for; `None`: as long as nobody cancels.
    ending
        Set from outside to end the mirror, not the job: such as when the computer is shut down.
    """

    def __init__(
        self,
        folder: Path,
        job: str,
        link: JobLink,
        purpose: Purpose = "train",
        patience_s: float | None = None,
        ending: threading.Event | None = None,
    ) -> None:
        self._folder = folder
        self._job = job
        self._link = link
        self._purpose: Purpose = purpose
        self._patience_s = patience_s
        self._ending = ending or threading.Event()
        self._known_events = count_events(folder)
        self._known_lines = count_lines(folder)
        self._has_begun = may_have_begun(folder)
        self._n_events = self._n_log = 0
        self._last: Event | None = None
        self._told = ""
        self._sent_controls: dict[str, bool | None] = {}
        self._is_lost = False

    def run(self) -> int:
        """Mirror until the job has ended; return the exit code of the same run on this computer.

        Raises
        ------
        MedSegError
            If the server refuses something, or its results are damaged.
        """
        try:
            status = self._find_job()
            while status.state != "ended" or not self._is_read(status):
                time.sleep(POLL_S if status.state != "ended" else 0.0)
                self._stop_if_ending()
                self._forward_controls()
                status = self._follow()
                if status.state == "unknown":
                    raise _Stopped("the server does not know the run any more: its jobs were deleted. Train again.")
            return self._end(status)
        except _Stopped as stopped:
            return self._end_alone(str(stopped))

    def discard(self) -> None:
        """Tell the server that nothing of the job is needed, if it can be reached."""
        try:
            ask(self._link, Discard(job=self._job), Done)
        except MedSegError as error:
            logger.info("the server was not told that the job has ended: %s", error)

    def _find_job(self) -> JobStatus:
        """Begin the job, or go on where an earlier mirror stopped."""
        while (status := self._follow()).state == "ended" and not self._is_read(status):
            pass
        if status.state in ("unknown", "receiving"):
            self._send()
            self._begin()
        elif status.state == "ended" and not isinstance(self._last, Finished | Failed) and self._purpose == "train":
            if status.problem == WAS_CANCELLED:
                return status
            self._forward_controls()  # first: a cancelled run makes a version of its checkpoint, and trains no more
            self._begin()  # it was paused, or its process died
        elif status.state in ("waiting", "running"):
            self._sent_controls[PAUSE_FILE] = None  # not known: a window may have told an earlier pause meanwhile
        return self._follow()

    def _send(self) -> None:
        run = collect_training(self._folder) if self._purpose == "train" else collect_adaptation(self._folder)
        if run.left_out:
            self._tell(
                f"{run.left_out} older image{'' if run.left_out == 1 else 's'} of your own folders are not replayed: "
                "their files may name patients, so they stay on this computer"
            )
        upload = Upload(self._link, self._job, run)
        if size := self._reach(upload.count_missing_bytes):
            self._tell(f"sending {size / 1e6:,.1f} MB to the server")
        while not self._reach(upload.is_complete):
            self._stop_if_asked()
            self._reach(upload.send_part)

    def _begin(self) -> None:
        self._tell(AT_SERVER.text)
        self._reach(lambda: ask(self._link, Begin(job=self._job), Done))
        self._has_begun = True

    def _follow(self) -> JobStatus:
        call = Follow(job=self._job, events=self._n_events, log=self._n_log)
        status, data = self._reach(lambda: ask(self._link, call, JobStatus))
        events, log = data[: status.n_events], data[status.n_events :]
        self._is_new = bool(data)
        self._n_events += len(events)
        self._n_log += len(log)
        append_new_lines(self._folder, self._known_lines, log)
        for line in events.splitlines():
            self._take_event(line, status.server_time)
        if status.state == "waiting" and self._purpose == "train":
            self._tell(describe_wait(status))
        elif status.state == "running" and self._told.startswith(WAITING):
            self._tell("the server has begun the run")
        return status

    def _is_read(self, status: JobStatus) -> bool:
        """Whether nothing new came with an ended job: then its results are named."""
        return status.state == "ended" and not self._is_new

    def _take_event(self, line: bytes, server_time: float) -> None:
        if (event := read_line(line)) is None:
            return
        self._last = event
        key = get_key(event)
        if self._known_events[key] > 0:
            self._known_events[key] -= 1
            return
        if isinstance(event, Started):  # the clocks may differ
            event = replace(event, time=time.time() - (server_time - event.time))
        if not isinstance(event, Finished):  # that is written when the results are here
            append_event(self._folder, event)

    def _forward_controls(self) -> None:
        for name in (PAUSE_FILE, CANCEL_FILE):
            is_there = (self._folder / name).exists()
            if is_there != self._sent_controls.get(name, False):
                call = Control(job=self._job, file="pause" if name == PAUSE_FILE else "cancel", present=is_there)
                self._reach(partial(ask, self._link, call, Done))
                self._sent_controls[name] = is_there

    def _end(self, status: JobStatus) -> int:
        names = {file.name for file in status.results}
        if isinstance(self._last, Finished) and self._purpose == "train" and CARD_FILE not in names:
            append_event(self._folder, Failed("the server has no model of the finished run any more. Train again."))
            self.discard()
            return 1
        if self._purpose == "adapt" or isinstance(self._last, Finished):
            self._reach(lambda: fetch_results(self._link, self._job, self._purpose, status.results, self._folder))
            if isinstance(self._last, Finished):
                append_event(self._folder, self._last)
            self.discard()
            return 0 if names else 1
        if isinstance(self._last, Paused) or "paused" in status.problem:
            if not isinstance(self._last, Paused):
                append_event(self._folder, Paused(0, 0, 0.0))
            return EXIT_PAUSED
        if not isinstance(self._last, Failed):
            problem = (status.problem or "it ended without a result").rstrip(".")
            append_event(self._folder, Failed(f"the run on the server: {problem}."))
        self.discard()
        return 1

    def _end_alone(self, reason: str) -> int:
        if is_ending := self._ending.is_set():
            self._tell("this computer does not follow the run any more; what the server has begun goes on there")
        if self._purpose == "adapt":
            return 1
        if is_cancelled(self._folder) and not self._is_lost and not is_ending:
            self.discard()
        elif text := leave_decision(self._folder):
            self._tell(text)
        if is_ending or is_paused(self._folder):
            append_event(self._folder, Paused(0, 0, 0.0))
            return EXIT_PAUSED
        append_event(self._folder, Failed(reason))
        return 1

    def _reach(self, action: Callable[[], T]) -> T:
        """Do something with the server; while it cannot be reached, say so and try again.

        So, too, while it refuses to be asked, as after its certificate expired: what it has begun would be lost.
        """
        lost_at: float | None = None
        while True:
            try:
                done = action()
            except (LinkLost, RemoteRefused) as error:
                is_refused = isinstance(error, RemoteRefused)
                if is_refused and not (self._has_begun and self._purpose == "train"):
                    raise
                lost_at, self._is_lost = time.monotonic() if lost_at is None else lost_at, True
                what = "refuses to be asked" if is_refused else "cannot be reached"
                self._tell(f"the server {what} ({get_reason(error)}); what runs there goes on")
                self._wait(REFUSED_RETRY_S if is_refused else RETRY_S, lost_at)
            else:
                self._is_lost = False
                if lost_at is not None:
                    self._tell("the server is back")
                return done

    def _wait(self, seconds: float, lost_at: float) -> None:
        """Wait before the next attempt; raise `_Stopped` as soon as the user wants an end."""
        ends_at = time.monotonic() + (seconds if self._purpose == "train" else POLL_S)
        self._stop_if_asked(lost_at)
        while (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, RETRY_S))
            self._stop_if_asked(lost_at)

    def _stop_if_ending(self) -> None:
        if self._ending.is_set():
            raise _Stopped("the mirror was ended")

    def _stop_if_asked(self, lost_at: float | None = None) -> None:
        """Raise `_Stopped` if the user asked for an end that the server cannot be told, or that comes before it."""
        self._stop_if_ending()
        if self._purpose == "train" and is_cancelled(self._folder):
            raise _Stopped(describe_cancel(self._folder, is_lost=lost_at is not None))
        if self._purpose == "train" and is_paused(self._folder):
            raise _Stopped("the run was paused")
        if lost_at is not None and self._patience_s is not None and time.monotonic() - lost_at > self._patience_s:
            raise _Stopped("the server cannot be reached")

    def _tell(self, text: str) -> None:
        if text == self._told:
            return
        self._told = text
        logger.info("%s", text)
        if self._purpose == "train":
            append_event(self._folder, Notice(text))
