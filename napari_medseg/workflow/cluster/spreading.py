"""Give tasks to workers a few at a time, and take what they return, whatever dies meanwhile."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.warm_models import UnfitWorkerError

MAX_RETURNS = 4
"""So often a task is given out again after Dask gave it up: the task itself counts how often it began."""
COUNT_EVERY_S = 2.0
AHEAD_PER_THREAD = 2
"""Tasks that wait on each worker, so that none is idle until the client has answered."""


@dataclass(frozen=True)
class TaskEnded:
    """Task `index` returned `answer`, or could not be run for the reason in `problem`."""

    index: int
    answer: Any = None
    problem: str = ""


def spread(cluster: Cluster, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterator[TaskEnded]:
    """Run a task for each of the arguments; yield in the order in which they end. Close it to cancel the others.

    Parameters
    ----------
    cluster
        The workers.
    task
        A function of a module, which workers import.
    arguments
        Plain data for each call.

    Raises
    ------
    MedSegError
        If the scheduler is lost, or no worker is fit for the tasks.
    """
    spreading = _Spreading(cluster, task, arguments)
    try:
        yield from spreading.run()
    finally:
        spreading.cancel()


class _Spreading:
    def __init__(self, cluster: Cluster, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> None:
        from distributed import as_completed

        self._cluster, self._task, self._arguments = cluster, task, arguments
        self._id = uuid.uuid4().hex[:8]
        self._next = 0
        self._running: dict[Any, tuple[int, int]] = {}
        self._completed = as_completed([], loop=cluster.client.loop, raise_errors=False)
        self._unfit: dict[str, str] = {}
        self._n_threads, self._counted_at = 1, float("-inf")

    def run(self) -> Iterator[TaskEnded]:
        self._fill()
        while self._running:
            future = next(self._completed)
            index, n_returns = self._running.pop(future)
            ended = self._take(future, index, n_returns)
            future.release()
            self._fill()
            if ended is not None:
                yield ended

    def cancel(self) -> None:
        """Take back what is not done; a scheduler that is gone has forgotten it."""
        with contextlib.suppress(Exception):  # nothing may hide the error that ends the work
            if self._running:
                self._cluster.client.cancel(list(self._running), force=True)

    def _fill(self) -> None:
        if time.monotonic() - self._counted_at > COUNT_EVERY_S:  # workers come and go
            self._n_threads, self._counted_at = max(1, self._count_threads()), time.monotonic()
        while self._next < len(self._arguments) and len(self._running) < (1 + AHEAD_PER_THREAD) * self._n_threads:
            self._submit(self._next, 0)
            self._next += 1

    def _submit(self, index: int, n_returns: int) -> None:
        workers, loose = None, False
        if self._unfit:
            present, loose = self._cluster.client.nthreads(), True
            workers = [address for address in present if address not in self._unfit]
            if not workers:
                address, reason = next(iter(self._unfit.items()))
                raise MedSegError(f"no worker can do the work. The worker {address}: {reason}")
        future = self._cluster.client.submit(
            self._task,
            *self._arguments[index],
            key=f"medseg-{self._id}-{index}-{n_returns}",
            workers=workers,
            allow_other_workers=loose,  # the address of a worker that is started again is another one
        )
        self._running[future] = (index, n_returns)
        self._completed.add(future)

    def _take(self, future: Any, index: int, n_returns: int) -> TaskEnded | None:  # noqa: ANN401 -- Dask's future
        """Return what became of a task; `None` if it was given out again."""
        from distributed import KilledWorker

        if future.status == "finished":
            return TaskEnded(index, future.result())
        if future.status != "error":
            raise MedSegError(
                f"the connection to the scheduler {self._cluster.address} was lost. What is done stays; start the "
                "scheduler and its workers again, then give the same command: it goes on."
            )
        error = future.exception()
        if isinstance(error, UnfitWorkerError):
            address, reason = error.args
            self._unfit[address] = reason
            self._submit(index, n_returns + 1)
            return None
        if isinstance(error, KilledWorker) and n_returns < MAX_RETURNS:
            self._submit(index, n_returns + 1)
            return None
        what = "the workers that had it ended" if isinstance(error, KilledWorker) else type(error).__name__
        return TaskEnded(index, problem=f"{what}: {error}")

    def _count_threads(self) -> int:
        try:
            return self._cluster.count_threads()
        except (OSError, RuntimeError, TimeoutError):  # the scheduler is lost: its futures say so
            return self._n_threads
