"""The next batch, drawn and brought to a GPU in a thread while the GPU learns from the present one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Batch = TypeVar("Batch")


@contextmanager
def prefetch_batches(make_batch: Callable[[int], Batch], device: torch.device) -> Iterator[Callable[[int], Batch]]:
    """Give a function that returns the same batches as `make_batch`, sooner where steps come one after the other.

    Parameters
    ----------
    make_batch
        Returns the batch of a step; what it returns depends on nothing but the step.
    device
        That learns. On the CPU itself nothing is made ahead: two threads would only take the cores from each other.
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
