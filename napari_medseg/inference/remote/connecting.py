"""How a window makes a connection to a server: certificates, token, and what can go wrong."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.remote.address import ServerAddress
from napari_medseg.inference.remote.conversation import FRAME_TIMEOUT_S, Conversation
from napari_medseg.inference.remote.messages import ANSWER_FRAME, PROTOCOL, LinkLost, RemoteRefused, WelcomeReply
from napari_medseg.inference.remote.payload import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
PING_S = 5.0
PING_TIMEOUT_S = FRAME_TIMEOUT_S
"""For the answer to a ping: a server that gives none is gone. The ping waits behind a frame that is being sent, so it
gets as long as that may take."""
INSTALL = 'pip install "napari-medseg[remote]"'


def require_websockets() -> None:
    """Raise `MedSegError` with the command that installs websockets, if it is missing."""
    try:
        import websockets.asyncio  # noqa: F401
    except ImportError as error:
        raise MedSegError(f"another computer is reached through websockets, which is missing: {INSTALL}") from error


def make_quiet_logger() -> logging.Logger:
    """Return a logger for websockets: its own one writes tokens and pixels where details are logged."""
    quiet = logging.getLogger("napari_medseg.websockets")
    quiet.setLevel(logging.WARNING)
    return quiet


@asynccontextmanager
async def open_conversation(address: ServerAddress, token: str) -> AsyncIterator[tuple[Conversation, WelcomeReply]]:
    """Connect, and close at the end.

    Yields
    ------
    tuple
        The conversation, after the server's first message, and that message.

    Raises
    ------
    LinkLost
        If the server cannot be reached.
    RemoteRefused
        If it does not accept the token or the certificate is not trusted: to try again is of no use.
    MedSegError
        If websockets is missing, or the file of certificates cannot be read.
    """
    connection = await _connect(address, token)
    try:
        conversation = Conversation(connection, ANSWER_FRAME)
        if connection.subprotocol != PROTOCOL:
            raise RemoteRefused(f"{address.host} has another version of this program. Install the same one on both.")
        yield conversation, await _receive_welcome(conversation, address.host)
    finally:
        await connection.close()


async def _connect(address: ServerAddress, token: str) -> "ClientConnection":
    require_websockets()
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException
    from websockets.typing import Subprotocol

    name = f"{address.host}:{address.port}"
    try:
        return await connect(
            address.uri,
            host=address.host,  # given here, so that a redirect to another computer is refused
            port=address.port,
            ssl=_make_ssl_context(address),
            server_hostname=address.host if address.uses_tls else None,
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=[Subprotocol(PROTOCOL)],
            compression=None,
            proxy=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=PING_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=make_quiet_logger(),
        )
    except InvalidStatus as error:
        raise _explain_status(address, error.response.status_code) from error
    except ssl.SSLCertVerificationError as error:
        raise RemoteRefused(
            f"the certificate of {address.host} is not trusted ({error.verify_message}). Ask who runs the server for "
            "its certificate file and choose it with the address; for a command, name it in the variable SSL_CERT_FILE."
        ) from error
    except (OSError, TimeoutError, InvalidMessage) as error:
        raise LinkLost(f"{name} cannot be reached: {_explain_failure(error, address)}") from error
    except (InvalidHandshake, WebSocketException, ValueError) as error:
        raise RemoteRefused(f"{name} is no server of this program: {get_reason(error)}") from error


async def _receive_welcome(conversation: Conversation, host: str) -> WelcomeReply:
    try:
        welcome = await asyncio.wait_for(conversation.receive_message(), OPEN_TIMEOUT_S)
    except TimeoutError as error:
        raise LinkLost(f"{host} does not answer") from error
    if not isinstance(welcome, WelcomeReply):
        raise RemoteRefused(f"{host} does not begin as a server of this program does")
    return welcome


def _make_ssl_context(address: ServerAddress) -> ssl.SSLContext | None:
    if not address.uses_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=None if address.ca_file is None else str(address.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise MedSegError(
            f"{address.ca_file} holds no certificates: {get_reason(error)}. Choose the PEM file of the server."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _explain_status(address: ServerAddress, status: int) -> Exception:
    if status in (401, 403):
        return RemoteRefused(
            f"{address.host} does not accept the token. Ask who runs the server for a new one "
            "(medseg serve token add NAME)."
        )
    if status in (429, 503):
        return LinkLost(f"{address.host} has too many connections now")
    if status >= 500:  # such as of a proxy while the server starts again
        return LinkLost(f"{address.host} cannot answer now (HTTP {status})")
    return RemoteRefused(f"{address.host}:{address.port} is no server of this program (HTTP {status})")


def _explain_failure(error: Exception, address: ServerAddress) -> str:
    """Return why there is no connection, without the words of asyncio."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionResetError | ConnectionAbortedError):
        return f"it ended the connection{'; perhaps it has no TLS' if address.uses_tls else ''}"
    reason = get_reason(error)
    return "no server answers at this address and port" if "Connect call failed" in reason else reason
