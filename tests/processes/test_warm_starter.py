"""What the warm process starts behaves as a process that `subprocess.Popen` starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm_starter
from warm_starter import WarmProcess, WarmStarter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

MODULE = """
import os, sys, time, pathlib
print(sys.argv[1:], os.getcwd(), os.environ.get("MINE"), os.getsid(0) == os.getpid(), os.nice(0), flush=True)
if sys.argv[1] == "read":
    sys.exit(len(sys.stdin.read()))
if sys.argv[1] == "wait":
    pathlib.Path("began").touch()
    time.sleep(60)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def light_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WarmStarter]:
    """A starter whose process imports nothing, and a module `ends_so` that it can run."""
    (tmp_path / "ends_so.py").write_text(MODULE)
    program = Path(warm_starter.__file__).read_text(encoding="utf-8")
    start, end = program.index("PRELOADED = ("), program.index("MAX_ORDER_BYTES")
    folder = tmp_path / "tests" / "processes"
    folder.mkdir(parents=True)
    light = folder / "warm_starter.py"
    light.write_text(f"{program[:start]}PRELOADED = ()\n{program[end:]}")
    monkeypatch.setattr(warm_starter, "__file__", str(light))
    starter = WarmStarter()
    yield starter
    starter.close()


def start(starter: WarmStarter, folder: Path, word: str, **options: object) -> WarmProcess:
    with (folder / "out.txt").open("ab") as out:
        command = ["nice", "-n", "3", sys.executable, "-P", "-X", "utf8", "-m", "ends_so", word]
        process = starter.popen(command, cwd=folder, stdout=out, stderr=out, **options)
    assert isinstance(process, WarmProcess)
    return process


def test_a_process_has_its_words_folder_environment_session_and_exit_code(
    light_starter: WarmStarter, tmp_path: Path
) -> None:
    process = start(light_starter, tmp_path, "3", env={**os.environ, "MINE": "yes"}, start_new_session=True)
    assert process.wait(30) == 3 == process.poll()
    niceness = min(19, os.nice(0) + 3)
    assert (tmp_path / "out.txt").read_text() == f"['3'] {tmp_path} yes True {niceness}\n"
    assert start(light_starter, tmp_path, "0").wait(30) == 0, "the next one starts as well"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_says_by_which_signal(
    light_starter: WarmStarter, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(light_starter, tmp_path, "wait")
    while not (tmp_path / "began").exists():
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(30) == -number
    process.kill()


def test_a_process_notices_the_end_of_its_stdin(light_starter: WarmStarter, tmp_path: Path) -> None:
    process = start(light_starter, tmp_path, "read", stdin=subprocess.PIPE)
    assert process.poll() is None
    assert process.stdin is not None
    process.stdin.write(b"12345")
    process.stdin.close()
    assert process.wait(30) == 5


def test_other_commands_are_started_as_always(light_starter: WarmStarter) -> None:
    process = light_starter.popen([sys.executable, "-c", "import sys; sys.exit(4)"])
    assert isinstance(process, subprocess.Popen)
    assert process.wait(30) == 4
