"""The folder of a training run: its files, its events, and how to pause or cancel the run. No torch here.

All file names of a run are defined here, except those shared with a registry or a project, which are in `core`. A run
writes each event as one line of JSON into `events.jsonl`, because a file survives a crash of the window. An empty file
in the folder pauses or cancels the run; a signal creates this file.
"""

import functools
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from pydantic import TypeAdapter
from pydantic_core import from_json

from napari_medseg.core.atomic_io import MAX_READ_BYTES, remove_unfinished_files
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.model_card import CARD_FILE as CARD_FILE
from napari_medseg.core.model_card import WEIGHTS_FILE as WEIGHTS_FILE
from napari_medseg.core.model_card import WORST_CASE_FILE as WORST_CASE_FILE
from napari_medseg.core.open_folders import watched_folder
from napari_medseg.core.project.lock import hold_lock, is_lock_held
from napari_medseg.core.replay import REPLAY_IMAGES_FILE as REPLAY_IMAGES_FILE
from napari_medseg.core.snapshot import SNAPSHOT_FILE as SNAPSHOT_FILE

RECIPE_FILE = "recipe.json"
START_PLAN_FILE = "start.json"  # what a new network starts from
START_FOLDER = "start"  # the version made from the start plan
LABELS_FOLDER = "labels"  # labels of a run on folders
MODEL_RECIPE_FILE = "base_recipe.json"  # recipe of a row of a benchmark

EVENTS_FILE = "events.jsonl"
LOG_FILE = "log.txt"
SUITE_LOG_FILE = "suite.log"  # output of the process of a benchmark row
PROCESS_FILE, REMOTE_FILE = "process.json", "remote.json"  # the process here; the server that trains
TRAINER_LOCK_FILE = "trainer.lock"  # locked while a process trains in the folder
READ_IMAGES_FILE = "read_images.json"  # the training images that the time budget allowed to read, if not all
LABEL_PROBLEM_FILE = "doubt.txt"  # why training labels may be wrong
EARLIER_COMPARISONS_FILE = "earlier_comparisons.txt"  # how many comparisons the hold-out has served before this run
ENVIRONMENT_FILE = "environment.json"
SPLIT_FILE = "split.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"
CYCLE_PATTERN = "cycle-*.safetensors"  # weights at the ends of cycles

REPORT_FILE, REPORT_DATA_FILE = "report.html", "report.json"  # the page, and what it shows
EVALUATION_TABLE_FILE = "evaluation.csv"
EVALUATION_FILE = "evaluation.json"
EVALUATION_REPORT_FILE = "evaluation.html"
EVALUATION_REQUEST_FILE = "evaluation_request.json"  # asks the run to evaluate its version in full
EXAMPLE_FIGURES_FILE = "example_figures.npz"  # two hold-out cases, for the table of a benchmark
COST_FILE = "cost.json"
TENSORBOARD_FOLDER = "tensorboard"

CANCEL_FILE = "cancel"
PAUSE_FILE = "pause"
EXIT_PAUSED = 3
"""Exit code of a process or command whose run was paused, so that a script can tell it from a finished one."""


@dataclass(frozen=True)
class Started:
    """The run has read its data and starts. Counts are images.

    `time`, in seconds since the Unix epoch, is when the clock of this process began: when the run was requested.
    """

    n_train: int
    n_replay: int
    n_validate: int
    n_hold_out: int
    device: str
    budget_s: float | None
    time: float


@dataclass(frozen=True)
class EpochEnded:
    """One epoch has ended. `val_dice` is the mean Dice on the validation items; `seconds` count from the run's start.

    `rate` is the learning rate of the last step; stages count from 0. `loss_weights` are the weights of the loss terms
    at the end of the epoch, if they change.
    """

    epoch: int
    n_epochs: int
    train_loss: float
    val_dice: float
    best: bool
    seconds: float
    seconds_left: float
    rate: float = 0.0
    stage: int = 0
    loss_weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Considered:
    """A candidate version made from the weights at the ends of cycles; `cost` is its forward passes for one image."""

    name: str
    val_dice: float
    cost: int
    chosen: bool


@dataclass(frozen=True)
class Compared:
    """The old and the new version on one hold-out case: values of `metric`, and the Dice by label name.

    The metric is the mean Dice over labels, or the AJI in an instance task. `group` is the patient, slide or video.
    """

    case: str
    source: str
    old: float
    new: float
    old_per_label: dict[str, float]
    new_per_label: dict[str, float]
    group: str = ""
    metric: str = "Dice"


@dataclass(frozen=True)
class Notice:
    """Information for the user; the run continues."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run has ended: `card.json`, `model.safetensors` and `report.html` exist. If `cancelled`, it ended early."""

    best_epoch: int
    val_dice: float
    cancelled: bool
    seconds: float


