"""What a run folder says of the server that trains it."""

import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.json_model import read_json_model
from napari_medseg.workflow.serving.job_calls import JobId
from training.run_folder import REMOTE_FILE, Notice, Started, is_cancelled, read_events

MIRROR = "napari_medseg.workflow.remote.process"
"""Module whose process mirrors a run on a server."""

AT_SERVER = Notice("the server has all that the run needs")
"""Written before the server is asked to begin a run."""


class RemoteRun(BaseModel):
    """Where a run trains: the address of the server, the id of the job there, and the folder with the token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    job: JobId
    settings_folder: str


def send_to_server(folder: Path, address: str, settings_folder: Path) -> None:
    """Write into a new run folder that a server trains; no token is written."""
    chosen = RemoteRun(address=address, job=uuid.uuid4().hex, settings_folder=str(settings_folder.absolute()))
    atomic_write_text(folder / REMOTE_FILE, chosen.model_dump_json(indent=2) + "\n")


def use_own_settings(folder: Path, settings_folder: Path) -> None:
    """Name the settings of this person in a run folder that goes on: it may come from elsewhere, and name others."""
    remote = read_remote(folder)
    if remote.settings_folder != (own := str(settings_folder.absolute())):
        text = remote.model_copy(update={"settings_folder": own}).model_dump_json(indent=2)
        atomic_write_text(folder / REMOTE_FILE, text + "\n")


def is_remote(folder: Path) -> bool:
    """Whether a run folder trains on a server."""
    return (folder / REMOTE_FILE).is_file()


def may_have_begun(folder: Path) -> bool:
    """Whether the server of a run folder may have begun the run, so that it may keep a version of it."""
    return any(isinstance(event, Started) or event == AT_SERVER for event, _ in read_events(folder))


def may_be_at_server(folder: Path) -> bool:
    """Whether a server goes on with the run of a folder, or keeps the best version of a cancelled one."""
    return is_remote(folder) and (not is_cancelled(folder) or may_have_begun(folder))


def describe_cancel(folder: Path, *, is_lost: bool) -> str:
    """Return what became of a cancelled run whose server cannot be reached, or has nothing of it."""
    if not may_have_begun(folder):
        return "the run was cancelled before the server began it."
    if is_lost:
        return (
            "the run was cancelled while the server could not be reached. Its best version is kept there: continue the "
            "run when the server is back, and the version comes here."
        )
    return "the server keeps nothing of the cancelled run any more. Discard it, or train again."


def read_remote(folder: Path) -> RemoteRun:
    """Read `remote.json`; raise `MedSegError` if it is damaged."""
    return read_json_model(folder / REMOTE_FILE, RemoteRun, "does not say which server trains", "Start a new run.")
