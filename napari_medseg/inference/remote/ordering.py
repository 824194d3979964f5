"""The window's side of a `PredictOrder`: what is sent, and the events and the result that come back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.engine.protocol import CancelledReply, CancelRequest, ErrorReply, EventReply, ResultReply
from napari_medseg.inference.events import PredictionEvent, PredictionPart, PredictionProgress, PredictionResult
from napari_medseg.inference.remote.best_effort_file import BestEffortFile
from napari_medseg.inference.remote.conversation import Conversation, Message
from napari_medseg.inference.remote.messages import (
    ArraySpec,
    FileNotSent,
    LinkLost,
    PartReply,
    PredictOrder,
    QueuedReply,
    RefusedReply,
    RemoteRefused,
    ResultPayloads,
    SendReply,
    WelcomeReply,
    WireError,
)
from napari_medseg.inference.remote.payload import describe_array
from napari_medseg.inference.remote.version_files import describe_version, send_version

CANCEL_SECONDS = 0.3
"""For the server's answer to a cancel; then the connection is closed, which cancels as well."""
WORTH_TELLING_BYTES = 8 * 10**6
_LABEL_TYPES = ("|u1", "<u2", "<u4")


@dataclass(frozen=True, eq=False)
class PredictionWanted:
    """What `PredictionEngine.predict` was asked for."""

    image: Image
    version_folder: Path
    with_uncertainty_map: bool = False
    roi_folder: Path | None = None
    probabilities_file: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the versions that the server needs."""
        return (self.version_folder,) if self.roi_folder is None else (self.version_folder, self.roi_folder)

    def make_order(self, order_id: int) -> PredictOrder:
        """Return the order; raises `MedSegError` if a card cannot be read."""
        image, versions = self.image, [describe_version(folder) for folder in self.folders]
        return PredictOrder(
            id=order_id,
            pixels=describe_array(image.pixels),
            axes=image.axes,
            spacing_mm=image.spacing_mm,
            units=image.units,
            padding_value=image.padding_value,
            intensity_range=image.intensity_range,
            version=versions[0],
            roi_version=versions[1] if len(versions) > 1 else None,
            with_uncertainty_map=self.with_uncertainty_map,
            with_probabilities=self.probabilities_file is not None,
        )


class RemotePrediction:
    """One prediction on a connection that is ready for an order.

    Parameters
    ----------
    wanted
        What is predicted.
    order_id
        A number that no earlier order of this connection had.
    host
        Name of the server, for texts.
    tell
        Called in the thread of the connection with each event, last the result.
    """

    def __init__(
        self, wanted: PredictionWanted, order_id: int, host: str, tell: Callable[[PredictionEvent], None]
    ) -> None:
        self._wanted = wanted
        self._order_id = order_id
        self._host = host
        self._tell = tell
        self._payloads: dict[str, NDArray[Any]] = {}

    async def run(self, conversation: Conversation, welcome: WelcomeReply) -> None:
        """Send the order and take the answers until the result. If this is cancelled, the server is told.

        Raises
        ------
        LinkLost, RemoteRefused
            If this computer should predict instead.
        MedSegError
            If the model or the image cannot be used.
        """
        image = self._wanted.image
        if image.pixels.nbytes > welcome.max_image_bytes:
            raise RemoteRefused(
                f"{self._host} takes images of at most {welcome.max_image_bytes / 1e6:,.0f} MB, and this one has "
                f"{image.pixels.nbytes / 1e6:,.0f}"
            )
        order = self._wanted.make_order(self._order_id)
        try:
            await conversation.send(order)
            while not await self._take(conversation, order, await conversation.receive_message()):
                pass
        except (asyncio.CancelledError, FileNotSent):
            await self._cancel(conversation)
            raise
        except WireError as error:
            conversation.abort()
            raise LinkLost(f"{self._host} answered what cannot be read ({error})") from error

    async def _take(self, conversation: Conversation, order: PredictOrder, message: Message) -> bool:
        """Act on one answer; return whether it was the last one."""
        match message:
            case SendReply(missing=missing):
                await self._send_missing(conversation, order, missing)
            case QueuedReply(place=place, seconds=seconds):
                self._tell(PredictionProgress(0, 1, f"waiting, {place} before you", seconds))
            case EventReply(event=event):
                self._tell(event)
            case PartReply(first=first, array=spec):
                self._tell(PredictionPart(first, await self._receive_part(conversation, first, spec)))
            case ResultPayloads():
                await self._receive_payloads(conversation, message)
            case _:
                self._end(message)
                return True
        return False

    def _end(self, message: Message) -> None:
        """Tell the result, or raise what the server says instead of it."""
        match message:
            case ResultReply():
                self._tell(self._make_result(message))
            case RefusedReply(text=text):
                raise RemoteRefused(f"{self._host}: {text}")
            case ErrorReply(text=text):
                raise MedSegError(text)
            case _:
                raise WireError("this answer does not belong here")

    async def _send_missing(self, conversation: Conversation, order: PredictOrder, missing: tuple[str, ...]) -> None:
        versions = (order.version,) if order.roi_version is None else (order.version, order.roi_version)
        for version, folder in zip(versions, self._wanted.folders, strict=True):
            if version.card_sha256 in missing:
                size = sum(file.n_bytes for file in version.files) / 1e6
                self._tell(PredictionProgress(0, 1, f"sending the model ({size:.0f} MB)", None))
                await send_version(conversation, folder, version)
        pixels = self._wanted.image.pixels
        if pixels.nbytes > WORTH_TELLING_BYTES:
            text = f"sending the image ({pixels.nbytes / 1e6:.0f} MB)"
            self._tell(PredictionProgress(0, 1, text, None))
        await conversation.send_array("pixels", pixels)

    async def _receive_part(self, conversation: Conversation, first: int, spec: ArraySpec) -> NDArray[Any]:
        shape = self._wanted.image.spatial_shape
        fits = len(shape) == len(spec.shape) == 3 and spec.shape[1:] == shape[1:]
        if not fits or first + spec.shape[0] > shape[0] or spec.dtype not in _LABEL_TYPES[:2]:
            raise WireError("a part of the labels does not fit the image")
        return await conversation.receive_array("part", spec)

    async def _receive_payloads(self, conversation: Conversation, announced: ResultPayloads) -> None:
        shape = self._wanted.image.spatial_shape
        for name, spec in announced.arrays.items():
            types = ("|u1",) if name == "uncertainty_map" else _LABEL_TYPES
            if spec.shape != shape or spec.dtype not in types:
                raise WireError(f"{name} does not fit the image")
            self._payloads[name] = await conversation.receive_array(name, spec)
        if announced.probabilities_bytes is not None:
            with BestEffortFile(self._wanted.probabilities_file) as file:
                await conversation.receive_bytes("probabilities", file, announced.probabilities_bytes)
                file.keep()

    def _make_result(self, reply: ResultReply) -> PredictionResult:
        if "labels" not in self._payloads:
            raise WireError("the result has no labels")
        return PredictionResult(
            labels=self._payloads["labels"],
            uncertainty=reply.uncertainty,
            uncertainty_map=self._payloads.get("uncertainty_map"),
            seconds=reply.seconds,
            device=reply.device,  # it is kept with the draft and passed on, so it does not name the institution
            roi=self._payloads.get("roi"),
            domain_distance=reply.domain_distance,
            is_like_training=reply.is_like_training,
            runtime=reply.runtime,
        )

    async def _cancel(self, conversation: Conversation) -> None:
        """Tell the server, and read what it had sent before it heard of it; else close the connection."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await conversation.send(CancelRequest(id=self._order_id))
                while not isinstance(
                    await conversation.receive(), CancelledReply | ResultReply | ErrorReply | RefusedReply
                ):
                    pass
        except (TimeoutError, MedSegError):
            conversation.abort()