@dataclass(frozen=True)
class Paused:
    """The process ends because a pause was requested. The same command resumes the run from here."""

    epoch: int
    step: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The run ended without a model; `message` says what to do."""

    message: str


Event = Started | EpochEnded | Considered | Compared | Notice | Finished | Paused | Failed
EVENT_TYPES: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Started, EpochEnded, Considered, Compared, Notice, Finished, Paused, Failed)
}


def append_event(run_dir: Path, event: Event) -> None:
    """Add one line to the run's `events.jsonl` and flush it. A torn last line is ended first: it costs only itself."""
    line = json.dumps({"event": type(event).__name__, **asdict(event)}).encode() + b"\n"
    with (run_dir / EVENTS_FILE).open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def read_events(run_dir: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield each event from the byte `offset` on, with the offset after it. An incomplete last line is not read.

    A line that is no event, as after a power failure, is reported and skipped. It stays in the file.
    """
    path = run_dir / EVENTS_FILE
    if not path.is_file():
        return
    if path.stat().st_size > MAX_READ_BYTES:
        report_damage(f"{path} is damaged: it has {path.stat().st_size:,} bytes. It is not read.")
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            begin, offset = offset, offset + len(line)
            if line.strip() and (event := _parse_event(line, path, begin)) is not None:
                yield event, offset


def parse_event(line: bytes) -> Event:
    """Return the event of a line; raise `ValueError`, `LookupError`, `TypeError` or `AttributeError` if it is none."""
    fields = from_json(line)
    name = fields.pop("event")
    EVENT_TYPES[name](**fields)  # unknown keys are damage, too, but the validation below ignores them
    return _make_validator(name).validate_python(fields)


def _parse_event(line: bytes, path: Path, begin: int) -> Event | None:
    """Return the event of a line; `None`, and a message to the user, if the line is none."""
    try:
        return parse_event(line)
    except (ValueError, LookupError, TypeError, AttributeError):
        report_damage(
            f"{path} is damaged at byte {begin}: {line[:60].decode(errors='replace').strip()!r} is no event of a run. "
            "It is skipped; nothing else of the run is affected."
        )
        return None


@functools.cache
def _make_validator(name: str) -> TypeAdapter[Event]:
    return TypeAdapter(EVENT_TYPES[name])


def get_events_offset(run_dir: Path) -> int:
    """Return the offset after the events so far; `read_events` with this offset yields only new events."""
    path = run_dir / EVENTS_FILE
    return path.stat().st_size if path.exists() else 0


TRAINER_LOCK_WAIT_S = 2.0  # who asks whether a trainer is at work holds the lock for a moment
TRAINER_AT_WORK = "the run in {} is still under way in another process. Wait for it, or pause or cancel it."
RUN_FOLDER_MOVED = "the run folder {} was renamed, moved or replaced meanwhile. Continue the run where it is now."


@contextmanager
def hold_trainer_lock(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run folder: one process trains there at a time, whatever the clock and process ids say.

    Of the processes of `torchrun`, the first one holds it for all.

    Raises
    ------
    MedSegError
        If another process trains in the folder, or it cannot be written to.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock, moved = run_dir / TRAINER_LOCK_FILE, RUN_FOLDER_MOVED.format(run_dir)
    with hold_lock(lock, TRAINER_LOCK_WAIT_S, TRAINER_AT_WORK.format(run_dir)), watched_folder(run_dir, moved):
        remove_unfinished_files(run_dir)
        yield


def has_trainer(run_dir: Path) -> bool:
    """Whether a process trains in the folder now."""
    return is_lock_held(run_dir / TRAINER_LOCK_FILE)


def ensure_no_trainer(run_dir: Path) -> None:
    """Raise `MedSegError` if a process trains in the folder: a second one would overwrite its checkpoints."""
    if has_trainer(run_dir):
        raise MedSegError(TRAINER_AT_WORK.format(run_dir))


PAUSE_SIGNALS = ("SIGTERM", "SIGUSR1")  # cluster schedulers send them; Windows does not have the second one


def is_cancelled(run_dir: Path) -> bool:
    """Whether the run folder contains the file `cancel`: the run ends, and its best weights so far are the result."""
    return (run_dir / CANCEL_FILE).exists()


def is_paused(run_dir: Path) -> bool:
    """Whether the run folder contains the file `pause`: this process ends, and the same command resumes the run later.

    False for a cancelled run, which cannot be resumed.
    """
    return (run_dir / PAUSE_FILE).exists() and not is_cancelled(run_dir)


@contextmanager
def pause_on_signals(run_dir: Path) -> Iterator[None]:
    """Treat SIGTERM and SIGUSR1 as a request to pause; delete a request that an earlier process left."""
    (run_dir / PAUSE_FILE).unlink(missing_ok=True)
    if threading.current_thread() is not threading.main_thread():  # signals only arrive in the main thread
        yield
        return

    def pause(number: int, frame: FrameType | None) -> None:
        (run_dir / PAUSE_FILE).touch()

    numbers = [getattr(signal, name) for name in PAUSE_SIGNALS if hasattr(signal, name)]
    before = [signal.signal(number, pause) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
