"""Reads images no faster than the window adds them."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from napari_medseg.plugin.widgets.worker import Worker

Item = TypeVar("Item")

MAX_WAITING = 8
"""Items that are read before the window has added those before."""
WAIT_S = 0.01


def wait_for_window(work: Generator[Item], get_worker: Callable[[], Worker]) -> Generator[Item]:
    """Read no further while the window has images to add: hundreds of them may not fit into memory."""
    with closing(work):
        for item in work:
            while get_worker().n_waiting >= MAX_WAITING and not get_worker().is_stopped:
                time.sleep(WAIT_S)
            yield item
