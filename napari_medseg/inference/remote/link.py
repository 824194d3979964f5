"""The link of a window to a server: a thread that connects, and connects again when the connection broke."""

import asyncio
import concurrent.futures
import contextlib
import logging
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.remote.address import ServerAddress
from napari_medseg.inference.remote.connecting import open_conversation
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import LinkLost, WelcomeReply

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S, REFUSED_PAUSE_S = 0.5, 10.0, 60.0
"""Between two attempts: doubled each time, and longer if the server said no."""
END_S = 2.0

Outcome = TypeVar("Outcome")


class RemoteLink:
    """Keeps one connection to a server.

    Parameters
    ----------
    address, token
        The server, and what proves who uses it.
    on_change
        Called in the thread of the link whenever it is connected or not.
    """

    def __init__(self, address: ServerAddress, token: str, on_change: Callable[[], None]) -> None:
        self._address = address
        self._token = token
        self._on_change = on_change
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._main: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._conversation: Conversation | None = None
        self.welcome: WelcomeReply | None = None
        self.problem = ""
        self.first_attempt = threading.Event()
        self._has_loop = threading.Event()

    @property
    def is_connected(self) -> bool:
        """Whether the server can be asked now."""
        return self._conversation is not None

    def start(self) -> None:
        """Connect in the background, if the thread does not run."""
        if self._thread is None:
            self.problem = ""
            self.first_attempt.clear()
            self._has_loop.clear()
            self._thread = threading.Thread(target=self._run, name="link to the server", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Close the connection and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._has_loop.wait(END_S)
            if self._loop is not None and self._main is not None:
                with contextlib.suppress(RuntimeError):  # it has just ended by itself
                    self._loop.call_soon_threadsafe(self._main.cancel)
            thread.join(END_S)

    def submit(
        self, converse: Callable[[Conversation, WelcomeReply], Coroutine[Any, Any, Outcome]]
    ) -> "concurrent.futures.Future[Outcome]":
        """Run a coroutine with the connection to itself, in the thread of the link.

        The future raises `LinkLost` if there is no connection. To cancel it cancels the coroutine.
        """
        if self._loop is None or self._thread is None:
            raise LinkLost(self.problem or f"{self._address.host} is not connected")
        return asyncio.run_coroutine_threadsafe(self._converse(converse), self._loop)

    async def _converse(
        self, converse: Callable[[Conversation, WelcomeReply], Coroutine[Any, Any, Outcome]]
    ) -> Outcome:
        async with self._turn:
            if self._conversation is None or self.welcome is None:
                raise LinkLost(self.problem or f"{self._address.host} is not connected")
            return await converse(self._conversation, self.welcome)

    def _run(self) -> None:
        try:
            asyncio.run(self._keep_connected())
        except asyncio.CancelledError:
            pass
        finally:
            self._conversation = None
            self.first_attempt.set()

    async def _keep_connected(self) -> None:
        self._loop, self._main, self._turn = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Lock()
        self._has_loop.set()
        pause = FIRST_PAUSE_S
        while True:
            refused = False
            try:
                async with open_conversation(self._address, self._token) as (conversation, welcome):
                    pause = FIRST_PAUSE_S
                    self._set(conversation, welcome, "")
                    await conversation.wait_closed()
                    self._set(None, welcome, f"the connection to {self._address.host} broke")
            except MedSegError as error:
                refused = not isinstance(error, LinkLost)
                self._set(None, None, str(error))
            finally:
                self._conversation = None
            await asyncio.sleep(REFUSED_PAUSE_S if refused else pause * random.uniform(0.7, 1.3))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _set(self, conversation: Conversation | None, welcome: WelcomeReply | None, problem: str) -> None:
        if problem != self.problem:
            logger.info("link to %s: %s", self._address.host, problem or "connected")
        self._conversation, self.welcome, self.problem = conversation, welcome, problem
        self.first_attempt.set()
        self._on_change()
