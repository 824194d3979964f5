"""What a run folder says of the server that trains it."""

import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.json_model import read_json_model
from napari_medseg.workflow.serving.job_calls import JobId
from training.run_folder import REMOTE_FILE

MIRROR = "napari_medseg.workflow.remote.process"
"""Module whose process mirrors a run on a server."""


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


def read_remote(folder: Path) -> RemoteRun:
    """Read `remote.json`; raise `MedSegError` if it is damaged."""
    return read_json_model(folder / REMOTE_FILE, RemoteRun, "does not say which server trains", "Start a new run.")
