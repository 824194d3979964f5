"""The link of a run to its server: a connection of its own, made at the first call and again after it broke."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.protocol import ErrorReply
from napari_medseg.inference.remote.address import ServerAddress, parse_address
from napari_medseg.inference.remote.connecting import open_conversation
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import JobOrder, JobReply, LinkLost, RefusedReply, RemoteRefused, WireError
from napari_medseg.workflow.remote.server_settings import ServerSettings
from napari_medseg.workflow.serving.job_calls import MAX_CALL_BYTES, MAX_CHUNK_BYTES
from napari_medseg.workflow.serving.job_service import describe_bytes, receive_bytes, send_bytes

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S = 60.0
END_S = 2.0


class ServerLink:
    """Carries calls about a job; use it as a context. Calls may come from any thread, one at a time.

    Parameters
    ----------
    settings
        The server and the token.
    renew
        Returns the token that is known now; called before each connection, so that a new one ends a refusal.

    Raises
    ------
    MedSegError
        If the address cannot be used.
    """

    def __init__(self, settings: ServerSettings, renew: Callable[[], str] | None = None) -> None:
        self._address = get_address(settings)
        self._renew = renew
        self._token = settings.token.get_secret_value()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link of a run", daemon=True)
        self._turn = threading.Lock()
        self._open: tuple[AsyncExitStack, Conversation] | None = None
        self._n_calls = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(END_S)
        except (OSError, RuntimeError, MedSegError) as error:  # all answers have come: this is no failure
            logger.warning("the connection to %s was not closed properly: %r", self._address.host, error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)

    def call(self, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        """As `link.JobLink.call`."""
        with self._turn:
            return asyncio.run_coroutine_threadsafe(self._call(call, payload), self._loop).result()

    async def _call(self, call: bytes, payload: bytes) -> tuple[bytes, bytes]:
        try:
            return await asyncio.wait_for(self._converse(call, payload), CALL_TIMEOUT_S)
        except TimeoutError as error:
            await self._close()
            raise LinkLost(f"{self._address.host} does not answer") from error
        except (LinkLost, WireError) as error:
            await self._close()
            raise LinkLost(str(error)) from error

    async def _converse(self, call: bytes, payload: bytes) -> tuple[bytes, bytes]:
        conversation = await self._connect()
        self._n_calls += 1
        specs = describe_bytes(call), describe_bytes(payload)
        if specs[0] is None:
            raise ValueError("a call is never empty")
        await conversation.send(JobOrder(id=self._n_calls, call=specs[0], data=specs[1]))
        await send_bytes(conversation, "call", call)
        await send_bytes(conversation, "data", payload)
        reply = await conversation.receive_message()
        if isinstance(reply, RefusedReply):
            raise RemoteRefused(reply.text)
        if isinstance(reply, ErrorReply):
            raise MedSegError(reply.text)
        if not isinstance(reply, JobReply) or (reply.answer is None and not reply.problem):
            raise WireError("the server answered something else")
        if reply.answer is None:
            raise MedSegError(reply.problem)
        answer = await receive_bytes(conversation, "answer", reply.answer, MAX_CALL_BYTES)
        data = b"" if reply.data is None else await receive_bytes(conversation, "data", reply.data, MAX_CHUNK_BYTES)
        return answer, data

    async def _connect(self) -> Conversation:
        if self._open is None:
            self._token = self._token if self._renew is None else self._renew()
            stack = AsyncExitStack()
            conversation, _ = await stack.enter_async_context(open_conversation(self._address, self._token))
            self._open = stack, conversation
        return self._open[1]

    async def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened[0].aclose()


@dataclass(frozen=True)
class ServerCheck:
    """What a server said when it was asked once: its name for the user, its device, its version, and how far it is."""

    host: str
    user: str
    device: str
    program: str
    latency_ms: float
    seconds: float


def check_server(settings: ServerSettings) -> ServerCheck:
    """Connect once, and return what the server says. It takes up to ten seconds: call it in a thread.

    Raises
    ------
    MedSegError
        If it cannot be reached or refuses; the text says why.
    """
    return asyncio.run(_check(get_address(settings), settings.token.get_secret_value()))


def get_address(settings: ServerSettings) -> ServerAddress:
    """Return the address of a server; raise `MedSegError` if it cannot be used."""
    return parse_address(settings.address, Path(settings.ca_file) if settings.ca_file else None)


async def _check(address: ServerAddress, token: str) -> ServerCheck:
    began = time.perf_counter()
    async with open_conversation(address, token) as (conversation, welcome):
        seconds = time.perf_counter() - began
        latency_s = await conversation.measure_latency_s()
    return ServerCheck(address.host, welcome.user, welcome.device, welcome.program, latency_s * 1000, seconds)
