"""Prefetching: a thread prepares the next batch and moves it to the GPU while the GPU trains on the current one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Batch = TypeVar("Batch")


@contextmanager
def prefetch_batches(make_batch: Callable[[int], Batch], device: torch.device) -> Iterator[Callable[[int], Batch]]:
    """Yield a function that returns the same batches as `make_batch`, but prepares the next step in advance.

    Parameters
    ----------
    make_batch
        Returns the batch of a step; the result depends only on the step.
    device
        Training device. On the CPU nothing is prepared in advance, because two threads would compete for the cores.
    """
    if device.type == "cpu":
        yield make_batch
        return
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming: dict[int, Future[Batch]] = {}

        def batch(step: int) -> Batch:
            made = coming.pop(step, None)
            present = make_batch(step) if made is None else made.result()
            coming.clear()
            coming[step + 1] = pool.submit(make_batch, step + 1)
            return present

        try:
            yield batch
        finally:
            for future in coming.values():
                future.cancel()
