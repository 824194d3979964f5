"""`python -P -m training.benchmark.supervised COMMAND...`: run a command that ends when its parent does.

A killed worker cannot stop the training that it started, and two trainers of one run folder refuse each other. The
system closes the standard input of this process when the parent ends, however it ends; then the command is killed with
all of its children. The run continues from its checkpoint elsewhere.

Ctrl+C and a closed terminal signal this process and its parent alike, but not the command, which is in a session of its
own. So they are left to the parent, whose end ends the command.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run the command in a process group of its own; return its exit code. A request to end (SIGTERM) ends both."""
    for name in ("SIGINT", "SIGHUP"):  # handled, not ignored: a command would inherit that it is ignored
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    signal.signal(signal.SIGTERM, _exit)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
        return process.wait()
    except BaseException:
        _kill(process)
        raise


def _exit(number: int, _: object) -> None:
    sys.exit(128 + number)


def _end_with_parent(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of the standard input, which nobody writes to."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the command with all of its children."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
