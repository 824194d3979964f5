"""Shared by the benchmarks of retraining: the code of one run, and its lines of results.

Corrections are the reference labels (a perfect annotator, an "oracle") of the sources in `domains.py`.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from domains import BenchmarkSetup, Domain
from strategies import Strategy

from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, round_robin, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from training.evaluation.hold_out_comparison import finish_run, score_base
from training.loop import train
from training.recipe import Recipe, make_fine_tuning_recipe, update_recipe, write_recipe
from training.run_control import RunControl, resume
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE, Event, append_event
from training.run_setup import TrainingSetup, read_setup


def choose_corrected_items(domain: Domain, count: int, seed: int) -> list[SnapshotItem]:
    """Choose the images that the oracle corrects: from as many groups as possible, in an order set by the seed."""
    shuffled = [domain.new[index] for index in np.random.default_rng(seed).permutation(len(domain.new))]
    return [item.model_copy(update={"role": Role.TRAIN}) for item in round_robin(shuffled)[:count]]


def make_recipe(domain: Domain, strategy: Strategy, budget_s: float, seed: int, place: BenchmarkSetup) -> Recipe:
    """Return the recipe of a run."""
    task = get_task(domain.task)
    base = domain.parent if strategy.start == "parent" else domain.encoder
    recipe = make_fine_tuning_recipe(str(base.resolve()), read_card(base / CARD_FILE).name, 2, budget_s, seed)
    look = {"augmentation": {"preset": task.augmentation, "replay_preset": task.replay_augmentation}}
    for changes in (look, {"run": {"n_threads": place.n_threads}}, strategy.recipe, place.recipe):
        recipe = update_recipe(recipe, changes)
    return recipe


def make_training_items(domain: Domain, strategy: Strategy, new: Sequence[SnapshotItem]) -> list[SnapshotItem]:
    """Collect the training data of a strategy; if all data are mixed, one old image is used for validation."""
    older: dict[str, list[SnapshotItem]] = {
        "none": [],
        "sample": list(domain.sample),
        "all": [
            item.model_copy(update={"role": Role.VALIDATE if index == 0 else Role.TRAIN})
            for index, item in enumerate(domain.old)
        ],
    }
    return [*new, *older[strategy.old_data]]


def retrain(run_dir: Path, recipe: Recipe, domain: Domain, items: Sequence[SnapshotItem]) -> tuple[float, float]:
    """Train in this process; return the seconds of reading, and of all that came after, to which the budget applies.

    The clock starts when the images are read, so that strategies with more of them learn as long as the others.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    write_snapshot(Snapshot(task=domain.task, items=tuple(items)), run_dir / SNAPSHOT_FILE)
    write_recipe(recipe, run_dir / RECIPE_FILE)
    began = time.monotonic()
    setup = read_setup(run_dir, began)
    setup.time_budget.started = read = time.monotonic()
    control = resume(setup)
    for event in _train_and_compare(setup, control):
        append_event(run_dir, event)
    return read - began, time.monotonic() - read


def _train_and_compare(setup: TrainingSetup, control: RunControl) -> Iterator[Event]:
    old = yield from score_base(setup)
    yield from train(control)
    yield from finish_run(setup, control.progress, old)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; none if the file does not exist."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def add_row(path: Path, row: Mapping[str, object]) -> None:
    """Add a line in one write, so that two processes may share the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
