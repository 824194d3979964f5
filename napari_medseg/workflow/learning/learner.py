"""The process that adapts after an Accept: one at a time, at the lowest priority, and only while nobody waits."""

import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.decoded_size.limit import make_memory_arguments
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.window_requirements import can_compute, explain_no_computing
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.learning.choice import list_usable
from napari_medseg.workflow.learning.states import AdaptedState, read_state, remove_folder
from napari_medseg.workflow.remote.remote_run import MIRROR, is_remote
from napari_medseg.workflow.remote.run_place import choose_place
from napari_medseg.workflow.workspace import Workspace
from training.adapt.request import (
    END_OPTION,
    LOG_FILE,
    PAUSE_FILE,
    AdaptRequest,
    AdaptResult,
    read_request,
    read_result,
)

logger = logging.getLogger(__name__)

MAX_SECONDS = 300.0
"""An adaptation that takes longer, pauses not counted, is stopped: the computer has no time for it."""
EXIT_SECONDS = 1.0


class AcceptLearner:
    """Runs one adaptation at a time for an open project; all methods are called in the main thread.

    Parameters
    ----------
    ws
        The workspace; `ws.adapted` gets the new states and the messages.
    python
        Path of the Python interpreter.
    """

    def __init__(self, ws: Workspace, python: str = sys.executable) -> None:
        self._ws = ws
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._task = ""
        self._began = self._paused_at = 0.0
        self._told: set[str] = set()

    @property
    def is_running(self) -> bool:
        """Whether a process was started whose result is not used yet."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Process id; `None` if none runs."""
        return None if self._process is None else self._process.pid

    def start(self, task: str, folder: Path, *, paused: bool = False) -> None:
        """Start the process of a folder that `lesson.write_lesson` wrote; with `paused` it waits first.

        Raises
        ------
        MedSegError
            If it cannot be started.
        """
        self.stop()
        if not choose_place(self._ws, folder) and not can_compute():
            remove_folder(folder)
            self._tell_once(explain_no_computing("learn"))
            return
        self._folder, self._task, self._began, self._paused_at = folder, task, time.monotonic(), 0.0
        self.set_paused(paused)
        try:
            self._process = start_process(folder, self._python)
        except OSError as error:
            self._folder = None
            remove_folder(folder)
            raise MedSegError(f"what was accepted cannot be learnt from now: {get_reason(error)}.") from error

    def set_paused(self, paused: bool) -> None:
        """Let the process wait after its present step, or go on: predictions come first."""
        if self._folder is None or paused == bool(self._paused_at):
            return
        with contextlib.suppress(OSError):  # a full disk: the process goes on at the lowest priority
            if paused:
                (self._folder / PAUSE_FILE).touch()
                self._paused_at = time.monotonic()
            else:
                (self._folder / PAUSE_FILE).unlink(missing_ok=True)
                self._began += time.monotonic() - self._paused_at
                self._paused_at = 0.0

    def poll(self) -> AdaptedState | None:
        """Return the new state as soon as the process has ended with one; `ws.adapted` uses it then."""
        process, folder = self._process, self._folder
        if process is None or folder is None:
            return None
        if process.poll() is None:
            if not self._paused_at and time.monotonic() - self._began > MAX_SECONDS:
                self.stop()
                self._tell_once("the computer had no time for it")
            return None
        self._process = self._folder = None
        _close(process)
        state, problem = self._read_outcome(folder)
        if state is None:
            remove_folder(folder)
            self._tell_once(problem)
            return None
        self._told.clear()
        self._ws.adapted.keep(state)
        return self._ws.adapted.get(state.task)

    def stop(self) -> None:
        """End the process; nothing of it is used."""
        process, folder = self._process, self._folder
        self._process = self._folder = None
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_SECONDS)
            _close(process)
        if folder is not None:
            remove_folder(folder)

    def _read_outcome(self, folder: Path) -> tuple[AdaptedState | None, str]:
        """Return the state that a process left; if it cannot be used, `None` and why. Empty: nobody need know."""
        try:
            result, request = read_result(folder), read_request(folder)
        except (MedSegError, OSError):
            return None, f"the process ended early{_read_log_end(folder)}"
        if not result.kept:
            self._drop_untested(request, result)
            return None, result.text
        state = read_state(folder)
        if state is None:
            return None, "the adapted weights are damaged"
        live = self._ws.registry.find_live_card(self._task)
        usable = {correction.id for _, correction in list_usable(list_current_corrections(self._ws, self._task))}
        if live is None or (live.id, live.weights_sha256) != (state.parent, state.parent_sha256):
            return None, ""  # another version is live: its next Accept adapts that
        return (None, "") if not set(request.corrections) <= usable else (state, "")

    def _drop_untested(self, request: AdaptRequest, result: AdaptResult) -> None:
        """Drop the state before, which has seen the validation cases, if a new start is no better on them.

        Else each adaptation would begin anew, and a state that was never compared would go on to draft.
        """
        before, compared = self._ws.adapted.get(self._task), result.validation
        if before is not None and not request.start and compared is not None and compared.adapted < compared.live:
            self._ws.adapted.drop(before)

    def _tell_once(self, problem: str) -> None:
        """Tell a reason once, until an adaptation is kept again: it comes back at each Accept."""
        kind = problem.partition("(")[0]
        if problem and kind not in self._told:
            self._told.add(kind)
            self._ws.adapted.tell(f"The next drafts do not learn from the last case: {problem.rstrip('.')}.")


def start_process(folder: Path, python: str) -> subprocess.Popen[bytes]:
    """Start `python -P -m training.adapt FOLDER`, or the mirror of a server that adapts; raises `OSError`.

    The process ends with this one.
    """
    # -P: a file in the user's folder with the name of a package must not shadow it
    program = [python, "-P", "-X", "utf8", "-m", MIRROR if is_remote(folder) else "training.adapt"]
    command = [*program, str(folder.absolute()), END_OPTION, *make_memory_arguments()]
    with (folder / LOG_FILE).open("ab") as log:
        return _spawn(command, log.fileno())


def _spawn(command: Sequence[str], log: int) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        flags = subprocess.IDLE_PRIORITY_CLASS | subprocess.CREATE_NO_WINDOW
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, creationflags=flags)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _read_log_end(folder: Path) -> str:
    try:
        lines = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    told = [line for line in lines if line.strip() and not line.startswith(" ")]
    return f" ({told[-1].strip()[:200]})" if told else ""
