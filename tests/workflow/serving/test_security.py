"""What a server refuses, with real sockets; after each attack another window is served as before."""

import json
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from served import RawWindow, Served, last, make_image
from websockets.exceptions import InvalidStatus

from napari_medseg.core.model_card import CARD_FILE
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.messages import MAX_TEXT_BYTES, PROTOCOL, PayloadHeader, RemoteProblem
from napari_medseg.inference.remote.payload import CHUNK_BYTES, MAX_FRAME_BYTES, PREFIX, ZSTANDARD, make_array_header

MakeRaw = Callable[[], RawWindow]
IMAGE = make_image(48, 40)


@pytest.fixture(autouse=True)
def _serves_others_afterwards(served: Served, window: RemoteEngine, version: Path) -> Any:
    last(window.predict(IMAGE, version))  # the engine is warm, and has the version
    yield
    began = time.monotonic()
    np.testing.assert_array_equal(last(window.predict(IMAGE, version)).labels, IMAGE.pixels > 0)
    assert time.monotonic() - began < 1.0
    assert window.state == "ready", "its connection was not touched"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer ",
        "Bearer medseg_000000000000_" + 43 * "a",
        "Bearer " + 9000 * "a",
        "Basic YW5uYTphbm5h",
        "Bearer medseg_zz",
    ],
)
def test_without_a_valid_token_nothing_is_decoded(
    served: Served, caplog: pytest.LogCaptureFixture, header: str | None
) -> None:
    caplog.set_level(logging.INFO)
    given = "" if header is None else f"Authorization: {header}\r\n"
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{given}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    )
    garbage = b"\x81\x85\0\0\0\0{bad}"  # a masked text frame that is no message
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=5) as client:
        client.sendall(request.encode() + garbage)
        answer = b""
        while received := client.recv(4096):
            answer += received
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 431"))
    assert "cannot be read" not in caplog.text


def test_the_right_id_with_another_secret_is_refused(served: Served, token: str) -> None:
    other = token[:-1] + ("a" if token[-1] != "a" else "b")
    with pytest.raises(InvalidStatus, match="401"):
        served.connect(other)


def test_a_revoked_token_ends_its_connections(served: Served) -> None:
    token = served.tokens.add("gone")
    left = RawWindow(served.connect(token))
    served.tokens.revoke("gone")
    assert left.wait_closed() == (1008, "the token was revoked")
    with pytest.raises(InvalidStatus, match="401"):
        served.connect(token)
    engine = served.make_engine(token)
    with pytest.raises(RemoteProblem, match="does not accept the token"):
        list(engine.predict(IMAGE, Path("nowhere")))
    engine.close()


def test_a_page_in_a_browser_is_refused(served: Served, token: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        served.connect(token, origin="https://elsewhere.example.org")


def test_a_frame_that_comes_twice_is_refused(raw: MakeRaw, version: Path) -> None:
    one = raw()
    one.predict(IMAGE, version)
    one.receive_kind("result")
    one.connection.send(one.sent[0])
    assert one.wait_closed() == (1008, "a message came twice, out of turn or from another connection")


def test_a_part_that_comes_twice_is_refused(raw: MakeRaw, version: Path) -> None:
    one = raw()
    assert one.order(IMAGE, version)["kind"] == "send"
    header, data = make_array_header("pixels", IMAGE.pixels)
    one.send(header)
    one.send_chunk(data[:100], 2)
    one.connection.send(one.sent[-1])
    assert one.wait_closed() == (1008, "a frame came twice or out of turn")


def test_a_recorded_connection_cannot_be_replayed(raw: MakeRaw, version: Path) -> None:
    recorded = raw()
    recorded.predict(IMAGE, version)
    recorded.receive_kind("result")
    again = raw()
    again.connection.send(recorded.sent[0])
    assert again.wait_closed()[0] == 1008


def wrap(one: RawWindow, message: dict[str, Any]) -> str:
    return json.dumps({"seq": one.seq, "session": one.session, "message": message})


@pytest.mark.parametrize(
    "make_frame",
    [
        lambda one: "",
        lambda one: "no JSON",
        lambda one: "[" * 10_000,
        lambda one: '{"seq": 0}',
        lambda one: wrap(one, {"kind": "unknown"}),
        lambda one: wrap(one, {"kind": "cancel", "id": 1, "more": 1}),
        lambda one: wrap(one, {"kind": "cancel", "id": "x" * MAX_TEXT_BYTES}),
        lambda one: wrap(one, {"kind": "welcome", "session": "x", "program": "", "device": ""}),
        lambda one: wrap(one, PayloadHeader(name="pixels", n_bytes=1, sha256=64 * "0").model_dump()),
        lambda one: b"",
        lambda one: b"\0" * 5,
        lambda one: PREFIX.pack(0, 10, ZSTANDARD) + b"x",
        lambda one: "\udc00".encode("utf-8", "surrogatepass"),
    ],
)
def test_what_is_no_order_closes_the_connection(raw: MakeRaw, make_frame: Callable[[RawWindow], str | bytes]) -> None:
    one = raw()
    one.send_raw(make_frame(one))
    assert one.wait_closed()[0] == 1008


def test_a_frame_above_the_limit_is_not_read(raw: MakeRaw) -> None:
    one = raw()
    one.send_raw(bytes(MAX_FRAME_BYTES + 1))
    assert one.wait_closed()[0] == 1009


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": {"shape": [48, 40], "dtype": "|O"}},
        {"pixels": {"shape": [48, 40], "dtype": "<M8[s]"}},
        {"pixels": {"shape": [0, 40], "dtype": "<i2"}},
        {"pixels": {"shape": [-48, 40], "dtype": "<i2"}},
        {"pixels": {"shape": [2**40, 2**40], "dtype": "<i2"}},
        {"pixels": {"shape": [48, 40, 3], "dtype": "<i2"}},
        {"pixels": {"shape": [1, 1, 1, 48, 40], "dtype": "<i2"}},
        {"axes": "ZYX"},
        {"axes": "CYX"},
        {"units": "mm"},
        {"spacing_mm": [1.0]},
        {"id": None},
        {"image_name": "Doe^John"},
    ],
)
def test_an_order_that_does_not_fit_closes_the_connection(raw: MakeRaw, version: Path, changes: dict[str, Any]) -> None:
    one = raw()
    content = {**_make_order(one, version), **changes}
    one.send(content)
    assert one.wait_closed()[0] == 1008


