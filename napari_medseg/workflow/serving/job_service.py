"""Serves the calls of one connection about training runs and adaptations."""

import asyncio

import numpy as np

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.protocol import CancelRequest
from napari_medseg.inference.remote.conversation import Conversation
from napari_medseg.inference.remote.messages import ArraySpec, JobOrder, JobReply, RemoteRefused, WireError
from napari_medseg.workflow.serving.job_calls import MAX_CALL_BYTES, MAX_CHUNK_BYTES
from napari_medseg.workflow.serving.session import Session


async def serve_jobs(session: Session, order: JobOrder) -> None:
    """Answer a call and all that follow on the connection, until it is closed or the window ends them.

    Raises
    ------
    RemoteRefused
        If the server takes no runs.
    LinkLost, WireError
        If the connection broke, or something else came.
    """
    desk = session.server.jobs
    if desk is None:
        raise RemoteRefused("the server takes no training runs")
    conversation, loop = session.conversation, asyncio.get_running_loop()
    while True:
        call = await receive_bytes(conversation, "call", order.call, MAX_CALL_BYTES)
        data = b"" if order.data is None else await receive_bytes(conversation, "data", order.data, MAX_CHUNK_BYTES)
        try:
            # Threads of its own: a slow disk must not keep those that predictions need.
            answer, content = await loop.run_in_executor(desk.threads, desk.handle, session.user, call, data)
        except MedSegError as error:
            await conversation.send(JobReply(id=order.id, problem=str(error)))
        else:
            await conversation.send(JobReply(id=order.id, answer=describe_bytes(answer), data=describe_bytes(content)))
            await send_bytes(conversation, "answer", answer)
            await send_bytes(conversation, "data", content)
        message = await conversation.receive_message()
        if isinstance(message, CancelRequest):
            return
        if not isinstance(message, JobOrder):
            raise WireError("a connection for training runs takes no other orders")
        order = message


def describe_bytes(content: bytes) -> ArraySpec | None:
    """Return what is said of bytes before they are sent; `None` if there are none."""
    return ArraySpec(shape=(len(content),), dtype="|u1") if content else None


async def send_bytes(conversation: Conversation, name: str, content: bytes) -> None:
    """Send bytes as a payload, if there are any."""
    if content:
        await conversation.send_array(name, np.frombuffer(content, np.uint8))


async def receive_bytes(conversation: Conversation, name: str, spec: ArraySpec, max_bytes: int) -> bytes:
    """Receive bytes that were described; raise `WireError` if they are too many or of another type."""
    if len(spec.shape) != 1 or spec.dtype != "|u1" or spec.n_bytes > max_bytes:
        raise WireError(f"{name!r} is larger than allowed, or no bytes")
    return (await conversation.receive_array(name, spec)).tobytes()
