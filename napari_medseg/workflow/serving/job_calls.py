"""What a computer asks a server about a job, and the answers. A job is a training run or an adaptation.

Each call is one message with at most `MAX_CHUNK_BYTES` of a file behind it, and so is each answer. A job is known by a
random id that the asking computer chose, so that it finds its job again whatever broke between the two.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from napari_medseg.core.model_card import CARD_FILE, DOMAIN_FILE, WEIGHTS_FILE, WORST_CASE_FILE
from training.adapt.request import RESULT_FILE
from training.run_folder import COST_FILE, ENVIRONMENT_FILE, READ_IMAGES_FILE, REPORT_DATA_FILE, SPLIT_FILE

MAX_CHUNK_BYTES = 2**20
MAX_FILES = 50_000
MAX_CALL_BYTES = 2**24 - 1

JobId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,150}(/[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,150}){0,3}$")
]
"""Below the folder of a job: it cannot lead elsewhere, because no part begins with a dot."""
JobState = Literal["unknown", "receiving", "waiting", "running", "ended"]
Purpose = Literal["train", "adapt"]

LEARNT_CASES_FILE = "learnt_cases.safetensors"
RESULTS = {
    "train": (
        *(REPORT_DATA_FILE, READ_IMAGES_FILE, ENVIRONMENT_FILE, SPLIT_FILE, COST_FILE),
        *(WORST_CASE_FILE, DOMAIN_FILE, WEIGHTS_FILE, CARD_FILE),
    ),
    "adapt": (LEARNT_CASES_FILE, DOMAIN_FILE, WEIGHTS_FILE, CARD_FILE, RESULT_FILE),
}
"""Files that a user gets back, the one that makes the others valid last. Checkpoints stay on the server, and so does
the page of the report: the user's computer makes its own of the data."""

WAS_CANCELLED = "it was cancelled"
"""The problem of a job that was cancelled before it began."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobFile(_Message):
    """A file of a job: its name below the folder of the job, its size in bytes, and the SHA-256 of its content."""

    name: FileName
    size: int = Field(ge=0)
    sha256: Sha256


class Offer(_Message):
    """Here is a job with these files; which of them do you lack?"""

    kind: Literal["offer"] = "offer"
    job: JobId
    purpose: Purpose
    files: tuple[JobFile, ...] = Field(max_length=MAX_FILES)


class Send(_Message):
    """The bytes of a file from `offset` on; they are behind the call."""

    kind: Literal["send"] = "send"
    job: JobId
    sha256: Sha256
    offset: int = Field(ge=0)


class Begin(_Message):
    """All files are there: begin, or go on after a pause."""

    kind: Literal["begin"] = "begin"
    job: JobId


class Follow(_Message):
    """What is new since these bytes of its events and its log? The new bytes are behind the answer, events first."""

    kind: Literal["follow"] = "follow"
    job: JobId
    events: int = Field(0, ge=0)
    log: int = Field(0, ge=0)


class Control(_Message):
    """Put a control file into its folder, or take it away."""

    kind: Literal["control"] = "control"
    job: JobId
    file: Literal["pause", "cancel"]
    present: bool


class Fetch(_Message):
    """The bytes of a result from `offset` on; they are behind the answer."""

    kind: Literal["fetch"] = "fetch"
    job: JobId
    name: FileName
    offset: int = Field(ge=0)


class Discard(_Message):
    """Nothing of it is needed any more: end it, and delete it."""

    kind: Literal["discard"] = "discard"
    job: JobId


class Missing(_Message):
    """Hashes of the files to send, and how much of each is there already."""

    kind: Literal["missing"] = "missing"
    state: JobState
    files: dict[Sha256, int] = {}


class Done(_Message):
    """It was done."""

    kind: Literal["done"] = "done"


class JobStatus(_Message):
    """State of a job. The first `n_events` bytes behind it are of its events, the others of its log.

    `place` is its place in the queue, from 1; `wait_s` how long it waits, if that can be told. `results` are the files
    to fetch after it has ended, and `server_time` is the clock of the server, in seconds since the Unix epoch.
    """

    kind: Literal["status"] = "status"
    state: JobState
    place: int = 0
    wait_s: float | None = None
    n_events: int = 0
    problem: str = ""
    results: tuple[JobFile, ...] = ()
    server_time: float = 0.0


Call = Offer | Send | Begin | Follow | Control | Fetch | Discard
Answer = Missing | Done | JobStatus

_CALL: TypeAdapter[Call] = TypeAdapter(Annotated[Call, Field(discriminator="kind")])
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="kind")])


def encode(message: Call | Answer) -> bytes:
    """Encode a call or an answer."""
    return message.model_dump_json().encode()


def decode_call(data: bytes) -> Call:
    """Decode a call; raise `pydantic.ValidationError` if it is none."""
    return _CALL.validate_json(data)


def decode_answer(data: bytes) -> Answer:
    """Decode an answer; raise `pydantic.ValidationError` if it is none."""
    return _ANSWER.validate_json(data)