def _make_order(one: RawWindow, version: Path) -> dict[str, Any]:
    from napari_medseg.inference.remote.ordering import PredictionWanted

    return PredictionWanted(IMAGE, version).make_order(1).model_dump(mode="json")


@pytest.mark.parametrize(
    "shape", [(48, 41), (40, 48), (48, 40, 1), (1, 1)], ids=["wider", "turned", "one more axis", "smaller"]
)
def test_pixels_of_another_shape_close_the_connection(raw: MakeRaw, version: Path, shape: tuple[int, ...]) -> None:
    one = raw()
    one.order(IMAGE, version)
    one.send(make_array_header("pixels", np.zeros(shape, np.int16))[0])
    assert one.wait_closed()[0] == 1008


def test_pixels_of_another_type_close_the_connection(raw: MakeRaw, version: Path) -> None:
    one = raw()
    one.order(IMAGE, version)
    one.send(make_array_header("pixels", np.zeros((48, 40), np.float64))[0])
    assert one.wait_closed()[0] == 1008


def test_damaged_pixels_close_the_connection(raw: MakeRaw, version: Path) -> None:
    one = raw()
    one.order(IMAGE, version)
    header, data = make_array_header("pixels", IMAGE.pixels)
    one.send(header)
    one.send_chunk(bytes(len(data)), 2)
    assert one.wait_closed() == (1008, "'pixels' was damaged on the way")


@pytest.mark.parametrize("claimed", [CHUNK_BYTES + 1, 2**32 - 1, 0, 1])
def test_a_part_that_claims_another_size_is_not_decompressed(raw: MakeRaw, version: Path, claimed: int) -> None:
    one = raw()
    one.order(IMAGE, version)
    one.send(make_array_header("pixels", IMAGE.pixels)[0])
    one.send_chunk(bytes(IMAGE.pixels.nbytes), 1, claimed)
    assert one.wait_closed()[0] == 1008


def test_a_decompression_bomb_takes_no_memory(raw: MakeRaw, version: Path) -> None:
    bomb = imagecodecs.zstd_encode(bytes(2**30), level=1)
    assert len(bomb) < MAX_FRAME_BYTES
    one = raw()
    one.order(IMAGE, version)
    one.send(make_array_header("pixels", IMAGE.pixels)[0])
    began = time.monotonic()
    one.send_raw(PREFIX.pack(one.seq, IMAGE.pixels.nbytes, ZSTANDARD) + bomb)
    assert one.wait_closed() == (1008, "a compressed frame is damaged")
    assert time.monotonic() - began < 0.5, "a gigabyte of zeros takes longer"


@pytest.mark.parametrize("path", ["../card.json", "/etc/passwd", "a/../../b", "C:\\x", "card.json\0", "..", "con."])
def test_a_version_names_no_file_outside_its_folder(raw: MakeRaw, version: Path, path: str) -> None:
    one = raw()
    order = _make_order(one, version)
    order["version"]["files"][1]["path"] = path
    one.send(order)
    assert one.wait_closed()[0] == 1008


def test_a_version_whose_weights_are_not_those_of_its_card_is_not_kept(
    served: Served, raw: MakeRaw, version: Path
) -> None:
    one = raw()
    order = _make_order(one, version)
    card = order["version"]["files"][0]
    order["version"]["card_sha256"] = card["sha256"] = 64 * "0"
    one.send(order)
    assert one.receive()["missing"] == [64 * "0"]
    one.send(PayloadHeader(name=CARD_FILE, n_bytes=card["n_bytes"], sha256=64 * "0"))
    one.send_chunk((version / CARD_FILE).read_bytes())
    assert one.wait_closed() == (1008, "'card.json' was damaged on the way")
    assert not (served.folder / "server" / "versions" / (64 * "0")).exists()


def test_a_second_order_before_the_end_of_the_first_is_refused(served: Served, raw: MakeRaw, version: Path) -> None:
    one = raw()
    with served.hold_engine():
        one.predict(IMAGE, version)
        one.send(_make_order(one, version))
        assert one.wait_closed() == (1008, "a connection serves one order at a time")


def test_the_log_has_no_image_and_no_token(served: Served, token: str, version: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    engine = served.make_engine(token)
    last(engine.predict(IMAGE, version))
    engine.close()
    assert "anna is connected" in caplog.text
    assert "Doe" not in caplog.text
    assert token.rpartition("_")[2] not in caplog.text
    assert not [path for path in served.folder.rglob("*") if path.is_file() and b"Doe" in path.read_bytes()]
