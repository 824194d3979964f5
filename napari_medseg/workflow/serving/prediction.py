"""Serves a `PredictOrder`: receives what is missing, waits for the turn, and sends labels as they are made."""

import asyncio
import math
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.inference.engine.protocol import EventReply, ResultReply
from napari_medseg.inference.events import (
    PredictionNotice,
    PredictionPart,
    PredictionProgress,
    PredictionResult,
)
from napari_medseg.inference.remote.messages import (
    FileNotSent,
    LinkLost,
    PartReply,
    PredictOrder,
    QueuedReply,
    RemoteRefused,
    ResultName,
    ResultPayloads,
    SendReply,
    WireError,
)
from napari_medseg.inference.remote.payload import describe_array
from napari_medseg.workflow.serving.limits import Reservation
from napari_medseg.workflow.serving.running_prediction import RunningPrediction, Told
from napari_medseg.workflow.serving.session import ServerResources, Session

TELL_S = 1.0


async def serve_prediction(session: Session, order: PredictOrder) -> None:
    """Predict one image for a window; see `Handler` for what it raises."""
    server, conversation = session.server, session.conversation
    versions = (order.version,) if order.roi_version is None else (order.version, order.roi_version)
    _refuse_bad_order(order, server)
    reservation = server.memory.request(_count_bytes(order), session.user)
    try:
        async with server.versions.hold(versions):
            await session.run_until_cancelled(order.id, _wait_for_room(session, order, reservation))
            missing = server.versions.list_missing(versions)
            await conversation.send(SendReply(id=order.id, missing=tuple(one.card_sha256 for one in missing)))
            faults = [await server.versions.receive(conversation, version) for version in missing]
            server.versions.mark_used(versions)
            pixels = await conversation.receive_array("pixels", order.pixels)
            for fault in filter(None, faults):
                raise fault
            await session.run_until_cancelled(order.id, _predict(session, order, pixels))
    finally:
        reservation.release()


async def _wait_for_room(session: Session, order: PredictOrder, reservation: Reservation) -> None:
    """Wait until the memory has room for an image, and tell the window that it waits."""
    task = asyncio.create_task(reservation.wait())
    try:
        await asyncio.wait({task}, timeout=TELL_S)
        if not task.done():
            n_before = max(1, session.server.memory.n_waiting - 1)
            await session.conversation.send(QueuedReply(id=order.id, place=n_before, seconds=None))
        await task
    finally:
        task.cancel()


def _refuse_bad_order(order: PredictOrder, server: ServerResources) -> None:
    n_spatial = len(order.axes.replace("C", ""))
    spacing_fits = order.spacing_mm is None or len(order.spacing_mm) == n_spatial
    if len(order.pixels.shape) != len(order.axes) or not spacing_fits:
        raise WireError("an order does not fit its axes")
    if order.pixels.n_bytes > (limit := server.limits.max_image_bytes):
        raise RemoteRefused(
            f"the image has {order.pixels.n_bytes / 1e6:,.0f} MB; the server takes {limit / 1e6:,.0f} at most"
        )


def _count_bytes(order: PredictOrder) -> int:
    """Return what an order may take of the memory: pixels twice, labels, their parts and maps."""
    n_voxels = math.prod(order.pixels.shape[: len(order.axes.replace("C", ""))])
    return 2 * order.pixels.n_bytes + n_voxels * (4 + (1 if order.with_uncertainty_map else 0))


async def _predict(session: Session, order: PredictOrder, pixels: NDArray[Any]) -> None:
    image = Image(
        pixels,
        order.axes,
        order.spacing_mm,
        units=order.units,
        padding_value=order.padding_value,
        intensity_range=order.intensity_range,
    )
    file = None
    if order.with_probabilities:
        file = session.server.work_folder / f"probabilities-{next(session.server.numbers)}"
    running = RunningPrediction(session, order, image, file)
    try:
        async for event in running.events():
            await _send_event(session, order, event, file)
    finally:
        running.stop()
        if file is not None:
            file.unlink(missing_ok=True)


async def _send_event(session: Session, order: PredictOrder, event: Told, file: Path | None) -> None:
    conversation = session.conversation
    match event:
        case QueuedReply():
            await conversation.send(event)
        case PredictionProgress() | PredictionNotice():
            await conversation.send(EventReply(id=order.id, event=event))
        case PredictionPart(first=first, labels=labels):
            await conversation.send(PartReply(id=order.id, first=first, array=describe_array(labels)))
            await conversation.send_array("part", labels)
        case PredictionResult():
            await _send_result(session, order, event, file)


async def _send_result(session: Session, order: PredictOrder, result: PredictionResult, file: Path | None) -> None:
    found: dict[ResultName, NDArray[Any] | None] = {
        "labels": result.labels,
        "uncertainty_map": result.uncertainty_map,
        "roi": result.roi,
    }
    arrays = {name: array for name, array in found.items() if array is not None}
    n_bytes = file.stat().st_size if file is not None and file.is_file() else None
    specs = {name: describe_array(array) for name, array in arrays.items()}
    await session.conversation.send(ResultPayloads(id=order.id, arrays=specs, probabilities_bytes=n_bytes))
    for name, array in arrays.items():
        await session.conversation.send_array(name, array)
    if file is not None and n_bytes is not None:
        try:
            await session.conversation.send_file("probabilities", file)
        except FileNotSent as error:  # the window waits for the rest, so only a new connection helps
            raise LinkLost(f"its result could not be sent: {error}") from error
    await session.conversation.send(
        ResultReply(
            id=order.id,
            uncertainty=result.uncertainty,
            seconds=result.seconds,
            device=result.device,
            domain_distance=result.domain_distance,
            is_like_training=result.is_like_training,
            runtime=result.runtime,
        )
    )
