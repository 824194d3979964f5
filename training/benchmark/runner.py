"""Train and score every row of a suite, each in a separate process; completed rows are not repeated.

A row is a run folder named after the row and the hash of its recipe. So a stopped suite can be resumed, and a row whose
recipe has changed is trained again in a new folder.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from napari_medseg.core.decoded_size.limit import make_memory_arguments
from training.benchmark.suite import Suite, SuiteRow, make_folder_name
from training.from_folders.base_recipe import ModelRecipe
from training.run_folder import COST_FILE, EVALUATION_FILE, MODEL_RECIPE_FILE, SUITE_LOG_FILE, Failed, read_events

LOG_TAIL_CHARS = 400
NOT_IN_HASH = {"recipe": {"run": {"device"}}}
"""What the hash of a row leaves out: on another device it is the same row, which is not trained again."""


@dataclass(frozen=True)
class BenchmarkFolders:
    """Folders of a benchmark: images, pretrained encoders, and output."""

    data: Path
    weights: Path
    out: Path


@dataclass(frozen=True)
class PlannedRun:
    """A row with its complete recipe and its run folder."""

    row: SuiteRow
    recipe: ModelRecipe
    run_dir: Path

    @property
    def is_done(self) -> bool:
        """Whether it has been trained and evaluated, and its cost measured."""
        return all((self.run_dir / name).exists() for name in (EVALUATION_FILE, COST_FILE))


@dataclass(frozen=True)
class RowEnded:
    """A row is done, or it failed for the reason in `message`; the other rows continue."""

    planned: PlannedRun
    message: str = ""


def plan_suite_runs(suite: Suite, changes: Sequence[dict[str, object]], out: Path) -> list[PlannedRun]:
    """Return the planned runs of a suite; raise `MedSegError` if a row is not a valid recipe."""
    planned = []
    for row, recipe in suite.build_recipes(changes):
        settings = recipe.model_dump_json(exclude=NOT_IN_HASH)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
        planned.append(PlannedRun(row, recipe, out / "runs" / f"{make_folder_name(row.name)}-{digest}"))
    return planned


def run_rows(
    planned: Sequence[PlannedRun], folders: BenchmarkFolders, n_at_once: int = 1, n_gpus: int = 0
) -> Iterator[RowEnded]:
    """Run the rows that are not done yet.

    Parameters
    ----------
    planned
        Runs from `plan_suite_runs`.
    folders
        Folders of images and encoders.
    n_at_once
        Number of rows that run in parallel; on the CPU they share its cores evenly.
    n_gpus
        Number of GPUs to use, 0 for none.

    Yields
    ------
    RowEnded
        In the order in which rows end; rows completed earlier come first.
    """
    for one in planned:
        if one.is_done:
            yield RowEnded(one)
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(n_at_once):
        slots.put(slot)

    def run(one: PlannedRun) -> RowEnded:
        slot = slots.get()
        try:
            return RowEnded(one, _run_row(one, folders, make_environment(slot, n_at_once, n_gpus)))
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(n_at_once) as pool:
        waiting = [pool.submit(run, one) for one in planned if not one.is_done]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _run_row(one: PlannedRun, places: BenchmarkFolders, environment: dict[str, str]) -> str:
    """Run one row; return its error message if it failed. A keyboard interrupt stops its process, too."""
    one.run_dir.mkdir(parents=True, exist_ok=True)
    recipe = one.run_dir / MODEL_RECIPE_FILE
    recipe.write_text(one.recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    command = [sys.executable, "-P", "-X", "utf8", "-m", "training.from_folders.base_model", "--data", str(places.data)]
    command += ["--weights", str(places.weights), "--recipe", str(recipe), str(one.run_dir), *make_memory_arguments()]
    log = one.run_dir / SUITE_LOG_FILE
    with log.open("ab") as file:
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if ended.returncode == 0:
        return ""
    for event, _ in read_events(one.run_dir):
        if isinstance(event, Failed):
            return event.message
    return (
        log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:].strip() or f"exit code {ended.returncode}"
    )


def make_environment(slot: int, n_at_once: int, n_gpus: int) -> dict[str, str]:
    """Return the environment of a slot, with its own GPU or its share of the CPU cores, so that rows do not compete."""
    environment = dict(os.environ)
    if n_gpus:
        # If a scheduler assigned some of the GPUs, only those may be used; torch counts them from 0.
        lent = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = lent if len(lent) >= n_gpus and all(lent) else [str(number) for number in range(n_gpus)]
        environment["CUDA_VISIBLE_DEVICES"] = names[slot % n_gpus].strip()
    elif n_at_once > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // n_at_once))
        environment["OMP_WAIT_POLICY"] = "passive"
    return environment
