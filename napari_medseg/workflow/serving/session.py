"""What a handler of orders has to work with: one connection of a user, and what all connections of a server share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.protocol import CancelRequest
from napari_medseg.inference.remote.conversation import Conversation, OrderCancelled
from napari_medseg.inference.remote.messages import WireError
from napari_medseg.workflow.serving.fair_queue import FairQueue
from napari_medseg.workflow.serving.limits import MemoryBudget, OrderRate, ServerLimits
from napari_medseg.workflow.serving.version_cache import VersionCache

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, eq=False)
class ServerResources:
    """What all connections of a server share.

    Parameters
    ----------
    folder
        Of the server: `versions/`, `work/` for unfinished things, and what further handlers keep.
    engines
        One for each device; `queue` hands them out.
    """

    folder: Path
    limits: ServerLimits
    engines: tuple[Engine, ...]
    queue: FairQueue[Engine]
    versions: VersionCache
    memory: MemoryBudget
    rate: OrderRate

    @property
    def work_folder(self) -> Path:
        """For files of orders that are served now; it is emptied when a server starts."""
        return self.folder / "work"


@dataclass(frozen=True, eq=False)
class Session:
    """One connection of a user whose token was checked. `user` is the name of the token."""

    user: str
    conversation: Conversation
    server: ServerResources

    async def run_until_cancelled(self, order_id: int, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run a coroutine that only sends, and watch meanwhile whether the window cancels or is gone.

        Raises
        ------
        OrderCancelled
            If the window cancelled; the coroutine was cancelled, too, and has ended.
        LinkLost, WireError
            If the connection broke, or the window sent anything else.
        """
        task = asyncio.create_task(work)
        watch = asyncio.create_task(self._wait_for_cancel(order_id))
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                watch.result()
            return await task
        finally:
            for one in (task, watch):
                one.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _wait_for_cancel(self, order_id: int) -> None:
        while True:
            message = await self.conversation.receive_message()
            if not isinstance(message, CancelRequest):
                raise WireError("a connection serves one order at a time")
            if message.id == order_id:
                raise OrderCancelled


Handler = Callable[[Session, Any], Awaitable[None]]
"""Serves one order until its last answer. It raises `OrderCancelled`, `RemoteRefused` and `MedSegError` for the answers
`CancelledReply`, `RefusedReply` and `ErrorReply`, which the server sends."""
