"""The server: who may connect, and one task for each connection that serves its orders one after the other.

Nothing that a connection sends is decoded before its token was found right: that is in the HTTP request which opens it.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.protocol import CancelledReply, CancelRequest, ErrorReply
from napari_medseg.inference.remote.connecting import make_quiet_logger, require_websockets
from napari_medseg.inference.remote.conversation import Conversation, Message, OrderCancelled
from napari_medseg.inference.remote.messages import (
    ORDER_FRAME,
    PROTOCOL,
    LinkLost,
    RefusedReply,
    RemoteRefused,
    WelcomeReply,
    WireError,
)
from napari_medseg.inference.remote.payload import MAX_FRAME_BYTES
from napari_medseg.workflow.serving.handlers import HANDLERS
from napari_medseg.workflow.serving.limits import ConnectionCount, UnprovenConnections, get_host
from napari_medseg.workflow.serving.running_prediction import refuse_for_own_faults, start_engines
from napari_medseg.workflow.serving.session import ServerResources, ServerSettings, Session, lock_folder, make_resources
from napari_medseg.workflow.serving.tokens import StoredToken

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 1.0
"""How often places are told, and tokens are looked at that were revoked meanwhile."""
POLICY_VIOLATION = 1008
BACKLOG = 1024
"""Connections that the system holds until they are accepted. If a flood fills that, a window tries again after 1 s."""


class PredictionServer:
    """Serves windows until its context ends; use `run_server`.

    Attributes
    ----------
    port
        Where it listens; that of the settings, or a free one if that is 0.
    engines
        One for each device.
    n_open_orders
        How many orders are served or wait.
    """

    def __init__(self, settings: ServerSettings, resources: ServerResources) -> None:
        self._settings = settings
        self._resources = resources
        self._counts = ConnectionCount(settings.limits)
        self._users: dict[ServerConnection, StoredToken] = {}
        self._unproven = UnprovenConnections(settings.limits.max_unproven)
        self.n_open_orders = 0
        self.port = settings.port
        self.engines = resources.engines

    @property
    def users(self) -> list[str]:
        """Names of the users of all open connections, sorted."""
        return sorted(token.name for token in self._users.values())

    def check_token(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        """Refuse a connection without a valid token, or above a limit; called before anything else is read."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        token = self._settings.tokens.find_user(text) if kind == "Bearer" else None
        if token is None:
            logger.warning("a connection from %s without a valid token was refused", get_host(connection.transport))
            return connection.respond(HTTPStatus.UNAUTHORIZED, "a valid token is needed\n")
        if not self._counts.may_enter(token.name):
            logger.warning("%s has too many connections, or all together", token.name)
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        self._users[connection] = token
        self._unproven.leave(connection)
        self._counts.enter(token.name)
        return None

    def admit(self, connection: "ServerConnection", line: asyncio.Transport) -> None:
        """Count a connection that has read nothing yet; `line` is its TCP transport, below TLS."""
        self._unproven.enter(connection, line)

    def forget(self, connection: "ServerConnection") -> None:
        """Count a connection that was closed no more."""
        self._unproven.leave(connection)
        if (token := self._users.pop(connection, None)) is not None:
            self._counts.leave(token.name)

    async def serve(self, connection: "ServerConnection") -> None:
        """Serve the orders of one connection until it is closed."""
        user = self._users[connection].name
        logger.info("%s is connected", user)
        timeout_s = self._settings.limits.frame_timeout_s
        conversation = Conversation(connection, ORDER_FRAME, secrets.token_hex(8), timeout_s)
        try:
            await conversation.send(self._make_welcome(conversation.session, user))
            session = Session(user, conversation, self._resources)
            while True:
                await self._serve_one(session, await conversation.receive_message())
        except LinkLost as error:
            logger.info("%s is gone: %s", user, error)
            conversation.abort()
        except WireError as error:
            logger.warning("the connection of %s is closed: %s", user, error)
            await conversation.close(POLICY_VIOLATION, str(error))

    async def keep_house(self) -> None:
        """Tell places and close the connections of revoked tokens, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            self._resources.queue.tell_places()
            try:
                tokens = self._settings.tokens
                revoked = [one for one, token in self._users.items() if not tokens.is_valid(token.id)]
            except MedSegError as error:  # a damaged file: nobody new may come, and who is here stays
                logger.warning("%s", error)
                continue
            closing = (one.close(POLICY_VIOLATION, "the token was revoked") for one in revoked)
            await asyncio.gather(*closing, return_exceptions=True)

    async def _serve_one(self, session: Session, order: Message) -> None:
        if isinstance(order, CancelRequest):  # of an order that had just ended
            return
        handler = HANDLERS.get(type(order))
        order_id = getattr(order, "id", None)
        if handler is None or order_id is None:
            raise WireError("an order was expected")
        self.n_open_orders += 1
        try:
            with refuse_for_own_faults():
                self._resources.rate.count(session.user)
                await handler(session, order)
                self._resources.rate.forget_last(session.user)
        except OrderCancelled:
            await session.conversation.send(CancelledReply(id=order_id))
        except (LinkLost, WireError):
            raise
        except RemoteRefused as error:
            await session.conversation.send(RefusedReply(id=order_id, text=str(error)))
        except MedSegError as error:
            await session.conversation.send(ErrorReply(id=order_id, text=str(error)))
        finally:
            self.n_open_orders -= 1

    def _make_welcome(self, session: str, user: str) -> WelcomeReply:
        engines, limits = self._resources.engines, self._settings.limits
        return WelcomeReply(
            session=session,
            user=user,
            program=version("napari-medseg"),
            device=", ".join(sorted({engine.device for engine in engines if engine.device})),
            cpu_reason=next((engine.cpu_reason for engine in engines if engine.cpu_reason), ""),
            max_image_bytes=limits.max_image_bytes,
            max_version_bytes=limits.max_version_bytes,
            takes_trainings=self._settings.takes_trainings,
        )


@asynccontextmanager
async def run_server(settings: ServerSettings) -> AsyncIterator[PredictionServer]:
    """Serve inside the context; the engines end with it.

    Raises
    ------
    MedSegError
        If websockets is missing, another server uses the folder, or an engine cannot start.
    OSError
        If the port is taken.
    """
    require_websockets()
    with lock_folder(settings.folder):  # before anything in it is read as left by a server that was killed
        engines = tuple(Engine(settings.python, device, settings.runtime) for device in settings.devices)
        resources = make_resources(settings, engines)
        server = PredictionServer(settings, resources)
        house = asyncio.create_task(server.keep_house())
        try:
            async with _bind(server, settings) as listening:
                server.port = next(iter(listening.sockets)).getsockname()[1]
                await start_engines(engines)
                if settings.takes_trainings:
                    resources.start_jobs(settings.devices)
                await listening.start_serving()
                yield server
        finally:
            house.cancel()
            await asyncio.to_thread(resources.close_jobs)
            for engine in engines:
                await asyncio.to_thread(engine.close)


def _bind(server: PredictionServer, settings: ServerSettings) -> "AbstractAsyncContextManager[Server]":
    """Return the context in which the port is taken; connections come in from `start_serving` on."""
    from websockets.asyncio.server import serve
    from websockets.typing import Subprotocol

    limits = settings.limits
    return serve(
        server.serve,
        settings.host,
        settings.port,
        start_serving=False,
        backlog=BACKLOG,
        process_request=server.check_token,
        create_connection=make_connection_class(server, settings.tls, limits.handshake_timeout_s),
        subprotocols=[Subprotocol(PROTOCOL)],
        origins=[None],  # no page in a browser
        compression=None,
        server_header=None,
        max_size=MAX_FRAME_BYTES,
        max_queue=4,
        open_timeout=limits.handshake_timeout_s,
        ping_interval=limits.ping_s,
        ping_timeout=max(limits.ping_s, limits.frame_timeout_s),  # a ping waits behind a frame,
        close_timeout=1.0,
        logger=make_quiet_logger(),
    )


def make_connection_class(
    server: PredictionServer, tls: ssl.SSLContext | None, handshake_timeout_s: float
) -> "type[ServerConnection]":
    """Return a class of connections that the server counts from their first moment to their last.

    They encrypt themselves: if websockets did that, it would make a connection only after the TLS handshake, and who
    never begins with that would be counted nowhere.
    """
    from websockets.asyncio.server import ServerConnection

    class CountedConnection(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            line = cast(asyncio.Transport, transport)
            server.admit(self, line)
            if tls is None:
                super().connection_made(line)
                return
            line.pause_reading()  # what the window sends is for TLS
            line.set_protocol(door := TlsDoor())
            self._encryption = self.loop.create_task(self._encrypt(line, door, tls))

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            server.forget(self)

        async def _encrypt(self, line: asyncio.Transport, door: TlsDoor, context: ssl.SSLContext) -> None:
            transport = await door.encrypt(line, context, handshake_timeout_s)
            if transport is None:
                server.forget(self)
                return
            transport.set_protocol(self)
            super().connection_made(transport)
            if door.early:
                self.data_received(door.early)

    return CountedConnection


class TlsDoor(asyncio.Protocol):
    """Stands for a connection until its TLS handshake is done; `early` is what came together with its last part."""

    def __init__(self) -> None:
        self.early = b""

    def data_received(self, data: bytes) -> None:
        """Keep what the connection is to receive."""
        self.early += data

    async def encrypt(
        self, line: asyncio.Transport, tls: ssl.SSLContext, handshake_timeout_s: float
    ) -> asyncio.Transport | None:
        """Return the encrypted transport; `None` if the other end begins no TLS, another one, or is too slow."""
        transport = None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            if not line.is_closing():
                transport = await loop.start_tls(
                    line, self, tls, server_side=True, ssl_handshake_timeout=handshake_timeout_s
                )
        if transport is None or transport.is_closing():
            line.abort()
            return None
        return transport
