"""Where a server is. Without encryption, only a server of this computer is asked."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from napari_medseg.core.errors import MedSegError

DEFAULT_PORT = 8723


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
