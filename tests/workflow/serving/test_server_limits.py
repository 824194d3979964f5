"""What one user, or a slow client, may take of a server; others go on within a second."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import QUICK, RawWindow, Served, last, make_image, run_served, write_version
from websockets.exceptions import ConnectionClosed, InvalidStatus

from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.messages import RemoteRefused
from napari_medseg.inference.remote.payload import make_array_header
from napari_medseg.workflow.serving.limits import MemoryBudget

IMAGE = make_image(48, 40)
TOO_LARGE = {"shape": [10_000, 10_000], "dtype": "<i2"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, light_python: str) -> Iterator[Served]:
    """A server with small limits and no patience."""
    limits = replace(
        QUICK,
        max_connections=7,
        max_connections_per_user=3,
        max_unproven=4,
        max_orders_per_minute=8,
        max_image_bytes=40_000_000,
        max_version_bytes=1000,
        max_memory_bytes=300_000_000,
        frame_timeout_s=0.5,
        handshake_timeout_s=0.6,
    )
    with run_served(tmp_path_factory.mktemp("strict"), light_python, limits) as running:
        yield running


@pytest.fixture
def user(served: Served) -> str:
    """The token of a user of this test alone."""
    return served.tokens.add(f"user{time.monotonic_ns()}")


@pytest.fixture
def anna(served: Served, version: Path, token: str) -> Iterator[RemoteEngine]:
    """The engine of another user's window, which is served meanwhile; she asks at most three times in a test."""
    engine = served.make_engine(served.tokens.add(f"anna{time.monotonic_ns()}"))
    last(engine.predict(IMAGE, version))
    yield engine
    began = time.monotonic()
    last(engine.predict(IMAGE, version))
    assert time.monotonic() - began < 1.0
    assert engine.state == "ready"
    engine.close()


def read_until_closed(client: socket.socket) -> float:
    """Return the seconds until the server closes a connection."""
    began = time.monotonic()
    client.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        while client.recv(4096):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize("begun", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_who_does_not_show_a_token_is_closed(served: Served, anna: RemoteEngine, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port)) as client:
        client.sendall(begun)
        assert read_until_closed(client) < 2.0


def test_a_flood_without_tokens_is_closed_and_others_come_in(served: Served, anna: RemoteEngine, user: str) -> None:
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(socket.create_connection(("127.0.0.1", served.server.port))) for _ in range(100)]
        stack.enter_context(served.connect(user))  # while all of them are there
        assert read_until_closed(flood[0]) < 2.0


def test_a_user_has_a_number_of_connections_and_all_users_have_one(served: Served, user: str, token: str) -> None:
    others = [served.tokens.add(f"other{number}") for number in range(3)]
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect(user))
        with pytest.raises(InvalidStatus, match="503"):
            served.connect(user)
        for other in others[:2]:
            stack.enter_context(served.connect(other))
            stack.enter_context(served.connect(other))
        with pytest.raises(InvalidStatus, match="503"):
            served.connect(others[2])


@pytest.mark.parametrize("amid", ["the answer to go on", "the pixels", "one frame"])
def test_a_half_sent_image_is_given_up(served: Served, anna: RemoteEngine, user: str, version: Path, amid: str) -> None:
    one = RawWindow(served.connect(user))
    assert one.order(IMAGE, version)["kind"] == "send"
    header, data = make_array_header("pixels", IMAGE.pixels)
    if amid != "the answer to go on":
        one.send(header)
        one.send_chunk(data[:1000], 2)
    if amid == "one frame":
        one.connection.socket.sendall(b"\x82\xfe\x10\0abcd and no more")
    began = time.monotonic()
    one.wait_closed()
    assert time.monotonic() - began < 2.5


