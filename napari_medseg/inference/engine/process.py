"""One engine process: its pipes, its last lines on stderr, and its end."""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import IO

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.engine.interface import EngineUnavailable
from napari_medseg.inference.engine.protocol import (
    CancelledReply,
    CancelRequest,
    ErrorReply,
    EventReply,
    PartWrittenReply,
    PredictRequest,
    Reply,
    Request,
    ResultReply,
    decode_reply,
    encode_message,
)

logger = logging.getLogger(__name__)

N_STDERR_LINES = 40
EXIT_SECONDS = 2.0
POLL_SECONDS = 0.02
CANCEL_SECONDS = 0.3
"""Time limit for the engine to stop before it is killed, so that cancelling takes at most half a second."""

FINAL_REPLIES = (ResultReply, ErrorReply, CancelledReply)


class EngineProcess:
    """A running (or ended) engine.

    Parameters
    ----------
    python
        Path of the Python interpreter.
    on_reply
        Called in the reader thread for every reply, and finally with `None` when the process has ended.
    device
        Name of the device, such as ``cuda:1``; empty for the fastest one that computes.
    runtime
        What a person asks for; see `runtime_names.RuntimeWish`.

    Attributes
    ----------
    is_dying
        The process was killed; `on_reply` is called with `None` when it has ended. It accepts no more requests.
    """

    def __init__(
        self,
        python: str,
        on_reply: Callable[["EngineProcess", Reply | None], None],
        device: str = "",
        runtime: str = "auto",
    ) -> None:
        self._on_reply = on_reply
        self.is_dying = False
        self._stderr_lines: deque[str] = deque(maxlen=N_STDERR_LINES)
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        try:
            self._popen = _spawn(python, device, runtime)
        except OSError as error:
            raise EngineUnavailable(
                f"cannot start {python}: {get_reason(error)}. Install the program again."
            ) from error
        stdout, stderr = _require_pipe(self._popen.stdout), _require_pipe(self._popen.stderr)
        self._stderr_thread = threading.Thread(
            target=self._collect_stderr, args=(stderr,), name="engine stderr", daemon=True
        )
        self._stderr_thread.start()
        threading.Thread(target=self._read_replies, args=(stdout,), name="engine replies", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def stream_replies(
        self, request: PredictRequest, raise_if_cancelled: Callable[[], None], get_cancel_timeout_s: Callable[[], float]
    ) -> Generator[EventReply | PartWrittenReply | ResultReply, None, None]:
        """Send a request and yield its replies; the last one is the result.

        `raise_if_cancelled` is called every few milliseconds. If it raises, or the caller closes the generator, the
        request is cancelled. An engine that does not stop within `get_cancel_timeout_s()` is killed.

        Raises
        ------
        MedSegError
            If the engine reports an error or crashes.
        """
        self._send(request)
        stopped = False
        try:
            while not stopped:
                reply = self._next_reply(raise_if_cancelled)
                stopped = reply is None or isinstance(reply, FINAL_REPLIES)
                if isinstance(reply, EventReply | PartWrittenReply | ResultReply):
                    yield reply
                elif isinstance(reply, ErrorReply):
                    raise MedSegError(reply.text)
                elif reply is None:
                    raise EngineUnavailable(
                        f"the prediction process ended unexpectedly ({self.describe_exit()}). "
                        "It was restarted and nothing is lost: predict again."
                    )
        finally:
            if not stopped:
                self._cancel_or_kill(request.id, get_cancel_timeout_s())

    def close(self) -> None:
        """End the process by closing its stdin; kill it if that does not work."""
        try:
            _require_pipe(self._popen.stdin).close()
            self._popen.wait(EXIT_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._popen.kill()
            self._popen.wait()

    def describe_exit(self) -> str:
        """Return a text that says why the process ended."""
        code = self._popen.wait()
        self._stderr_thread.join(EXIT_SECONDS)
        if code == -getattr(signal, "SIGKILL", 9):
            return "it was killed, perhaps because memory ran out"
        if code < 0:
            return f"signal {-code}"
        return self._stderr_lines[-1] if self._stderr_lines else f"exit status {code}"

    def _send(self, request: Request) -> None:
        """Write a request. A process that has ended is not detected here, but by the final `None` reply."""
        stdin = _require_pipe(self._popen.stdin)
        try:
            stdin.write(encode_message(request))
            stdin.flush()
        except (BrokenPipeError, ValueError, OSError) as error:
            logger.info("the engine does not accept requests any more: %s", error)

    def _next_reply(self, raise_if_cancelled: Callable[[], None]) -> Reply | None:
        while True:
            raise_if_cancelled()
            with contextlib.suppress(queue.Empty):
                return self._replies.get(timeout=POLL_SECONDS)

    def _cancel_or_kill(self, request_id: int, timeout_s: float) -> None:
        """Cancel a request; kill the engine if it does not stop in time, such as during a long forward pass."""
        self._send(CancelRequest(id=request_id))
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                reply = self._replies.get(timeout=left)
                if reply is None or isinstance(reply, FINAL_REPLIES):
                    return
        logger.warning("the engine did not stop within %.2f s and is killed", timeout_s)
        self.is_dying = True
        self._popen.kill()

    def _read_replies(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                self._dispatch_reply(decode_reply(line))
        self._popen.wait()
        self._dispatch_reply(None)

    def _dispatch_reply(self, reply: Reply | None) -> None:
        self._on_reply(self, reply)
        self._replies.put(reply)

    def _collect_stderr(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                if text := line.decode(errors="replace").rstrip():
                    self._stderr_lines.append(text)
                    logger.debug("engine: %s", text)


def _spawn(python: str, device: str, runtime: str) -> subprocess.Popen[bytes]:
    # -P: a file in the user's folder with the name of a package must not shadow it. utf8: its stderr is read as UTF-8.
    command = [python, "-P", "-X", "utf8", "-m", "napari_medseg.inference.engine.server", device, runtime]
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.BELOW_NORMAL_PRIORITY_CLASS | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=flags,
        start_new_session=os.name == "posix",  # Ctrl-C in the window's terminal must not reach the engine
        # torch uses huge pages: large layers are allocated again in every pass, and page faults take up to a quarter of
        # the time (measured with 1024 x 1024 planes)
        env=os.environ | {"THP_MEM_ALLOC_ENABLE": "1"},
    )


def _require_pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the engine was started without pipes")
    return stream
