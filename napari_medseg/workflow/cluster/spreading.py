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
BATCH_S, MAX_BATCH = 1.0, 16
"""Calls shorter than this go out several at a time, because each message takes some milliseconds on both ends."""
UNREADABLE = "Error during deserialization of the task graph"
"""Begins what a scheduler says that cannot import the functions of the tasks."""
SHARES_LEFT = 6
"""A batch is at most the calls that are left, by the threads and by this, so that all threads end together."""


@dataclass(frozen=True)
class TaskEnded:
    """Task `index` returned `answer`, or could not be run for the reason in `problem`."""

    index: int
    answer: Any = None
    problem: str = ""


@dataclass(frozen=True)
class _Batch:
    """Calls that one message gives to one worker, by their indices, and how often they were given out before."""

    indices: tuple[int, ...]
    n_returns: int = 0


def call_each(task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> tuple[list[Any], float]:
    """Call a task for each of the arguments, on a worker; return the answers and the seconds."""
    began = time.monotonic()
    answers = [task(*one) for one in arguments]
    return answers, time.monotonic() - began


def spread(
    cluster: Cluster, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *, in_batches: bool = False
) -> Iterator[TaskEnded]:
    """Run a task for each of the arguments; yield in the order in which they end. Close it to cancel the others.

    Parameters
    ----------
    cluster
        The workers.
    task
        A function of a module, which workers import.
    arguments
        Plain data for each call.
    in_batches
        Whether short calls may go out several at a time. Those of a worker that died are given out again one by one,
        so a call that was answered must know it.

    Raises
    ------
    MedSegError
        If the scheduler is lost, or no worker is fit for the tasks.
    """
    spreading = _Spreading(cluster, task, arguments, MAX_BATCH if in_batches else 1)
    try:
        yield from spreading.run()
    finally:
        spreading.cancel()


class _Spreading:
    def __init__(
        self, cluster: Cluster, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], max_batch: int
    ) -> None:
        from distributed import as_completed

        self._cluster, self._task, self._arguments = cluster, task, arguments
        self._id = uuid.uuid4().hex[:8]
        self._next, self._max_batch, self._call_s = 0, max_batch, BATCH_S
        self._running: dict[Any, _Batch] = {}
        self._completed = as_completed([], loop=cluster.client.loop, raise_errors=False)
        self._unfit: dict[str, str] = {}
        self._n_threads, self._counted_at = 1, float("-inf")

    def run(self) -> Iterator[TaskEnded]:
        self._fill()
        while self._running:
            future = next(self._completed)
            ended = self._take(future, self._running.pop(future))
            future.release()
            self._fill()
            yield from ended

    def cancel(self) -> None:
        """Take back what is not done; a scheduler that is gone has forgotten it."""
        with contextlib.suppress(Exception):  # nothing may hide the error that ends the work
            if self._running:
                self._cluster.client.cancel(list(self._running), force=True)

    def _fill(self) -> None:
        if time.monotonic() - self._counted_at > COUNT_EVERY_S:  # workers come and go
            self._n_threads, self._counted_at = max(1, self._count_threads()), time.monotonic()
        while self._next < len(self._arguments) and len(self._running) < (1 + AHEAD_PER_THREAD) * self._n_threads:
            end = self._next + self._choose_size(len(self._arguments) - self._next)
            self._submit(_Batch(tuple(range(self._next, end))))
            self._next = end

    def _choose_size(self, n_left: int) -> int:
        fair = n_left // (SHARES_LEFT * self._n_threads)
        return max(1, min(self._max_batch, fair, int(BATCH_S / max(self._call_s, 1e-3))))

    def _submit(self, batch: _Batch) -> None:
        workers, loose = None, False
        if self._unfit:
            present, loose = self._cluster.client.nthreads(), True
            workers = [address for address in present if address not in self._unfit]
            if not workers:
                address, reason = next(iter(self._unfit.items()))
                raise MedSegError(f"no worker can do the work. The worker {address}: {reason}")
        future = self._cluster.client.submit(
            call_each,
            self._task,
            [self._arguments[index] for index in batch.indices],
            key=f"medseg-{self._id}-{batch.indices[0]}-{batch.n_returns}",
            workers=workers,
            allow_other_workers=loose,  # the address of a worker that is started again is another one
        )
        self._running[future] = batch
        self._completed.add(future)

    def _take(self, future: Any, batch: _Batch) -> list[TaskEnded]:  # noqa: ANN401 -- Dask's future
        """Return what became of the calls of a batch; nothing if they were given out again."""
        from distributed import KilledWorker

        if future.status == "finished":
            answers, seconds = future.result()
            self._call_s = (self._call_s + seconds / len(answers)) / 2
            return [TaskEnded(index, answer) for index, answer in zip(batch.indices, answers, strict=True)]
        if future.status != "error":
            raise MedSegError(
                f"the connection to the scheduler {self._cluster.address} was lost. What is done stays; start the "
                "scheduler and its workers again, then give the same command: it goes on."
            )
        error = future.exception()
        if isinstance(error, RuntimeError) and str(error).startswith(UNREADABLE):
            raise MedSegError(
                f"the scheduler {self._cluster.address} cannot read the tasks: it lacks this program. Install "
                "napari-medseg[cluster] where the scheduler runs, too, in the same version as here."
            ) from error
        if isinstance(error, UnfitWorkerError):
            address, reason = error.args
            self._unfit[address] = reason
            self._submit(_Batch(batch.indices, batch.n_returns + 1))
        elif len(batch.indices) > 1 or (isinstance(error, KilledWorker) and batch.n_returns < MAX_RETURNS):
            for index in batch.indices:
                self._submit(_Batch((index,), batch.n_returns + 1))
        else:
            what = "the workers that had it ended" if isinstance(error, KilledWorker) else type(error).__name__
            return [TaskEnded(batch.indices[0], problem=f"{what}: {error}")]
        return []

    def _count_threads(self) -> int:
        try:
            return self._cluster.count_threads()
        except (OSError, RuntimeError, TimeoutError):  # the scheduler is lost: its futures say so
            return self._n_threads
