"""A process that adapts ends with the window that started it, and without a fault of its own before that."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, threading, time
from training.adapt.request import wait_for_end_of_stdin

def end():
    wait_for_end_of_stdin()
    os._exit(2)

threading.Thread(target=end, daemon=True).start()
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("closes_stdin", "seconds", "code"), [(False, 0.1, 0), (True, 60.0, 2)])
def test_it_ends_at_its_own_end_or_with_its_window(closes_stdin: bool, seconds: float, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        if closes_stdin:
            process.stdin.close()
        assert (process.wait(30), process.stderr.read()) == (code, "")
