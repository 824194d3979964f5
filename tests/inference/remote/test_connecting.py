import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.protocol import State
from websockets.typing import Subprotocol

from napari_medseg.inference.engine.protocol import ResultReply
from napari_medseg.inference.remote import connecting
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.connecting import _explain_status
from napari_medseg.inference.remote.messages import PROTOCOL, LinkLost, RemoteRefused


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, RemoteRefused), (404, RemoteRefused), *[(status, LinkLost) for status in (429, 500, 502, 503, 504)]],
)
def test_what_a_proxy_says_while_the_server_starts_again_is_a_lost_link(status: int, kind: type[Exception]) -> None:
    assert type(_explain_status(parse_address("ws://127.0.0.1:1"), status)) is kind


def test_a_slow_line_is_not_taken_for_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a ping comes after the frame that is being sent: half a second here, thirty at most."""
    monkeypatch.setattr(connecting, "PING_S", 0.05)

    async def converse() -> State:
        async with serve(slow, "127.0.0.1", 0, subprotocols=[Subprotocol(PROTOCOL)]) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            connection = await connecting._connect(parse_address(f"ws://127.0.0.1:{port}"), "token")
            await asyncio.sleep(0.4)
            state = connection.state
            await connection.close()
            return state

    async def slow(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(0.5)
        connection.transport.resume_reading()

    assert asyncio.run(converse()) is State.OPEN


def test_other_keys_of_a_result_need_another_protocol() -> None:
    keys = "device domain_distance id is_like_training kind runtime seconds uncertainty"
    assert (PROTOCOL, " ".join(sorted(ResultReply.model_fields))) == ("medseg.2", keys), "both ends forbid unknown keys"
