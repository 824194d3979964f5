"""Messages between a window and a server: JSON in text frames; no torch here, because the window uses them too.

Each frame carries a number that rises by one, and each text frame the session that the server chose for the connection.
A frame that comes twice, is missing, or comes from another connection is refused, see `conversation`.

Arrays and files go as payloads: a `PayloadHeader`, then binary frames with their content, see `payload`.
"""

import math
import re
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.protocol import CancelledReply, CancelRequest, ErrorReply, EventReply, ResultReply

PROTOCOL = "medseg.2"
"""WebSocket subprotocol; another number: the messages have changed, and both ends need the same version."""

MAX_TEXT_BYTES = 64 * 1024
MAX_DIMENSIONS = 4
MAX_SIDE = 2**24
SHA256 = r"^[0-9a-f]{64}$"
_DTYPES = frozenset({"|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8"})
ResultName = Literal["labels", "uncertainty_map", "roi"]
_SPECIAL_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[. ]", re.IGNORECASE)
"""Devices of Windows, this folder and the one above, and ends that Windows drops."""
_ORDINARY_NAME = re.compile(r"[\w.,@+() -]{1,120}")


class RemoteProblem(MedSegError):
    """The server cannot be used now: this computer can go on. `text` of the user says why."""


class LinkLost(RemoteProblem):
    """The connection to the server broke or could not be made."""


class RemoteRefused(RemoteProblem):
    """The server does not serve this request, such as an image above its limit."""


class WireError(MedSegError):
    """The other end does not keep to the protocol; the connection is closed."""


class FileNotSent(MedSegError):
    """A file of this computer could not be sent to its end; the other end still waits for it."""


class WireMessage(BaseModel):
    """Plain data; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ArraySpec(WireMessage):
    """Shape and type of an array, known before any of it is sent."""

    shape: tuple[Annotated[int, Field(ge=1, le=MAX_SIDE)], ...] = Field(min_length=1, max_length=MAX_DIMENSIONS)
    dtype: str

    @field_validator("dtype")
    @classmethod
    def _check_dtype(cls, dtype: str) -> str:
        if dtype not in _DTYPES:
            raise ValueError(f"the type {dtype[:20]!r} is not sent")
        return dtype

    @property
    def n_bytes(self) -> int:
        """Bytes that the array takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class PayloadHeader(WireMessage):
    """Either end: an array or a file follows in binary frames. `array` is `None` for a file.

    `name` says which of the things that were asked for it is: ``pixels``, ``labels``, or the path of a file.
    """

    kind: Literal["payload"] = "payload"
    name: str = Field(max_length=400)
    n_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)
    array: ArraySpec | None = None


class FileSpec(WireMessage):
    """A file that is sent or asked for: its path with `/`, relative to a folder that it does not leave."""

    path: str = Field(max_length=400)
    n_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        return check_relative_path(path)


class VersionSpec(WireMessage):
    """A model version by the hash of its card, which has those of its weights and statistics."""

    card_sha256: str = Field(pattern=SHA256)
    files: tuple[FileSpec, ...] = Field(min_length=2, max_length=3)


class PredictOrder(WireMessage):
    """Window to server: predict an image, whose pixels are sent as soon as the server asks for them.

    Fields as in `PredictRequest`. There is no name, group or path: the server does not learn who an image shows.
    """

    kind: Literal["predict"] = "predict"
    id: int
    pixels: ArraySpec
    axes: Literal["YX", "ZYX", "YXC", "ZYXC"]
    spacing_mm: tuple[float, ...] | None = Field(max_length=3)
    units: Literal["HU", "grey", "rgb"]
    padding_value: float | None = None
    intensity_range: tuple[float, float] | None = None
    version: VersionSpec
    roi_version: VersionSpec | None = None
    with_uncertainty_map: bool = False
    with_probabilities: bool = False


class JobOrder(WireMessage):
    """Window to server: a call about a training run; `call` and `data` follow as payloads of these names.

    After the first one, a connection takes no other orders. See `workflow.serving.job_calls`.
    """

    kind: Literal["job"] = "job"
    id: int
    call: ArraySpec
    data: ArraySpec | None = None


class WelcomeReply(WireMessage):
    """Server to window: the first message. `session` has to be in all text frames of this connection.

    `takes_trainings` is false if the server only predicts: then runs and adaptations compute at the window's computer.
    """

    kind: Literal["welcome"] = "welcome"
    session: str
    user: str = ""
    program: str
    device: str
    cpu_reason: str = ""
    max_image_bytes: int
    max_version_bytes: int
    takes_trainings: bool = True


class SendReply(WireMessage):
    """Server to window: send the files of these versions (`card_sha256`), then the pixels."""

    kind: Literal["send"] = "send"
    id: int
    missing: tuple[str, ...] = ()


class QueuedReply(WireMessage):
    """Server to window: `place` others are served first; `seconds` is when the turn is expected, `None` if unknown."""

    kind: Literal["queued"] = "queued"
    id: int
    place: int
    seconds: float | None


class PartReply(WireMessage):
    """Server to window: labels of slices from `first` on follow as the payload ``part``; see `PredictionPart`."""

    kind: Literal["part"] = "part"
    id: int
    first: int = Field(ge=0)
    array: ArraySpec


class ResultPayloads(WireMessage):
    """Server to window: these arrays follow as payloads, then the file ``probabilities``, then the `ResultReply`."""

    kind: Literal["payloads"] = "payloads"
    id: int
    arrays: dict[ResultName, ArraySpec]
    probabilities_bytes: int | None = None


class RefusedReply(WireMessage):
    """Server to window: this server does not serve the request; `text` says why, for the user."""

    kind: Literal["refused"] = "refused"
    id: int
    text: str


class JobReply(WireMessage):
    """Server to window: `answer` and `data` follow as payloads; or the call could not be done, for the user."""

    kind: Literal["job_reply"] = "job_reply"
    id: int
    answer: ArraySpec | None = None
    data: ArraySpec | None = None
    problem: str = ""


Order = PredictOrder | JobOrder | CancelRequest | PayloadHeader
"""What a window sends. A further kind of message is added here and to `HANDLERS` in `workflow.serving.handlers`."""

Answer = (
    WelcomeReply
    | SendReply
    | QueuedReply
    | EventReply
    | PartReply
    | ResultPayloads
    | ResultReply
    | CancelledReply
    | ErrorReply
    | RefusedReply
    | JobReply
    | PayloadHeader
)
"""What a server sends. The replies to `PredictOrder` that have arrays or files are followed by payloads."""


class OrderFrame(WireMessage):
    """A text frame from a window."""

    seq: int
    session: str
    message: Annotated[Order, Field(discriminator="kind")]


class AnswerFrame(WireMessage):
    """A text frame from a server."""

    seq: int
    session: str
    message: Annotated[Answer, Field(discriminator="kind")]


ORDER_FRAME: TypeAdapter[OrderFrame] = TypeAdapter(OrderFrame)
ANSWER_FRAME: TypeAdapter[AnswerFrame] = TypeAdapter(AnswerFrame)


def check_relative_path(path: str) -> str:
    """Return a path with `/` that stays inside its folder on any system; raise `ValueError` if it does not."""
    if not all(_ORDINARY_NAME.fullmatch(part) and not _SPECIAL_NAME.fullmatch(part) for part in path.split("/")):
        raise ValueError(f"{path[:80]!r} is not a path inside a folder")
    return path
