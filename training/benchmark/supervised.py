"""`python -P -m training.benchmark.supervised COMMAND...`: run a command that ends when its parent does.

A killed worker cannot stop the training that it started, and two trainers of one run folder refuse each other. The
system closes the standard input of this process when the parent ends, however it ends; then the command is killed with
all of its children. The run continues from its checkpoint elsewhere.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run the command in a process group of its own; return its exit code."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
    return process.wait()


def _end_with_parent(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of the standard input, which nobody writes to."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
