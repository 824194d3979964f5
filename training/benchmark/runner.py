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
_PYTHON = (sys.executable, "-P", "-X", "utf8", "-m")
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
    planned: Sequence[PlannedRun], folders: BenchmarkFolders, n_at_once: int = 1, n_gpus: int = 0, n_per_row: int = 1
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
    n_per_row
        Processes, and GPUs, that train one row together; a step then has as many batches.

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
            environment = make_environment(slot, n_at_once, n_gpus, n_per_row)
            return RowEnded(one, run_row(one.run_dir, one.recipe, folders, environment, n_per_row))
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


def run_row(
    run_dir: Path,
    recipe: ModelRecipe,
    places: BenchmarkFolders,
    environment: dict[str, str],
    n_processes: int = 1,
    *,
    ends_with_this: bool = False,
) -> str:
    """Train and score one row, or continue it; return its error message if it failed.

    Parameters
    ----------
    run_dir, recipe, places, environment
        Its folder and recipe, the folders of the benchmark, and the environment of its processes.
    n_processes
        More than one are started by `torchrun`, one for each GPU.
    ends_with_this
        Whether its processes end if this one is killed, so that another one may continue the row. A keyboard interrupt
        stops them otherwise, too.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    recipe_file, log = run_dir / MODEL_RECIPE_FILE, run_dir / SUITE_LOG_FILE
    recipe_file.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    code = 0
    for command in _list_commands(run_dir, places, n_processes):
        supervised = [*_PYTHON, "training.benchmark.supervised", *command] if ends_with_this else command
        held = subprocess.PIPE if ends_with_this else None
        with (
            log.open("ab") as file,
            subprocess.Popen(supervised, stdin=held, stdout=file, stderr=subprocess.STDOUT, env=environment) as process,
        ):
            code = process.wait()
        if code:
            break
    if code == 0:
        return ""
    for event, _ in read_events(run_dir):
        if isinstance(event, Failed):
            return event.message
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:].strip() or f"exit code {code}"


def _list_commands(run_dir: Path, places: BenchmarkFolders, n_processes: int) -> list[list[str]]:
    """Return the commands of a row: one, or preparation, `torchrun`, and evaluation."""
    whole = [*_PYTHON, "training.from_folders.base_model", "--data", str(places.data), "--weights", str(places.weights)]
    whole += ["--recipe", str(run_dir / MODEL_RECIPE_FILE), str(run_dir), *make_memory_arguments()]
    if n_processes == 1:
        return [whole]
    torchrun = [*_PYTHON, "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)]
    return [[*whole, "--prepare"], [*torchrun, "-m", "training", str(run_dir), *make_memory_arguments()], whole]


def make_environment(slot: int, n_at_once: int, n_gpus: int, n_per_row: int = 1) -> dict[str, str]:
    """Return the environment of a slot, with its own GPUs or its share of the cores, so that rows do not compete."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"} if n_per_row > 1 else dict(os.environ)
    if n_gpus:
        # If a scheduler assigned some of the GPUs, only those may be used; torch counts them from 0.
        lent = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = lent if len(lent) >= n_gpus and all(lent) else [str(number) for number in range(n_gpus)]
        chosen = [names[(slot * n_per_row + number) % n_gpus].strip() for number in range(n_per_row)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    elif n_at_once * n_per_row > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // (n_at_once * n_per_row)))
        environment["OMP_WAIT_POLICY"] = "passive"
    return environment
