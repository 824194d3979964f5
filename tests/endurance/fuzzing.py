"""Give damaged files to the program, many in one process, and say what it did with each.

A parent process that has imported everything forks a child, which works through the damages of a family and writes one
line about each. A child that hangs or dies is replaced by another one, which goes on behind that damage.
"""

import json
import logging
import os
import random
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mutations import mutate

from napari_medseg.core import errors
from napari_medseg.core.errors import MedSegError, damage_logger, translate_errors

LONGEST_S = 10
PATIENCE_S = 20.0
MAX_BYTES = 2**30
ROOM_BYTES = 4 * 2**30
"""A child may ask for this much address space above that of its parent; what asks for more is a fault, too."""
MEMORY_BACKED = Path("/dev/shm")
N_EXAMPLES = 25

Use = Callable[[Path], Hashable]


@dataclass(frozen=True)
class Family:
    """Files of one kind, and what the program does with them.

    Parameters
    ----------
    name
        Name on the command line and in the result.
    make
        Writes the intact files into an empty folder, and returns those to damage, relative to it.
    use
        Does with the files of a folder what the program does; returns what it read.
    has_checksum
        Whether a change of this file must be noticed, because a checksum covers it.
    keeps
        Whether the value read is acceptable after damage that a checksum covers; by default only the intact one is.
    """

    name: str
    make: Callable[[Path], list[Path]]
    use: Callable[[Path, Path], Hashable]
    has_checksum: Callable[[Path], bool] = lambda path: False
    keeps: Callable[[Any, Any], bool] = lambda intact, found: intact == found


@dataclass
class FamilyResult:
    """Counts and faults of one family; faults name the number of the damage, by which it can be repeated."""

    family: str
    seed: int
    done: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    peak_bytes: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)


class TookTooLongError(BaseException):
    """Raised by the alarm; no handler of the program may take it for an error of its own."""


def fuzz(
    family: Family, n: int, seed: int, result: FamilyResult, until: float = float("inf")
) -> Iterator[FamilyResult]:
    """Use damages `result.done` to `n`; yield the result after each one that is worth saving."""
    with tempfile.TemporaryDirectory(dir=MEMORY_BACKED if MEMORY_BACKED.is_dir() else None) as top:
        intact = Path(top) / "intact"
        intact.mkdir()
        targets = sorted(family.make(intact))
        while result.done < n and time.monotonic() < until:
            began, before = time.monotonic(), result.done
            for line in _fork_and_listen(family, intact, targets, range(result.done, n), seed):
                _count(result, line)
                result.done = line["number"] + 1
                if time.monotonic() > until:
                    break
            if result.done == before:
                raise RuntimeError(f"{family.name}: nothing was done")
            result.seconds += time.monotonic() - began
            yield result


