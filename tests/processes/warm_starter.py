"""Starts `python -P -m training ...` by a fork of a process that has imported torch: no ten seconds of imports.

What it starts is a process of its own, which can be paused, signalled and killed; only its imports are those of the
warm process. `tests/training/test_run_folder.py` starts the real command. Elsewhere than on Linux, all tests do.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

WORDS = ("-P", "-X", "utf8")
PRELOADED = (
    "training.start_builder",
    "training.run_setup",
    "training.loop",
    "training.reports.tensorboard",
    "training.evaluation.hold_out_comparison",
    "training.evaluation.provenance",
    "training.from_folders.base_model",
    "training.adapt.adapter",
)
MAX_ORDER_BYTES = 2**20


class WarmProcess:
    """What `subprocess.Popen` would be, as far as the program and its tests use it."""

    def __init__(self, status: int) -> None:
        self._status = os.fdopen(status, "rb", buffering=0)
        self.returncode: int | None = None
        self.pid = int(self._read_line())
        self.stdin: BinaryIO | None = None

    def __enter__(self) -> "WarmProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdin is not None:
            self.stdin.close()
        self.wait()

    def poll(self) -> int | None:
        """Return its exit code, `None` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code: minus the signal that killed it."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("training", timeout or 0)
            self.returncode = int(self._read_line())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read_line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            if not (read := self._status.read(1)):
                raise RuntimeError("the warm process has ended; its traceback is above")
            line += read
        return line


class WarmStarter:
    """The warm process, started when the first command asks for it, and the commands that it is given."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._lock = threading.Lock()

    def popen(self, command: Sequence[str], **options: Any) -> "WarmProcess | subprocess.Popen[bytes]":
        """Start a command as `subprocess.Popen` does: by a fork if it is a module of this program."""
        words = list(command)
        niceness = int(words[2]) if words[:2] == ["nice", "-n"] else 0
        words = words[3:] if niceness else words
        if "-m" not in words or words[0] != sys.executable or not set(words[1 : words.index("-m")]) <= set(WORDS):
            return subprocess.Popen(command, **options)
        order = {
            "module": words[words.index("-m") + 1],
            "arguments": words[words.index("-m") + 2 :],
            "cwd": str(options.get("cwd") or Path.cwd()),
            "environment": dict(options.get("env") or os.environ),
            "niceness": niceness,
            "new_session": bool(options.get("start_new_session")),
        }
        with self._lock:  # the rows of a benchmark are started by threads
            return self._start(order, [options.get(name) for name in ("stdin", "stdout", "stderr")])

    def close(self) -> None:
        """End the warm process; what it started goes on."""
        if self._channel is not None:
            self._channel.close()

    def _start(self, order: Mapping[str, object], streams: Sequence[Any]) -> WarmProcess:
        if self._channel is None:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            own = [sys.executable, *WORDS, str(Path(__file__).resolve()), str(theirs.fileno())]
            paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
            environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
            subprocess.Popen(own, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
            theirs.close()
        status, theirs_status = os.pipe()
        given = [os.open(os.devnull, os.O_RDWR), theirs_status]
        stdin, stdout, stderr = (given[0] if one in (None, subprocess.DEVNULL) else one for one in streams)
        if stdin == subprocess.PIPE:
            stdin, kept = os.pipe()
            given.append(stdin)
        stderr = stdout if stderr == subprocess.STDOUT else stderr
        numbers = [one if isinstance(one, int) else one.fileno() for one in (stdin, stdout, stderr)]
        socket.send_fds(self._channel, [json.dumps(order).encode()], [*numbers, theirs_status])
        for fd in given:
            os.close(fd)
        process = WarmProcess(status)
        if len(given) == 3:
            process.stdin = os.fdopen(kept, "wb")
        return process


def start_trainings_with(starter: WarmStarter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program start its trainings, adaptations and rows of a benchmark with the warm process."""
    from napari_medseg.workflow import run_control
    from napari_medseg.workflow.learning import learner
    from training.benchmark import runner

    stand_in = types.SimpleNamespace(**{**vars(subprocess), "Popen": starter.popen})
    if sys.platform == "linux":
        for module in (run_control, learner, runner):
            monkeypatch.setattr(module, "subprocess", stand_in)


def serve(channel: socket.socket) -> None:
    """Import what trainings need, then fork a child for each order. Only children return, to run their module."""
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reaps those that wait for the children
    while True:
        words, fds, _, _ = socket.recv_fds(channel, MAX_ORDER_BYTES, 4)
        if not words:
            os._exit(0)
        if os.fork() == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become_child(json.loads(words), fds)
            return
        for fd in fds:
            os.close(fd)


def become_child(order: Mapping[str, Any], fds: Sequence[int]) -> None:
    """Fork once more: this process reports how the new one ends; the new one returns, with its streams and folder."""
    if pid := os.fork():
        os.write(fds[3], f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            os.write(fds[3], f"{code}\n".encode())
        os._exit(0)
    if order["new_session"]:
        os.setsid()
    os.nice(order["niceness"])
    for number in range(3):
        os.dup2(fds[number], number)
    for fd in fds:
        os.close(fd)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    warnings.filterwarnings("ignore", message=".* found in sys.modules")  # it is there, because it was imported early
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    serve(socket.socket(fileno=int(sys.argv[1])))
