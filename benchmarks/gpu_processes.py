"""The checks of `gpu.py` with other processes: the engine and a retraining, each alone and both on one GPU."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from domains import SAMPLES, BenchmarkSetup, Domain, make_item
from gpu_checks import MAX_KEPT_MB, MIN_AGREEMENT, TIMED_MODEL
from gpu_figures import MB, NO_GPU, Bench, Figure, read_free_bytes
from predictor import make_image
from retraining import make_recipe, make_training_items
from strategies import STRATEGIES

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.core.replay import ReplaySample, read_replay_samples
from napari_medseg.core.snapshot import Role, Snapshot, write_snapshot
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.events import PredictionResult
from training.data.prefetch import prefetch_batches
from training.recipe import read_recipe, write_recipe
from training.run_folder import LOG_FILE, RECIPE_FILE, SNAPSHOT_FILE, EpochEnded, Event, Finished, read_events
from training.run_setup import read_setup

N_HELD_OUT = 4
MAX_OVER_BUDGET = 1.1
MIN_STEPS_PER_S = 4.0
"""Two CPU cores take about one step a second."""
MAX_WAITING_SHARE = 0.3
MAX_IDLE_ENGINE_MB = 1500.0
"""CUDA's context, two networks and the libraries' workspaces, but no cache of tensors."""
MAX_LATENCY_MS = 2000.0
POLL_S = 0.05
TIMEOUT_S = 240.0


class TrainingProcess:
    """`python -P -m training RUN_DIR`, as the window starts it, but ended with this process.

    `taken_mb` is how much GPU memory all processes took at most beyond what was taken at the start, MB.
    """

    def __init__(self, run_dir: Path, bench: Bench) -> None:
        self.run_dir = run_dir
        self.taken_mb = 0.0
        self._measures_memory = bench.has_gpu
        self._free_at_start = read_free_bytes() if bench.has_gpu else 0
        self._deadline = time.monotonic() + TIMEOUT_S
        with (run_dir / LOG_FILE).open("ab") as log:
            command = [sys.executable, "-P", "-m", "training", str(run_dir.absolute())]
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run_dir)

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        return [event for event, _ in read_events(self.run_dir)]

    @property
    def is_running(self) -> bool:
        """Return whether it is running; raise `TimeoutError` if it runs for too long."""
        if self._measures_memory:
            taken = self._free_at_start - torch.cuda.mem_get_info()[0]
            self.taken_mb = max(self.taken_mb, taken / MB)
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"the training process did not end within {TIMEOUT_S:.0f} s")
        return self._popen.poll() is None

    def wait(self, until: type[Event] | None = None) -> int | None:
        """Wait until it ends or reports an event of a kind; return its exit code, `None` while it is running."""
        while self.is_running and not (until and any(isinstance(event, until) for event in self.events)):
            time.sleep(POLL_S)
        return self._popen.returncode

    def kill(self) -> None:
        """End it if it is running."""
        self._popen.kill()
        self._popen.wait()


@contextmanager
def start_training(run_dir: Path, bench: Bench) -> Iterator[TrainingProcess]:
    """Yield a training process; nothing of it is left behind."""
    training = TrainingProcess(run_dir, bench)
    try:
        yield training
    finally:
        training.kill()


def check_retrain(bench: Bench) -> Iterator[Figure]:
    """Time the steps of a retrain one by one; then retrain as the window does, in a process of its own."""
    yield from _profile_steps(make_run(bench, "profile"), bench)
    run_dir = make_run(bench, "retrain")
    free = read_free_bytes() if bench.has_gpu else None
    began = time.monotonic()
    with start_training(run_dir, bench) as training:
        code = training.wait()
        seconds = time.monotonic() - began
        events = training.events
    yield Figure("retrain: exit code", code, at_most=0, note=_read_last_lines(run_dir) if code else "")
    limit = MAX_OVER_BUDGET * bench.sizes.retrain_s if bench.has_gpu else None
    yield Figure("retrain: time", seconds, "s", at_most=limit)
    yield _compute_step_rate(training, bench)
    yield Figure("retrain: result written", sum(isinstance(event, Finished) for event in events), at_least=1)
    losses = [event.train_loss for event in events if isinstance(event, EpochEnded)]
    yield Figure("retrain: last loss", losses[-1] if losses else float("nan"), at_most=10.0)
    if free is None:
        yield Figure("retrain: peak memory", None, note=NO_GPU)
        yield Figure("retrain: memory kept", None, note=NO_GPU)
        return
    yield Figure("retrain: peak memory", training.taken_mb, "MB")
    yield Figure("retrain: memory kept", (free - read_free_bytes()) / MB, "MB", at_most=MAX_KEPT_MB)


def check_engine_and_retrain(bench: Bench) -> Iterator[Figure]:
    """Predict with a warm engine, alone and while a retrain is under way on the same device; both have to finish."""
    image = make_image("slice", bench.sizes.side)
    free = read_free_bytes() if bench.has_gpu else None
    engine = Engine()
    try:
        wanted = _predict(engine, image)[0]
        alone = [_predict(engine, image)[1] for _ in range(bench.sizes.repeats)]
        _predict(engine, make_image("picture", bench.sizes.side))
        yield Figure("prediction of a slice, alone", 1e3 * statistics.median(alone), "ms")
        yield _measure_memory("engine: memory while idle", free, MAX_IDLE_ENGINE_MB)
        with start_training(make_run(bench, "together"), bench) as training:
            training.wait(EpochEnded)
            during = [_predict(engine, image)]
            while training.is_running:
                during.append(_predict(engine, image))
            code = training.wait()
    finally:
        engine.close()
    yield _measure_memory("engine: memory kept after its end", free, MAX_KEPT_MB)
    limit = MAX_LATENCY_MS if bench.has_gpu else None
    median_ms, longest_ms = (1e3 * summary([seconds for _, seconds in during]) for summary in (statistics.median, max))
    yield Figure("prediction of a slice, while training", median_ms, "ms", at_most=limit, note=f"{len(during)} times")
    yield Figure("the slowest of them", longest_ms, "ms")
    agreement = min(float(np.mean(labels == wanted)) for labels, _ in during)
    yield Figure("labels while training", agreement, at_least=MIN_AGREEMENT)
    note = _read_last_lines(training.run_dir) if code else ""
    yield Figure("retrain beside the engine: exit code", code, at_most=0, note=note)
    yield _compute_step_rate(training, bench, is_alone=False)


def make_run(bench: Bench, name: str) -> Path:
    """Fill a run folder with a retrain of the lungs model on bundled X-rays, with its bundled CT to replay."""
    samples = read_replay_samples(SAMPLES, read_card(TIMED_MODEL / CARD_FILE))
    older, new, held_out = (
        tuple(
            make_item(Path(one.image).stem, SAMPLES / one.image, SAMPLES / one.labels, one.group, role)
            for one in chosen
        )
        for role, chosen in _divide_samples(samples, bench.sizes.n_images).items()
    )
    domain = Domain("lungs", TIMED_MODEL, TIMED_MODEL, older, older, (), new, held_out)
    run_dir = bench.work / name
    run_dir.mkdir(parents=True)
    place = BenchmarkSetup(bench.work, bench.work, bench.work, n_threads=None, recipe=bench.sizes.recipe or {})
    strategy = STRATEGIES["default"]
    lessons = (*make_training_items(domain, strategy, domain.new), *domain.new_hold_out)
    write_snapshot(Snapshot(task=domain.task, items=lessons), run_dir / SNAPSHOT_FILE)
    write_recipe(make_recipe(domain, strategy, bench.sizes.retrain_s, 0, place), run_dir / RECIPE_FILE)
    return run_dir


def _divide_samples(samples: Sequence[ReplaySample], n_images: int | None) -> dict[Role, Sequence[ReplaySample]]:
    """Return the CT to replay, and X-rays of different patients for training and for evaluation."""
    xrays = [sample for sample in samples if sample.image.endswith(".jpg")]
    older = [sample for sample in samples if sample not in xrays]
    n_held_out = N_HELD_OUT if n_images is None else n_images
    new, held_out = xrays[:-n_held_out], xrays[-n_held_out:]
    return {Role.REPLAY: older[:n_images], Role.TRAIN: new[:n_images], Role.HOLD_OUT: held_out}


def _profile_steps(run_dir: Path, bench: Bench) -> Iterator[Figure]:
    """Time the three parts of a training step in this process."""
    setup = read_setup(run_dir, time.monotonic())
    learner = setup.learner
    device = learner.device
    rows: list[tuple[float, float, float]] = []
    with prefetch_batches(setup.sample_batch, device) as get_batch:
        until = time.monotonic() + bench.sizes.profile_s
        while time.monotonic() < until or len(rows) < 4:
            step = len(rows)
            times = [time.perf_counter()]
            drawn = get_batch(step)
            times.append(_now(device))
            batch = drawn.make_patches()
            times.append(_now(device))
            learner.step(batch, step, 1.0, setup.batches.n_replayed)
            times.append(_now(device))
            rows.append((times[1] - times[0], times[2] - times[1], times[3] - times[2]))
    waiting, augmenting, learning = np.sum(rows[2:], axis=0)  # the first ones load the libraries
    whole = waiting + augmenting + learning
    limit = MAX_WAITING_SHARE if bench.has_gpu else None
    yield Figure("steps one by one: rate", len(rows[2:]) / whole, "steps/s", note=f"{len(rows)} steps")
    yield Figure("steps one by one: share of waiting for data", waiting / whole, at_most=limit)
    yield Figure("steps one by one: share of augmentation", augmenting / whole)
    yield Figure("steps one by one: share of learning", learning / whole)


def _now(device: torch.device) -> float:
    """Return the time at which the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _predict(engine: Engine, image: Image) -> tuple[np.ndarray, float]:
    """Return the labels (y, x) and the seconds from request to answer."""
    began = time.perf_counter()
    (result,) = (event for event in engine.predict(image, TIMED_MODEL) if isinstance(event, PredictionResult))
    return result.labels, time.perf_counter() - began


def _measure_memory(title: str, free: int | None, at_most_mb: float) -> Figure:
    """Compare the free GPU memory with the value before."""
    if free is None:
        return Figure(title, None, note=NO_GPU)
    return Figure(title, (free - read_free_bytes()) / MB, "MB", at_most=at_most_mb)


def _compute_step_rate(training: TrainingProcess, bench: Bench, is_alone: bool = True) -> Figure:
    """Return the steps per second between the first epoch's end and the last one's, validation included."""
    title = "retrain: rate" if is_alone else "retrain beside the engine: rate"
    ends = [event for event in training.events if isinstance(event, EpochEnded)]
    if len(ends) < 2:
        return Figure(title, float("nan"), "steps/s", at_least=0, note="fewer than two epochs")
    n_steps = (ends[-1].epoch - ends[0].epoch) * read_recipe(training.run_dir / RECIPE_FILE).schedule.steps_per_epoch
    limit = MIN_STEPS_PER_S if bench.has_gpu and is_alone else None
    return Figure(title, n_steps / (ends[-1].seconds - ends[0].seconds), "steps/s", at_least=limit)


def _read_last_lines(run_dir: Path) -> str:
    return " | ".join((run_dir / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()[-3:])
