"""`python tests/endurance/kills.py window|trainer`: end a working process with `kill -9` at random moments.

The window is a real dock, in which strokes are painted and cases accepted; the trainer is a real run of phantoms. A
parent that has imported everything forks each of them, and looks afterwards at what is on the disk.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / folder) for folder in ("endurance", "plugin", "training"))]
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np  # noqa: E402

LONGEST_DELAY_S = {"window": 1.5, "trainer": 2.5}
START_S = 60.0
SLOW_START_S = 30.0
"""After so long, a window that has not started yet writes where it is to stderr."""


@dataclass
class KillResult:
    """What was promised before the kills, and what was missing afterwards."""

    what: str
    seed: int
    kills: int = 0
    ended_by_themselves: int = 0
    strokes: int = 0
    accepted: int = 0
    finished_runs: int = 0
    faults: list[str] = field(default_factory=list)


def digest(labels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels, dtype=np.uint8)).hexdigest()[:16]


def fork(work: Callable[[int], object]) -> tuple[int, int]:
    """Run a function in a child; return its process id and the pipe that it writes to."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    os.close(reader)
    try:
        work(writer)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the end of this process
        traceback.print_exc()
        os._exit(1)


def kill_after(child: int, delay_s: float) -> bool:
    """Kill a child after a delay; return whether it lived until then."""
    until = time.monotonic() + delay_s
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def read_lines(reader: int) -> Iterator[dict[str, object]]:
    """Yield the whole lines that a dead child wrote."""
    with os.fdopen(reader, "rb") as pipe:
        *lines, _ = pipe.read().split(b"\n")
    yield from map(json.loads, lines)


def kill_windows(n: int, seed: int, result: KillResult, until: float) -> Iterator[None]:
    from working_window import check, prepare, work

    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        prepare(folder)
        while result.kills < n and time.monotonic() < until:
            rng = random.Random(f"{seed}/{result.kills}/{result.strokes}")
            child, reader = fork(lambda pipe, first=1000 * result.kills: _work_and_tell(work, folder, pipe, first))
            if not _wait_for_first_line(reader):
                result.faults.append(f"kill {result.kills}: the window did not start")
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reader)
                result.kills += 1
                continue
            if not kill_after(child, rng.uniform(0, LONGEST_DELAY_S["window"])):
                result.faults.append(f"kill {result.kills}: the window ended by itself")
            said = list(read_lines(reader))
            result.strokes += sum(line["what"] == "stroke" for line in said)
            result.accepted += sum(line["what"] == "accepted" for line in said)
            result.faults += [f"kill {result.kills}: {fault}" for fault in check(folder, said)]
            result.kills += 1
            yield


def _work_and_tell(work: Callable[[Path, int, int], object], folder: Path, pipe: int, first: int) -> None:
    """Run a window that says on stderr where it is if it starts slowly; windows are killed long before otherwise."""
    faulthandler.dump_traceback_later(SLOW_START_S)
    work(folder, pipe, first)


def _wait_for_first_line(reader: int) -> bool:
    import select

    return bool(select.select([reader], [], [], START_S)[0])


def kill_trainers(n: int, seed: int, result: KillResult, until: float) -> Iterator[None]:
    from working_trainer import list_faults, make_run, read_result, train

    with tempfile.TemporaryDirectory() as top:
        whole = make_run(Path(top) / "whole")
        child, reader = fork(lambda pipe: train(whole))
        os.close(reader)
        os.waitpid(child, 0)
        expected = read_result(whole)
        while result.kills < n and time.monotonic() < until:
            run_dir = make_run(Path(top) / f"run{result.kills}")
            while result.kills < n:
                rng = random.Random(f"{seed}/{result.kills}/{result.ended_by_themselves}")
                child, reader = fork(lambda pipe, run_dir=run_dir: train(run_dir))
                os.close(reader)
                was_killed = kill_after(child, rng.uniform(0, LONGEST_DELAY_S["trainer"]))
                result.faults += [f"kill {result.kills}: {fault}" for fault in list_faults(run_dir)]
                if not was_killed:
                    result.ended_by_themselves += 1
                    break
                result.kills += 1
            else:
                child, reader = fork(lambda pipe, run_dir=run_dir: train(run_dir))
                os.close(reader)
                os.waitpid(child, 0)
            result.finished_runs += 1
            if (found := read_result(run_dir)) != expected:
                result.faults.append(f"after {result.kills} kills: another result, {found} instead of {expected}")
            yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("window", "trainer"))
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=ROOT / "endurance-output")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"kills-{options.what}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    result = KillResult(**known) if known.get("seed") == options.seed else KillResult(options.what, options.seed)
    do = kill_windows if options.what == "window" else kill_trainers
    for _ in do(options.n, options.seed, result, time.monotonic() + options.minutes * 60):
        path.write_text(json.dumps(asdict(result), indent=1))
    sys.stdout.write(f"{json.dumps(asdict(result))}\n")
    return int(bool(result.faults))


if __name__ == "__main__":
    sys.exit(main())
