"""A window that is quicker than the server: its next order comes before the last one has ended here."""

import asyncio
import json
from typing import Any

import pytest

from napari_medseg.inference.remote.conversation import Conversation, OrderCancelled
from napari_medseg.inference.remote.messages import ORDER_FRAME, JobOrder, WireError
from napari_medseg.workflow.serving.session import Session

ORDER = {"kind": "job", "id": 2, "call": {"shape": [1], "dtype": "|u1"}}
CANCEL = {"kind": "cancel", "id": 1}


class Wire:
    """The end of a connection that receives what a test puts in."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str] = asyncio.Queue()
        self.n_sent = 0

    async def recv(self) -> str:
        return await self.frames.get()

    def put(self, message: dict[str, Any], seq: int | None = None) -> None:
        frame = {"seq": self.n_sent if seq is None else seq, "session": "s", "message": message}
        self.frames.put_nowait(json.dumps(frame))
        self.n_sent += 1


def make_session() -> tuple[Session, Wire]:
    wire = Wire()
    return Session("anna", Conversation(wire, ORDER_FRAME, "s"), None), wire  # type: ignore[arg-type]


@pytest.mark.parametrize("lead_s", [0.0, 0.05])
def test_an_order_that_comes_before_the_last_one_has_ended_is_served_next(lead_s: float) -> None:
    async def converse() -> None:
        session, wire = make_session()

        async def work() -> str:
            wire.put(ORDER)
            await asyncio.sleep(lead_s)
            return "served"

        assert await session.run_until_cancelled(1, work()) == "served"
        order = await asyncio.wait_for(session.conversation.receive_message(), 1)
        assert isinstance(order, JobOrder)
        wire.put(CANCEL)
        assert (await asyncio.wait_for(session.conversation.receive_message(), 1)).kind == "cancel"

    asyncio.run(converse())


def test_a_fault_that_comes_with_the_end_of_an_order_is_not_lost() -> None:
    async def converse() -> None:
        session, wire = make_session()

        async def work() -> None:
            wire.put(ORDER, seq=7)
            await asyncio.sleep(0)

        async def serve() -> None:
            await session.run_until_cancelled(1, work())
            await asyncio.wait_for(session.conversation.receive_message(), 1)

        with pytest.raises(WireError, match="out of turn"):
            await serve()

    asyncio.run(converse())


def test_a_cancel_of_this_order_ends_it_and_one_of_another_does_not() -> None:
    async def converse() -> None:
        session, wire = make_session()
        wire.put(CANCEL | {"id": 8})
        assert await session.run_until_cancelled(1, asyncio.sleep(0.02, "served")) == "served"
        wire.put(CANCEL)
        with pytest.raises(OrderCancelled):
            await session.run_until_cancelled(1, asyncio.sleep(5))

    asyncio.run(converse())
