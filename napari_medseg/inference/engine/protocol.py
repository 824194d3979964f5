"""Messages between window and engine: JSON, one object a line. No torch here: the window sends and reads them too.

A request is plain data (where the array is, which version, which options), so that the same call can later go to
another machine. Progress and notices are the predictor's own types; of a result the arrays are in shared memory, and
the rest is in its message.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from napari_medseg.inference.events import PredictionNotice, PredictionProgress


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayRef(_Message):
    """An array in shared memory."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        """Bytes that the array takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class PredictRequest(_Message):
    """Window to engine: predict. `labels`, `uncertainty_map` and `roi` are where the arrays of the result go.

    `roi_folder` is the version that finds the region of interest, for a model that predicts inside one.
    """

    kind: Literal["predict"] = "predict"
    id: int
    pixels: ArrayRef
    axes: str
    spacing_mm: tuple[float, ...] | None
    units: str
    image_name: str
    version_folder: str
    labels: ArrayRef
    uncertainty_map: ArrayRef | None
    roi_folder: str | None = None
    roi: ArrayRef | None = None


class CancelRequest(_Message):
    """Window to engine: stop working on a request."""

    kind: Literal["cancel"] = "cancel"
    id: int


class ReadyReply(_Message):
    """Engine to window: torch is loaded, requests may come."""

    kind: Literal["ready"] = "ready"
    device: str


class EventReply(_Message):
    """Engine to window: progress or a notice of a request; the work goes on."""

    kind: Literal["event"] = "event"
    id: int
    event: PredictionProgress | PredictionNotice = Field(union_mode="left_to_right")


class ResultReply(_Message):
    """Engine to window: the prediction is done and its arrays are filled; see `PredictionResult`."""

    kind: Literal["result"] = "result"
    id: int
    uncertainty: float
    seconds: float
    device: str


class CancelledReply(_Message):
    """Engine to window: stopped as asked."""

    kind: Literal["cancelled"] = "cancelled"
    id: int


class ErrorReply(_Message):
    """Engine to window: the request cannot be done, in words for a person."""

    kind: Literal["error"] = "error"
    id: int
    text: str


Request = PredictRequest | CancelRequest
Reply = ReadyReply | EventReply | ResultReply | CancelledReply | ErrorReply

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode_message(message: Request | Reply) -> bytes:
    """One line, its end included."""
    return message.model_dump_json().encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Read what the window wrote."""
    return _REQUEST.validate_json(line)


def decode_reply(line: bytes) -> Reply:
    """Read what the engine wrote."""
    return _REPLY.validate_json(line)
