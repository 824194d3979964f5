"""The folder of a training run, seen from outside: its files, its events, and how it is paused or cancelled. No torch.

All names of its files are here; those that a registry or a project has, too, are those of `core`. A run writes its
events as one JSON object a line into `events.jsonl`: a file survives a crash of the window. It is paused or cancelled
by an empty file in its folder, or by a signal, which makes such a file.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from napari_medseg.core.model_card import CARD_FILE as CARD_FILE
from napari_medseg.core.model_card import WEIGHTS_FILE as WEIGHTS_FILE
from napari_medseg.core.model_card import WORST_CASE_FILE as WORST_CASE_FILE
from napari_medseg.core.replay import REPLAY_IMAGES_FILE as REPLAY_IMAGES_FILE
from napari_medseg.core.snapshot import SNAPSHOT_FILE as SNAPSHOT_FILE

RECIPE_FILE = "recipe.json"
START_PLAN_FILE = "start.json"  # what a new network starts from
START_FOLDER = "start"  # the version that the run makes of it
LABELS_FOLDER = "labels"  # of a run on folders, as its snapshot names them
MODEL_RECIPE_FILE = "base_recipe.json"  # of a row of a benchmark

EVENTS_FILE = "events.jsonl"
LOG_FILE = "log.txt"
SUITE_LOG_FILE = "suite.log"  # what the process of a row of a benchmark prints
PROCESS_FILE = "process.json"
LABEL_PROBLEM_FILE = "doubt.txt"  # why labels may be wrong that a run learns from
ENVIRONMENT_FILE = "environment.json"
SPLIT_FILE = "split.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"
CYCLE_PATTERN = "cycle-*.safetensors"  # weights at the ends of cycles

REPORT_FILE = "report.html"
EVALUATION_TABLE_FILE = "evaluation.csv"
EVALUATION_FILE = "evaluation.json"
EVALUATION_REPORT_FILE = "evaluation.html"
EVALUATION_REQUEST_FILE = "evaluation_request.json"  # asks the run to evaluate its version in full
EXAMPLE_FIGURES_FILE = "example_figures.npz"  # of two cases of the hold-out, for the table of a benchmark
COST_FILE = "cost.json"
TENSORBOARD_FOLDER = "tensorboard"

CANCEL_FILE = "cancel"
PAUSE_FILE = "pause"
EXIT_PAUSED = 3
"""Exit code of a process or command whose run was paused, so that a script can tell it from a finished one."""


@dataclass(frozen=True)
class Started:
    """The run has read its data and begins. Counts are images; `time` is seconds since the Unix epoch."""

    n_train: int
    n_replay: int
    n_validate: int
    n_hold_out: int
    device: str
    budget_s: float | None
    time: float


@dataclass(frozen=True)
class EpochEnded:
    """One epoch. `val_dice` is the mean Dice on the validation items; `seconds` since the run's start.

    `rate` is the learning rate of its last step; stages count from 0. `loss_weights`: of each term of a loss
    whose weights change, at the epoch's end.
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
    """One of the ways to make a version of the weights at the cycles' ends; `cost` is its forward passes an image."""

    name: str
    val_dice: float
    cost: int
    chosen: bool


@dataclass(frozen=True)
class Compared:
    """Old against new on one hold-out case, by the figure that is named, and the Dice per label name.

    The figure is the mean Dice over labels, of a task of instances the AJI. `group` is the patient, slide or video.
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
    """Something a person should know; the run goes on."""

    text: str


@dataclass(frozen=True)
class Finished:
    """`card.json`, `model.safetensors` and `report.html` are in the folder. `cancelled`: it is the best so far."""

    best_epoch: int
    val_dice: float
    cancelled: bool
    seconds: float


@dataclass(frozen=True)
class Paused:
    """The process ends, as it was told to, and the same command goes on from here; the run is not over."""

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
    """Add one line to the run's `events.jsonl` and flush it."""
    line = json.dumps({"event": type(event).__name__, **asdict(event)})
    with (run_dir / EVENTS_FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_events(run_dir: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield each event from the byte `offset` on, with the offset behind it. A half-written line is left for later."""
    path = run_dir / EVENTS_FILE
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            fields = json.loads(line)
            yield EVENT_TYPES[fields.pop("event")](**fields), offset


def get_events_offset(run_dir: Path) -> int:
    """Return the offset behind what was said so far: whoever reads from there on learns what is new."""
    path = run_dir / EVENTS_FILE
    return path.stat().st_size if path.exists() else 0


PAUSE_SIGNALS = ("SIGTERM", "SIGUSR1")
"""What schedulers of clusters send before they take the machine away; Windows lacks the second."""


def is_cancelled(run_dir: Path) -> bool:
    """Whether the file `cancel` lies in the run folder: the run is over, and its best so far is the result."""
    return (run_dir / CANCEL_FILE).exists()


def is_paused(run_dir: Path) -> bool:
    """Whether the file `pause` lies in the run folder: this process ends, and the same command goes on later.

    A run that is cancelled ends for good.
    """
    return (run_dir / PAUSE_FILE).exists() and not is_cancelled(run_dir)


@contextmanager
def pause_on_signals(run_dir: Path) -> Iterator[None]:
    """Take SIGTERM and SIGUSR1 for a wish to pause; a wish that an earlier process left is forgotten."""
    (run_dir / PAUSE_FILE).unlink(missing_ok=True)
    if threading.current_thread() is not threading.main_thread():  # only there do signals arrive
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
