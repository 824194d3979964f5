"""Calls about a job to a server, over any link."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.serving.job_calls import (
    MAX_CHUNK_BYTES,
    Answer,
    Call,
    Done,
    Fetch,
    JobFile,
    JobStatus,
    Send,
    decode_answer,
    encode,
)

if TYPE_CHECKING:  # the files of a project are those of a workspace, which needs this module for its engine
    from napari_medseg.workflow.remote.run_files import RunFiles


class JobLink(Protocol):
    """What carries calls to a server."""

    def call(self, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        """Return the answer to a call, and the bytes behind it.

        Raises
        ------
        LinkLost
            If the server cannot be reached.
        MedSegError
            If it refuses the call.
        """


A = TypeVar("A", bound=Answer)
WAITING = "the run waits for the server"


def ask(link: JobLink, call: Call, kind: type[A], payload: bytes = b"") -> tuple[A, bytes]:
    """Return the answer of a kind, and the bytes behind it; raise as `JobLink.call`."""
    answer, data = link.call(encode(call), payload)
    try:
        decoded = decode_answer(answer)
    except ValidationError as error:
        raise MedSegError("the server's answer is not understood. Install the same version here and there.") from error
    if not isinstance(decoded, kind):
        raise MedSegError("the server answered something else. Install the same version here and there.")
    return decoded, data


def send_part(link: JobLink, job: str, file: JobFile, run: "RunFiles", offset: int) -> int:
    """Send the next bytes of a file; return how many of it are there then."""
    content = run.contents[file.sha256]
    if isinstance(content, Path):
        with content.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(MAX_CHUNK_BYTES)
    else:
        data = content[offset : offset + MAX_CHUNK_BYTES]
    ask(link, Send(job=job, sha256=file.sha256, offset=offset), Done, data)
    return offset + len(data)


def fetch_part(link: JobLink, job: str, name: str, offset: int) -> bytes:
    """Return the next bytes of a result."""
    return ask(link, Fetch(job=job, name=name, offset=offset), Done)[1]


def describe_wait(status: JobStatus) -> str:
    """Return how long a run waits, in steps that do not change at each call."""
    if status.wait_s is None:
        return f"{WAITING}: place {status.place}"
    return f"{WAITING}: place {status.place}, about {_round_up(status.wait_s)}"


def _round_up(seconds: float) -> str:
    if seconds > 90:
        return f"{-(-seconds // 60):.0f} min"
    return f"{max(1, -(-seconds // 10)) * 10:.0f} s"
