"""Messages between window and engine: JSON, one object per line. No torch here, because the window uses them too.

A request is plain data (reference to the array, version, options), so that it could also be sent to another machine.
Progress and notices are the predictor's types. The arrays of a result are in shared memory, the rest is in its message.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from napari_medseg.inference.device_status import DeviceStatus
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
    """Window to engine: predict. `labels`, `uncertainty_map` and `roi` are the arrays to write the result to.

    `roi_folder` holds the version that predicts the region of interest, for a model that needs one. The engine writes
    the probabilities to `probabilities_file`, if they are wanted.
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
    padding_value: float | None = None
    intensity_range: tuple[float, float] | None = None
    probabilities_file: str | None = None


class CancelRequest(_Message):
    """Window to engine: stop working on a request."""

    kind: Literal["cancel"] = "cancel"
    id: int


class ReadyReply(_Message):
    """Engine to window: torch is loaded, requests are accepted.

    `devices` are those that can be chosen; `cpu_reason` says why the CPU is used although another device was expected.
    """

    kind: Literal["ready"] = "ready"
    device: str
    devices: tuple[DeviceStatus, ...] = ()
    cpu_reason: str = ""


class EventReply(_Message):
    """Engine to window: progress or a notice; the prediction continues."""

    kind: Literal["event"] = "event"
    id: int
    event: PredictionProgress | PredictionNotice = Field(union_mode="left_to_right")


class PartWrittenReply(_Message):
    """Engine to window: the labels of slices from `first` to `stop` (excluded) are written; see `PredictionPart`."""

    kind: Literal["part written"] = "part written"
    id: int
    first: int
    stop: int


class ResultReply(_Message):
    """Engine to window: the prediction is finished and its arrays are written; see `PredictionResult`."""

    kind: Literal["result"] = "result"
    id: int
    uncertainty: float
    seconds: float
    device: str
    domain_distance: float | None = None
    is_like_training: bool = False
    runtime: str = ""


class CancelledReply(_Message):
    """Engine to window: the request was cancelled."""

    kind: Literal["cancelled"] = "cancelled"
    id: int


class ErrorReply(_Message):
    """Engine to window: the request failed, with an error text for the user."""

    kind: Literal["error"] = "error"
    id: int
    text: str


Request = PredictRequest | CancelRequest
Reply = ReadyReply | EventReply | PartWrittenReply | ResultReply | CancelledReply | ErrorReply

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encode_message(message: Request | Reply) -> bytes:
    """Encode a message as one line, including the newline."""
    return message.model_dump_json().encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Decode a line that the window wrote."""
    return _REQUEST.validate_json(line)


def decode_reply(line: bytes) -> Reply:
    """Decode a line that the engine wrote."""
    return _REPLY.validate_json(line)
