"""One connection between a window and a server, for both ends: messages, arrays and files, in order and only once.

A conversation serves one order at a time. All waiting can be cancelled like that of any coroutine. A payload that was
begun is then unfinished: a window says so by a `CancelRequest`, a server by closing the connection.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from napari_medseg.core.errors import get_reason
from napari_medseg.inference.remote.messages import (
    MAX_TEXT_BYTES,
    Answer,
    AnswerFrame,
    ArraySpec,
    FileNotSent,
    LinkLost,
    Order,
    OrderFrame,
    PayloadHeader,
    WireError,
)
from napari_medseg.inference.remote.payload import (
    MAX_FRAME_BYTES,
    PREFIX,
    ArrayTarget,
    Chunk,
    PayloadReceiver,
    PayloadTarget,
    encode_chunk,
    iterate_bytes,
    iterate_file,
    make_array_header,
    make_file_header,
)

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

FRAME_TIMEOUT_S = 30.0
"""For one frame of at most 1 MiB: an end that is slower than 35 kB/s is given up."""

Message = Order | Answer
Frames = TypeAdapter[OrderFrame] | TypeAdapter[AnswerFrame]


class Conversation:
    """Sends and receives on one connection.

    Parameters
    ----------
    connection
        Of `websockets.asyncio`, open.
    reads
        Decodes the text frames of the other end: `ORDER_FRAME` or `ANSWER_FRAME`.
    session
        Chosen by the server; empty at the window, which learns it from the first frame.
    timeout_s
        For each frame that is sent, and each frame of a payload that is received.
    """

    def __init__(
        self, connection: "Connection", reads: Frames, session: str = "", timeout_s: float = FRAME_TIMEOUT_S
    ) -> None:
        self._connection = connection
        self._reads = reads
        self.session = session
        self._timeout_s = timeout_s
        self._n_sent = self._n_received = 0
        self._early: Message | None = None

    async def send(self, message: Message) -> None:
        """Send a message; raises `LinkLost` if the connection is closed or the other end does not read."""
        text = f'{{"seq":{self._n_sent},"session":"{self.session}","message":{message.model_dump_json()}}}'
        await self._send_frame(text)

    async def receive(self) -> Message | Chunk:
        """Wait for the next message, or the next part of a payload. To cancel this loses nothing.

        Raises
        ------
        LinkLost
            If the connection is closed.
        WireError
            If the frame is no message, too long, out of turn, or of another session.
        """
        from websockets.exceptions import ConnectionClosed

        if (early := self._early) is not None:
            self._early = None
            return early
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as error:
            raise LinkLost(f"the connection was closed ({describe_closing(error)})") from error
        number, self._n_received = self._n_received, self._n_received + 1
        return self._read_chunk(frame, number) if isinstance(frame, bytes) else self._read_message(frame, number)

    def put_back(self, message: Message) -> None:
        """Let the next `receive` return a message that came while something else was waited for."""
        self._early = message

    async def receive_message(self) -> Message:
        """Wait for the next message; raises as `receive`, and `WireError` for a part of a payload."""
        received = await self.receive()
        if isinstance(received, Chunk):
            raise WireError("a part of a payload came without its header")
        return received

    async def send_array(self, name: str, array: NDArray[Any]) -> None:
        """Send an array of any shape and type as a payload."""
        header, data = await asyncio.to_thread(make_array_header, name, array)
        await self.send(header)
        await self._send_chunks(iterate_bytes(data), array.dtype.itemsize)

    async def send_file(self, name: str, path: Path, sha256: str = "") -> None:
        """Send a file as a payload.

        Raises
        ------
        FileNotSent
            If it cannot be read, becomes shorter meanwhile, or has not the hash that was announced.
        """
        try:
            with path.open("rb") as file:
                header = await asyncio.to_thread(make_file_header, name, path)
                if sha256 not in ("", header.sha256):
                    raise FileNotSent(f"{path} is damaged, so it is not sent. Install the model again.")
                await self.send(header)
                if await self._send_chunks(iterate_file(file, header.n_bytes), 1) != header.n_bytes:
                    raise FileNotSent(f"{path} became shorter while it was sent. Try again.")
        except OSError as error:
            raise FileNotSent(f"{path} cannot be read: {get_reason(error)}. Nothing was lost.") from error

    async def receive_array(self, name: str, spec: ArraySpec) -> NDArray[Any]:
        """Receive an array whose shape and type are known, and allowed.

        Raises
        ------
        WireError
            If something else comes, or it is damaged.
        LinkLost
            If the connection is closed, or nothing comes for a while.
        OrderCancelled
            If the window cancels instead.
        """
        header = await self._receive_header(name)
        if header.array != spec or header.n_bytes != spec.n_bytes:
            raise WireError(f"{name!r} has another shape or type than was announced")
        target = ArrayTarget(spec)
        await self._receive_payload(header, target)
        return target.array

    async def receive_bytes(self, name: str, target: PayloadTarget, max_bytes: int, sha256: str = "") -> None:
        """Receive a file into anything that has `write`, and check its hash; raises as `receive_array`."""
        header = await self._receive_header(name)
        if header.array is not None or header.n_bytes > max_bytes or sha256 not in ("", header.sha256):
            raise WireError(f"{name!r} is another file than was announced")
        await self._receive_payload(header, target)

    async def measure_latency_s(self) -> float:
        """Return the seconds that a ping and its answer take; raises `LinkLost` if none comes."""
        from websockets.exceptions import ConnectionClosed

        try:
            return await asyncio.wait_for(await self._connection.ping(), self._timeout_s)
        except (ConnectionClosed, TimeoutError) as error:
            raise LinkLost("the connection was closed") from error

    async def wait_closed(self) -> None:
        """Wait until the connection is closed by either end or by the network."""
        await self._connection.wait_closed()

    def abort(self) -> None:
        """Close the connection at once, whatever it sends."""
        self._connection.transport.abort()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""
        await self._connection.close(code, reason)

    async def _receive_header(self, name: str) -> PayloadHeader:
        message = await self._receive_in_time()
        if not isinstance(message, PayloadHeader) or message.name != name:
            raise WireError(f"{name!r} was expected")
        return message

    async def _receive_payload(self, header: PayloadHeader, target: PayloadTarget) -> None:
        receiver = PayloadReceiver(header, target)
        longest_s = self._timeout_s * (1 + header.n_bytes / MAX_FRAME_BYTES)  # in frames of one byte it never ends
        try:
            async with asyncio.timeout(longest_s):
                while not receiver.is_complete:
                    chunk = await self._receive_in_time()
                    if not isinstance(chunk, Chunk):
                        raise WireError(f"{header.name[:80]!r} is not complete")
                    receiver.take(chunk)
        except TimeoutError as error:
            raise LinkLost(f"{header.name[:80]!r} did not come within {longest_s:.0f} s") from error
        receiver.check()

    async def _receive_in_time(self) -> Message | Chunk:
        try:
            received = await asyncio.wait_for(self.receive(), self._timeout_s)
        except TimeoutError as error:
            raise LinkLost(f"nothing came for {self._timeout_s:.0f} s") from error
        if getattr(received, "kind", "") == "cancel":
            raise OrderCancelled
        return received

    async def _send_chunks(self, pieces: Iterable[bytes], itemsize: int) -> int:
        """Send the parts of a payload; return their bytes."""
        n_bytes = 0
        for piece in pieces:
            n_bytes += len(piece)
            codec, packed = encode_chunk(piece, itemsize)
            await self._send_frame(b"".join((PREFIX.pack(self._n_sent, len(piece), codec), packed)))
        return n_bytes

    async def _send_frame(self, frame: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        self._n_sent += 1
        try:
            await asyncio.wait_for(self._connection.send(frame), self._timeout_s)
        except ConnectionClosed as error:
            raise LinkLost(f"the connection was closed ({describe_closing(error)})") from error
        except TimeoutError as error:
            raise LinkLost(f"the other end takes nothing for {self._timeout_s:.0f} s") from error

    def _read_message(self, frame: str, number: int) -> Message:
        if len(frame) > MAX_TEXT_BYTES:
            raise WireError("a message is too long")
        try:
            content = self._reads.validate_json(frame)
        except ValidationError as error:
            raise WireError("a message cannot be read") from error
        self.session = self.session or content.session
        if content.seq != number or content.session != self.session:
            raise WireError("a message came twice, out of turn or from another connection")
        return content.message

    def _read_chunk(self, frame: bytes, number: int) -> Chunk:
        if len(frame) <= PREFIX.size:
            raise WireError("a frame is too short")
        seq, n_bytes, codec = PREFIX.unpack_from(frame)
        if seq != number:
            raise WireError("a frame came twice or out of turn")
        return Chunk(n_bytes, codec, frame[PREFIX.size :])


class OrderCancelled(Exception):
    """The window cancelled its order while the server received something for it."""


def describe_closing(error: Exception) -> str:
    """Return why a connection was closed, as the other end or the network gave it."""
    close = getattr(error, "rcvd", None)
    if close is None:
        return "the other end or the network is gone"
    return str(close.reason) if close.reason else get_reason(error)
