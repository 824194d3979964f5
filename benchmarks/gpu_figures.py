"""Results of the GPU checks: figures with their limits, and the state of each part, as a table and as JSON."""

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

logger = logging.getLogger(__name__)

NO_GPU = "not run: no GPU"
NO_TIME = "not run: no time left"
MB = 1e6


@dataclass(frozen=True)
class Sizes:
    """How much work the parts do.

    Parameters
    ----------
    n_images
        Samples of each task that CPU and GPU label, and that a retrain gets for each of its purposes; all where `None`.
    n_planes
        Planes of the CT among them; all where `None`.
    side
        Of the images that are timed, see `predictor.make_image`: `side` x `side` slices.
    repeats
        How often a call is timed; the median counts.
    models
        Names of the bundled models whose labels are compared; all where empty.
    shortages
        Shares of the memory that a prediction takes, which are all that it gets.
    retrain_s
        Budget of a retrain, seconds.
    profile_s
        How long the steps of training are timed one by one, seconds.
    recipe
        Settings of the recipe that differ from those of the window's retrain, by group.
    """

    n_images: int | None = None
    n_planes: int | None = None
    side: int = 8
    repeats: int = 5
    models: tuple[str, ...] = ()
    shortages: tuple[float, ...] = (0.5, 0.2)
    retrain_s: float = 30.0
    profile_s: float = 8.0
    recipe: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Bench:
    """Where the parts run: ``"cpu"`` or ``"cuda"``, how much they do, and a folder for their files."""

    device: str
    sizes: Sizes
    work: Path

    @property
    def has_gpu(self) -> bool:
        """Whether GPU memory can be measured and limited."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Figure:
    """One measurement; `value` is `None` if it was not made, and `note` gives the reason. Limits are inclusive."""

    name: str
    value: float | None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether it is within its limits; `None` without a value or without limits. NaN never passes."""
        if self.value is None or (self.at_least is None and self.at_most is None):
            return None
        if math.isnan(self.value):
            return False
        low, high = self.at_least, self.at_most
        return (low is None or self.value >= low) and (high is None or self.value <= high)


@dataclass(frozen=True)
class PartResult:
    """What a part measured; `state` is ``"passed"``, ``"failed"``, ``"error"``, `NO_GPU` or `NO_TIME`."""

    name: str
    state: str
    seconds: float
    figures: tuple[Figure, ...] = ()
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state in ("passed", NO_GPU)


Part = Callable[[Bench], Iterator[Figure]]


def run_part(name: str, part: Part, bench: Bench) -> PartResult:
    """Run one part; an error is reported, and the figures measured before it are kept."""
    began = time.monotonic()
    figures: list[Figure] = []
    error = ""
    try:
        for figure in part(bench):
            figures.append(figure)
    except Exception:
        logger.exception("%s", name)
        error = traceback.format_exc()
    failed = any(figure.passed is False for figure in figures)
    state = "error" if error else "failed" if failed else "passed"
    if not error and figures and all(figure.note == NO_GPU for figure in figures):
        state = NO_GPU
    return PartResult(name, state, time.monotonic() - began, tuple(figures), error)


def read_free_bytes() -> int:
    """Return the GPU's free memory, as the driver counts it for all processes, after torch's cache was emptied."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


def measure_peak_mb(work: Callable[[], object]) -> float:
    """Return how much GPU memory the tensors of this process take during a call, beyond those before it, in MB."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MB


def make_report(results: list[PartResult], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain data: the facts of the machine, and of each part its figures with limits."""
    parts = [
        asdict(result) | {"figures": [asdict(figure) | {"passed": figure.passed} for figure in result.figures]}
        for result in results
    ]
    return {**facts, "passed": all(result.is_good for result in results), "parts": parts}


def print_results(results: list[PartResult], console: Console) -> None:
    """Print one table of all figures; a part that raised ends with its error."""
    table = Table("part", "figure", "value", "limit", "result", "note")
    for result in results:
        table.add_section()
        table.add_row(result.name, f"{result.seconds:.0f} s", "", "", result.state, "")
        for figure in result.figures:
            value = "" if figure.value is None else f"{figure.value:.4g} {figure.unit}".rstrip()
            said = {True: "ok", False: "FAILED", None: ""}[figure.passed]
            table.add_row("", figure.name, value, _format_limit(figure), said, escape(figure.note))
        if result.error:
            table.add_row("", "", "", "", "ERROR", escape(result.error.strip().splitlines()[-1]))
    console.print(table)


def _format_limit(figure: Figure) -> str:
    low = "" if figure.at_least is None else f">= {figure.at_least:.4g}"
    high = "" if figure.at_most is None else f"<= {figure.at_most:.4g}"
    return " ".join(filter(None, (low, high)))