def list_files(folder: Path, *patterns: str) -> list[Path]:
    """Return the files of these patterns, relative to a folder; there is at least one."""
    found = [path.relative_to(folder) for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    assert found, patterns
    return found


def repeat(family: Family, number: int, seed: int, folder: Path) -> tuple[Path, str]:
    """Write the intact files with one damage into an empty folder; return the damaged file and the kind of damage."""
    targets = sorted(family.make(folder))
    return _damage(family, folder, folder, targets, number, seed)


def _count(result: FamilyResult, line: dict[str, Any]) -> None:
    outcome = line["outcome"]
    result.outcomes = dict(Counter(result.outcomes) + Counter([outcome]))
    result.longest_s = max(result.longest_s, line["seconds"])
    result.peak_bytes = max(result.peak_bytes, line["peak_bytes"])
    if outcome not in ("read", "reported", "refused"):
        key = f"{outcome}: {line['detail'][:160]}"
        result.faults = dict(Counter(result.faults) + Counter([key]))
        if result.faults[key] <= 2 and len(result.examples) < N_EXAMPLES:
            result.examples.append(line)


def _fork_and_listen(
    family: Family, intact: Path, targets: list[Path], numbers: range, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield what the child writes about each damage; the last line is about the one that it died of, if it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        status = 1
        try:
            _work(family, intact, targets, numbers, seed, writer)
            status = 0
        except BaseException:  # noqa: BLE001 - the end of this process
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    said = numbers.start
    ended = ""
    try:
        with os.fdopen(reader, "rb", buffering=0) as stream:
            rest = b""
            while True:
                if not select.select([stream], [], [], PATIENCE_S)[0]:
                    ended = "hang"
                    break
                if not (more := stream.read(1 << 16)):
                    break
                *lines, rest = (rest + more).split(b"\n")
                for line in lines:
                    said += 1
                    yield json.loads(line)
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if said < numbers.stop:
        detail = f"no sign of life for {PATIENCE_S:.0f} s" if ended else f"the process ended with status {status}"
        seconds = PATIENCE_S if ended else 0.0
        yield _line(said, Path(), "?", ended or "crash", seconds, 0, detail)


def _work(family: Family, intact: Path, targets: list[Path], numbers: range, seed: int, pipe: int) -> None:
    _prepare_child()
    folder = intact.with_name("damaged")
    values = {}
    for target in targets:
        _restore(intact, folder)
        try:
            values[target] = family.use(folder, target)
        except MedSegError as error:  # such as a plan of a radiotherapy, which is no image
            values[target] = f"refused: {error}"
    base = _read_memory("VmRSS")
    for number in numbers:
        _restore(intact, folder)
        target, kind = _damage(family, intact, folder, targets, number, seed)
        began = time.monotonic()
        _forget_peak()
        outcome, detail = _observe(family, folder, target, values[target])
        peak = max(0, _read_memory("VmHWM") - base)
        if peak > MAX_BYTES:
            outcome, detail = "memory", f"{peak >> 20} MiB; {outcome}, {detail}"
        line = _line(number, target, kind, outcome, time.monotonic() - began, peak, detail)
        os.write(pipe, json.dumps(line).encode() + b"\n")


def _prepare_child() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TookTooLongError

    signal.signal(signal.SIGALRM, stop)
    logging.disable(logging.NOTSET)
    damage_logger.handlers, damage_logger.propagate = [_Reports()], False
    for name in ("", "nibabel.global"):
        logging.getLogger(name).handlers = [logging.NullHandler()]
    room = _read_memory("VmSize") + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Reports(logging.Handler):
    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        _Reports.count += 1


def _observe(family: Family, folder: Path, target: Path, intact: Hashable) -> tuple[str, str]:
    """Use the folder; return the outcome, and why it is a fault if it is one."""
    errors._reported_damage.clear()
    _Reports.count = 0
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        with translate_errors():
            found = family.use(folder, target)
    except MedSegError as error:
        if _is_out_of_memory(error):
            return "memory", f"asked for more than {ROOM_BYTES >> 20} MiB: {_place(error)}"
        return "refused", ""
    except TookTooLongError as error:
        return "hang", f"more than {LONGEST_S} s in {_place(error)}"
    except Exception as error:  # noqa: BLE001 - whatever escapes is what this looks for
        return "traceback", f"{type(error).__name__} in {_place(error)}: {str(error)[:100]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if _Reports.count:
        return "reported", ""
    if family.has_checksum(target) and not family.keeps(intact, found):
        return "silent change", str(target)
    return "read", ""


def _is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    """Return the last line of our own code, and the last line at all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "napari_medseg" in frame.filename or "/training/" in frame.filename]
    shown = [*own[-1:], *frames[-1:]]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(shown))


def _damage(
    family: Family, intact: Path, folder: Path, targets: list[Path], number: int, seed: int
) -> tuple[Path, str]:
    rng = random.Random(f"{seed}/{family.name}/{number}")
    target = rng.choice(targets)
    kind, content = mutate((intact / target).read_bytes(), rng)
    (folder / target).write_bytes(content)
    return target, kind


def _restore(intact: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(intact, folder, copy_function=shutil.copyfile)


def _line(
    number: int, target: Path, kind: str, outcome: str, seconds: float, peak_bytes: int, detail: str
) -> dict[str, Any]:
    return {
        "number": number,
        "file": target.as_posix(),
        "damage": kind,
        "outcome": outcome,
        "seconds": round(seconds, 3),
        "peak_bytes": peak_bytes,
        "detail": detail,
    }


def _read_memory(name: str) -> int:
    """Return an entry of `/proc/self/status` in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def save(result: FamilyResult, path: Path) -> None:
    """Write a result so that it can be continued; never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(result), indent=1))
    beside.replace(path)


def load(path: Path, family: str, seed: int) -> FamilyResult:
    """Read a result to continue it; a new one if there is none of this seed."""
    if path.exists():
        result = FamilyResult(**json.loads(path.read_text()))
        if result.seed == seed:
            return result
    return FamilyResult(family, seed)
