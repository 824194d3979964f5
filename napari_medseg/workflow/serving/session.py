"""What a handler of orders has to work with: one connection of a user, and what all connections of a server share."""

import asyncio
import itertools
import shutil
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from napari_medseg.core.project.lock import hold_lock
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.protocol import CancelRequest
from napari_medseg.inference.remote.conversation import Conversation, Message, OrderCancelled
from napari_medseg.inference.remote.messages import LinkLost, WireError
from napari_medseg.inference.runtimes.runtime_names import RuntimeWish
from napari_medseg.workflow.serving.fair_queue import FairQueue
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.serving.limits import MemoryBudget, OrderRate, ServerLimits
from napari_medseg.workflow.serving.tokens import TokenFile
from napari_medseg.workflow.serving.version_cache import VersionCache

Outcome = TypeVar("Outcome")
LOCK_FILE = "lock"
NEXT_ORDER_S = 0.5
"""How much earlier than the server a window may know that its order is served."""


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and what it uses.

    Parameters
    ----------
    folder
        For versions, runs and unfinished things; it is locked, so that no other server uses it.
    tokens
        The file of tokens.
    devices
        Such as ``cuda:0``; one engine is started for each. Empty text: the fastest one.
    runtime
        Of devices without a GPU, as a person asked for it.
    python
        Path of the Python interpreter that the engines run in.
    tls
        Certificate and key; `None` for an unencrypted connection.
    takes_trainings
        Whether windows may train, and adapt at Accept; else the server only predicts.
    """

    folder: Path
    tokens: TokenFile
    host: str = "127.0.0.1"
    port: int = 0
    devices: tuple[str, ...] = ("",)
    runtime: RuntimeWish = "auto"
    python: str = sys.executable
    tls: ssl.SSLContext | None = None
    takes_trainings: bool = True
    limits: ServerLimits = field(default_factory=ServerLimits)


@dataclass(eq=False)
class ServerResources:
    """What all connections of a server share.

    Parameters
    ----------
    folder
        Of the server: `versions/`, `work/` for unfinished things, and what further handlers keep.
    engines
        One for each device; `queue` hands them out.
    jobs
        Training runs and adaptations; `None`: the server takes none, or has not begun.
    predicting
        Tasks of predictions, also of those that nobody waits for any more: asyncio itself keeps only weak references.
    numbers
        For names of files in `work_folder`.
    """

    folder: Path
    limits: ServerLimits
    engines: tuple[Engine, ...]
    queue: FairQueue[Engine]
    versions: VersionCache
    memory: MemoryBudget
    rate: OrderRate
    jobs: JobDesk | None = None
    predicting: "set[asyncio.Task[None]]" = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def work_folder(self) -> Path:
        """For files of orders that are served now; it is emptied when a server starts."""
        return self.folder / "work"

    def start_jobs(self, devices: Sequence[str]) -> None:
        """Take training runs, and go on with those of an earlier server."""
        self.jobs = JobDesk(self.folder / "jobs", devices, self.limits)

    def close_jobs(self) -> None:
        """Start no more training runs; those that train go on without the server."""
        if self.jobs is not None:
            self.jobs.close()


def lock_folder(folder: Path) -> AbstractContextManager[None]:
    """Keep the folder of a server for one server; raise `MedSegError` if another one uses it."""
    folder.mkdir(parents=True, exist_ok=True)
    refusal = f"another server uses {folder}. Stop it, or give this one another folder with --folder."
    return hold_lock(folder / LOCK_FILE, 0.0, refusal)


def make_resources(settings: ServerSettings, engines: tuple[Engine, ...]) -> ServerResources:
    """Make what all connections share; call it in the event loop, with the folder locked."""
    limits = settings.limits
    resources = ServerResources(
        folder=settings.folder,
        limits=limits,
        engines=engines,
        queue=FairQueue(list(engines)),
        versions=VersionCache(settings.folder / "versions", limits.max_cache_bytes, limits.max_version_bytes),
        memory=MemoryBudget(limits.max_memory_bytes),
        rate=OrderRate(limits.max_orders_per_minute),
    )
    shutil.rmtree(resources.work_folder, ignore_errors=True)  # what a server left that was killed
    resources.work_folder.mkdir(parents=True)
    return resources


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
            if watch.done():
                await self._act_on_early(watch, task)
            return await task
        finally:
            for one in (task, watch):
                one.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _wait_for_cancel(self, order_id: int) -> Message:
        """Return what came instead of a cancel; raise `OrderCancelled` if that came."""
        while True:
            message = await self.conversation.receive_message()
            if not isinstance(message, CancelRequest):
                return message
            if message.id == order_id:
                raise OrderCancelled

    async def _act_on_early(self, watch: "asyncio.Task[Message]", task: "asyncio.Task[Outcome]") -> None:
        """Raise what the watch raised, or keep the message that it took: the next order of a quick window.

        A window may have read the last answer before `task` has noticed that it was sent. Without this, its next order
        would be lost, and it would wait for ever.
        """
        try:
            message = watch.result()
        except (OrderCancelled, LinkLost):
            if not task.done():
                raise
            return
        await asyncio.wait({task}, timeout=NEXT_ORDER_S)
        if not task.done():
            raise WireError("a connection serves one order at a time")
        self.conversation.put_back(message)


Handler = Callable[[Session, Any], Awaitable[None]]
"""Serves one order until its last answer. It raises `OrderCancelled`, `RemoteRefused` and `MedSegError` for the answers
`CancelledReply`, `RefusedReply` and `ErrorReply`, which the server sends."""
