"""How a window finds a server and makes a connection: address, certificate authority, token, and what can go wrong."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import ANSWER_FRAME, PROTOCOL, LinkLost, RemoteRefused, WelcomeReply
from napari_medseg.inference.remote.payload import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

DEFAULT_PORT = 8723
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
PING_S = 5.0
"""Between two pings, and for the answer: a server that gives none is gone."""
INSTALL = 'pip install "napari-medseg[remote]"'


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is, and how it shows that it is that server.

    Parameters
    ----------
    host, port
        Name or number of the computer.
    uses_tls
        Whether the connection is encrypted; without, only a server of this computer is used.
    ca_file
        Certificates to trust instead of those of the system, such as the server's own; PEM.
    """

    host: str
    port: int
    uses_tls: bool
    ca_file: Path | None = None

    @property
    def uri(self) -> str:
        """Address of the WebSocket."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.uses_tls else 'ws'}://{host}:{self.port}/"


def parse_address(text: str, ca_file: Path | None = None) -> ServerAddress:
    """Read an address such as ``gpu.example.org:8723`` or ``ws://127.0.0.1:8723``.

    Without a scheme it is `wss`, or `ws` for this computer without a certificate authority.

    Raises
    ------
    MedSegError
        If it is no address, or an unencrypted one of another computer.
    """
    scheme, _, rest = text.strip().rpartition("://")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    except ValueError:
        host, port = "", 0
    if not host or scheme not in ("", "ws", "wss") or parts.path.strip("/") or parts.username or parts.query:
        raise MedSegError(
            f"{text!r} is no address of a server. Write its name and port, such as gpu.example.org:{DEFAULT_PORT}."
        )
    uses_tls = scheme == "wss" or (not scheme and not (is_this_computer(host) and ca_file is None))
    if not uses_tls and not is_this_computer(host):
        raise MedSegError(
            f"{text} would send images and the token unencrypted to another computer. Use wss:// with a certificate, "
            "or an SSH tunnel to a port of this computer; docs/remote.md shows both."
        )
    return ServerAddress(host, port, uses_tls, ca_file)


def is_this_computer(host: str) -> bool:
    """Whether a host is a loopback address or ``localhost``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_websockets() -> None:
    """Raise `MedSegError` with the command that installs websockets, if it is missing."""
    try:
        import websockets.asyncio  # noqa: F401
    except ImportError as error:
        raise MedSegError(f"another computer is reached through websockets, which is missing: {INSTALL}") from error


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
            ping_timeout=PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
        )
    except InvalidStatus as error:
        raise _explain_status(address, error.response.status_code) from error
    except ssl.SSLCertVerificationError as error:
        raise RemoteRefused(
            f"the certificate of {address.host} is not trusted ({error.verify_message}). Ask who runs the server for "
            "its certificate file and choose it with the address."
        ) from error
    except (OSError, TimeoutError, InvalidMessage) as error:
        raise LinkLost(f"{name} cannot be reached: {get_reason(error)}") from error
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
    return RemoteRefused(f"{address.host}:{address.port} is no server of this program (HTTP {status})")