def test_an_image_in_crumbs_is_given_up(served: Served, anna: RemoteEngine, user: str, version: Path) -> None:
    one = RawWindow(served.connect(user))
    assert one.order(IMAGE, version)["kind"] == "send"
    header, data = make_array_header("pixels", IMAGE.pixels)
    one.send(header)
    began = time.monotonic()
    with contextlib.suppress(ConnectionClosed):
        for start in range(0, 2000, 2):  # one pixel each 50 ms: no frame is late
            one.send_chunk(data[start : start + 2], 2)
            time.sleep(0.05)
    assert time.monotonic() - began < 3.0


def test_one_user_leaves_half_of_the_memory_to_others() -> None:
    async def fill() -> None:
        budget = MemoryBudget(100)
        await budget.take(60, "vera")
        second, other = (asyncio.create_task(budget.take(20, name)) for name in ("vera", "paul"))
        await asyncio.wait_for(other, 1.0)
        assert not second.done()
        assert budget.n_waiting == 1
        budget.give_back(60, "vera")
        await asyncio.wait_for(second, 1.0)

    asyncio.run(fill())


def test_a_window_is_told_that_it_waits_for_room(
    served: Served, user: str, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.workflow.serving.prediction.TELL_S", 0.05)
    memory = served.server._resources.memory
    asyncio.run_coroutine_threadsafe(memory.take(memory._total, "somebody else"), served.loop).result(5.0)
    one = RawWindow(served.connect(user))
    assert one.order(IMAGE, version)["kind"] == "queued"
    served.loop.call_soon_threadsafe(memory.give_back, memory._total, "somebody else")
    assert one.receive()["kind"] == "send"
    one.connection.close()


def test_who_does_not_read_the_result_is_given_up(served: Served, anna: RemoteEngine, user: str, version: Path) -> None:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", served.server.port))
    one = RawWindow(served.connect(user, sock=raw, max_queue=1))
    pixels = np.random.default_rng(0).integers(0, 2, (8000, 5000), np.uint8)  # 5 MB, more than the system keeps
    image = replace(IMAGE, pixels=pixels)
    one.predict(image, version)
    began = time.monotonic()
    while served.server.n_open_orders:
        assert time.monotonic() - began < 8.0
        time.sleep(0.05)
    assert one.wait_closed()[0] == 1006, "cut, not closed as usual"


def test_an_image_above_the_limit_is_refused_before_it_is_sent(
    served: Served, anna: RemoteEngine, user: str, version: Path
) -> None:
    one = RawWindow(served.connect(user))
    answer = one.order(IMAGE, version, pixels=TOO_LARGE)
    assert answer["kind"] == "refused"
    assert "200 MB; the server takes 40" in answer["text"]
    one.predict(IMAGE, version, 2)  # the connection can be used
    one.receive_kind("result")
    one.connection.close()
    engine = served.make_engine(user)
    large = IMAGE.replace_pixels(np.broadcast_to(np.int16(0), (10_000, 10_000)))
    with pytest.raises(RemoteRefused, match=r"127\.0\.0\.1 takes images of at most 40 MB"):
        list(engine.predict(large, version))
    engine.close()


def test_weights_above_the_limit_are_refused(served: Served, user: str, tmp_path: Path) -> None:
    engine = served.make_engine(user)
    with pytest.raises(RemoteRefused, match=r"model\.safetensors of the model has"):
        list(engine.predict(IMAGE, write_version(tmp_path / "large", bytes(1001))))
    engine.close()


def test_a_user_has_a_number_of_orders_a_minute_that_lead_to_nothing(
    served: Served, anna: RemoteEngine, user: str, version: Path
) -> None:
    engine = served.make_engine(user)
    for _ in range(12):  # as a fast user does: one for each frame of a video
        last(engine.predict(IMAGE, version))
    one = RawWindow(served.connect(user))
    answers = [one.order(IMAGE, version, number, pixels=TOO_LARGE)["text"] for number in range(9)]
    assert all("the server takes 40 at most" in text for text in answers[:8])
    assert "at most 8 requests a minute" in answers[8]
    with pytest.raises(RemoteRefused, match="at most 8 requests a minute"):
        list(engine.predict(IMAGE, version))
    engine.close()
