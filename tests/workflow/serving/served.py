"""Not a test: a real server on loopback with the light engine, windows of users, and clients that misbehave."""

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, Architecture, ModelCard, Preprocessing, write_card
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.messages import PROTOCOL, PredictOrder, WireMessage
from napari_medseg.inference.remote.ordering import PredictionWanted
from napari_medseg.inference.remote.payload import (
    PREFIX,
    encode_chunk,
    iterate_bytes,
    make_array_header,
    make_file_header,
)
from napari_medseg.workflow.serving.fair_queue import FairQueue
from napari_medseg.workflow.serving.limits import ServerLimits
from napari_medseg.workflow.serving.server import PredictionServer, run_server
from napari_medseg.workflow.serving.session import ServerSettings
from napari_medseg.workflow.serving.tokens import TokenFile

TIMEOUT_S = 20.0


def write_version(folder: Path, weights: bytes = b"weights") -> Path:
    """Write a version that the light engine takes: it loads no weights."""
    card = ModelCard(
        name="light",
        version=1,
        task="lungs",
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    write_card(card, folder / CARD_FILE)
    return folder


def make_image(*shape: int) -> Image:
    """Make an image of noise; a light engine labels what is above 0."""
    pixels = np.random.default_rng(0).normal(0, 400, shape).astype(np.int16)
    return Image(
        pixels, "YX" if len(shape) == 2 else "ZYX", (5.0, 0.7, 0.7)[-len(shape) :], units="HU", name="Doe^John"
    )


def last(events: Iterator[PredictionEvent]) -> PredictionResult:
    """Return the result of a prediction."""
    *_, result = events
    assert isinstance(result, PredictionResult)
    return result


@dataclass(frozen=True)
class Served:
    """A running server."""

    server: PredictionServer
    loop: asyncio.AbstractEventLoop
    tokens: TokenFile
    folder: Path
    scheme: str = "ws"

    @property
    def uri(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.port}/"

    def make_engine(self, token: str, ca_file: Path | None = None) -> RemoteEngine:
        """Make the engine of a window."""
        return RemoteEngine(parse_address(self.uri, ca_file), token)

    @contextmanager
    def hold_engine(self) -> Iterator[FairQueue[Engine]]:
        """Keep the engine busy, so that orders wait; yields the queue."""
        queue, release = self.server._resources.queue, asyncio.Event()
        held = threading.Event()

        async def hold() -> None:
            async with queue.take_turn("somebody else", 1.0, lambda *_: None):
                held.set()
                await release.wait()

        holding = asyncio.run_coroutine_threadsafe(hold(), self.loop)
        assert held.wait(TIMEOUT_S)
        try:
            yield queue
        finally:
            self.loop.call_soon_threadsafe(release.set)
            holding.result(TIMEOUT_S)

    def connect(self, token: str | None, **options: Any) -> ClientConnection:
        """Connect like a program of somebody else."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        options = {"additional_headers": headers, "subprotocols": [PROTOCOL]} | options
        return connect(self.uri, compression=None, proxy=None, max_size=None, close_timeout=1, **options)


@contextmanager
def run_served(
    folder: Path, python: str, limits: ServerLimits | None = None, tokens: TokenFile | None = None, **settings: Any
) -> Iterator[Served]:
    """Run a server in a thread."""
    tokens = tokens or TokenFile(folder / "access" / "tokens.json")
    made = ServerSettings(folder / "server", tokens, python=python, limits=limits or ServerLimits(), **settings)
    running: list[Served] = []
    ready, end = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with run_server(made) as server:
            scheme = "ws" if made.tls is None else "wss"
            running.append(Served(server, asyncio.get_running_loop(), tokens, folder, scheme))
            ready.set()
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT_S)
    try:
        yield running[0]
    finally:
        running[0].loop.call_soon_threadsafe(end.set)
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


class RawWindow:
    """A client that can break every rule of the protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seq = 0
        self.welcome = self.receive()
        self.session = self.welcome["session"]
        self.sent: list[str | bytes] = []

    def receive(self) -> dict[str, Any]:
        """Return the next message, without what is around it."""
        frame = self.connection.recv(TIMEOUT_S)
        assert isinstance(frame, str), "a payload came"
        return json.loads(frame)["message"]

    def receive_kind(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind; others and payloads are skipped."""
        while True:
            frame = self.connection.recv(TIMEOUT_S)
            if isinstance(frame, str) and json.loads(frame)["message"]["kind"] == kind:
                return json.loads(frame)["message"]

    def send(self, message: WireMessage | dict[str, Any], **envelope: Any) -> None:
        """Send a message in an envelope, of which parts can be replaced."""
        content = message.model_dump(mode="json") if isinstance(message, WireMessage) else message
        frame = json.dumps({"seq": self.seq, "session": self.session, "message": content} | envelope)
        self.send_raw(frame)

    def send_raw(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        self.sent.append(frame)
        self.seq += 1
        self.connection.send(frame)

    def send_chunk(self, data: bytes | memoryview, itemsize: int = 1, n_bytes: int | None = None) -> None:
        """Send a part of a payload; `n_bytes` is what it claims to be."""
        codec, packed = encode_chunk(bytes(data), itemsize)
        self.send_raw(PREFIX.pack(self.seq, len(data) if n_bytes is None else n_bytes, codec) + packed)

    def send_array(self, name: str, array: NDArray[Any]) -> None:
        """Send an array as a window does."""
        header, data = make_array_header(name, array)
        self.send(header)
        for piece in iterate_bytes(data):
            self.send_chunk(piece, array.itemsize)

    def send_version(self, folder: Path) -> None:
        """Send the files of a version as a window does."""
        for name in (CARD_FILE, WEIGHTS_FILE):
            self.send(make_file_header(name, folder / name))
            self.send_chunk((folder / name).read_bytes())

    def order(self, image: Image, version: Path, number: int = 1, **changes: Any) -> dict[str, Any]:
        """Send an order and return the answer."""
        order: PredictOrder = PredictionWanted(image, version).make_order(number)
        self.send(order.model_dump(mode="json") | changes)
        return self.receive()

    def predict(self, image: Image, version: Path, number: int = 1) -> None:
        """Send everything that a prediction needs."""
        if self.order(image, version, number)["missing"]:
            self.send_version(version)
        self.send_array("pixels", image.pixels)

    def wait_closed(self) -> tuple[int, str]:
        """Return code and reason with which the server closes the connection."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.connection.recv(TIMEOUT_S)
        return self.connection.close_code or 0, self.connection.close_reason or ""


QUICK = replace(ServerLimits(), max_connections_per_user=300)
