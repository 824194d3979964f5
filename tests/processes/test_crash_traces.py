import os
import subprocess
import sys
from pathlib import Path

CRASHES = """
import ctypes

def test_one():
    pass

def test_that_crashes():
    ctypes.string_at(0)

def test_two():
    pass
"""


def test_the_stacks_of_a_worker_that_crashed_are_at_the_end_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "test_crash.py").write_text(CRASHES)
    (tmp_path / "conftest.py").write_text(
        "from crash_traces import CrashTraces\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(CrashTraces(config))\n"
    )
    arguments = [
        "-p",
        "xdist",
        "-n",
        "1",
        "-p",
        "no:cacheprovider",
        "-o",
        f"pythonpath={Path(__file__).parent}",
        "--rootdir",
        ".",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # napari's takes 20 s
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "2 passed" in done.stdout
    stacks = done.stdout[done.stdout.index("which crashed") :]
    assert "in test_that_crashes" in stacks
