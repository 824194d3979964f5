"""What a person decided about a run while its server could not be reached: the server is told when the link is back.

Each decision is a file beside the models, so that any window or command that reaches the server later can tell it,
also after those that decided were closed. A run is known there by its number.
"""

import atexit
import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.json_model import DamagedFileError, read_json_model
from napari_medseg.inference.remote.fallback import FallbackEngine
from napari_medseg.inference.remote.messages import LinkLost, RemoteRefused
from napari_medseg.workflow.remote.link import JobLink, ask
from napari_medseg.workflow.remote.remote_run import RemoteRun, is_remote, may_have_begun, read_remote, use_own_settings
from napari_medseg.workflow.remote.server_settings import ServerSettings, read_server
from napari_medseg.workflow.serving.job_calls import Control, Discard, Done, JobId
from training.run_folder import is_cancelled, is_paused

logger = logging.getLogger(__name__)

UNTOLD_FOLDER = "untold"
KEPT_S = 30 * 86_400.0
"""A decision that is older is dropped: the server has deleted the run long since."""
EXIT_WAIT_S = 3.0
_one_at_a_time = threading.Lock()
Decision = Literal["cancel", "pause", "discard"]
"""A cancelled run keeps its best version there until it is fetched; of a discarded one nothing is kept."""


class Untold(BaseModel):
    """A decision about a run: the server's address, the run's number there, and what the person wants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    job: JobId
    decision: Decision


def note_untold(remote: RemoteRun, decision: Decision) -> None:
    """Remember a decision that the server of a run has to be told; raise `OSError` if it cannot be written."""
    folder = Path(remote.settings_folder) / UNTOLD_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    untold = Untold(address=remote.address, job=remote.job, decision=decision)
    atomic_write_text(folder / f"{remote.job}.json", untold.model_dump_json() + "\n")


def leave_decision(folder: Path) -> str:
    """Note that the person cancelled or paused the run of a folder; return what to say of it, empty if they did not.

    A cancelled run keeps its best version at the server, if it may have begun. Else nothing of it is kept.
    """
    has_begun = may_have_begun(folder)
    decision: Decision | None = None
    if is_cancelled(folder):
        decision = "cancel" if has_begun else "discard"
    elif is_paused(folder) and has_begun:
        decision = "pause"
    if decision is None:
        return ""
    try:
        note_untold(read_remote(folder), decision)
    except OSError as error:  # such as a full disk: the run ends or pauses here all the same
        return f"the server will not be told of the {decision}, because that cannot be kept: {get_reason(error)}"
    return "the server will be told when it can be reached again"


def end_at_server(folder: Path, settings_folder: Path, decision: Decision) -> None:
    """Let the server of a run folder know, now or later, how a person ended the run; nothing if none trains it."""
    if not is_remote(folder):
        return
    try:
        use_own_settings(folder, settings_folder)
        note_untold(read_remote(folder), decision)
    except (MedSegError, OSError) as error:  # the run ends here all the same
        logger.warning("the server of %s is not told that the run has ended: %s", folder.name, get_reason(error))
    else:
        tell_in_background(settings_folder)


def forget_untold(remote: RemoteRun) -> None:
    """Forget a decision about a run: it was told, or the run goes on."""
    with contextlib.suppress(OSError):
        (Path(remote.settings_folder) / UNTOLD_FOLDER / f"{remote.job}.json").unlink(missing_ok=True)


def tell_untold(settings_folder: Path, address: str, link: JobLink) -> int:
    """Tell a server what was decided about its runs while it could not be reached; return how many decisions it heard.

    Parameters
    ----------
    settings_folder
        Where the decisions are.
    address, link
        The server.

    Raises
    ------
    LinkLost, RemoteRefused
        If it cannot be asked now; what it was not told is kept.
    """
    n_told = 0
    for path in _list_files(settings_folder):
        with contextlib.suppress(OSError):  # another window told it meanwhile
            untold = _read(path)
            if untold is None:
                continue
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)
            elif untold.address == address:
                _tell(untold, link)
                path.unlink(missing_ok=True)
                n_told += 1
    return n_told


def tell_whenever_connected(engine: FallbackEngine, settings_folder: Path) -> None:
    """Tell the server of an engine what it has not heard, in the background, whenever its link is there (again)."""

    def on_link_changed(is_connected: bool) -> None:
        if is_connected:
            tell_in_background(settings_folder)

    engine.remote.link_changed.connect(on_link_changed)


def tell_in_background(settings_folder: Path, settings: ServerSettings | None = None) -> None:
    """Tell a server, by default that of the person, what it has not heard; if that fails, it is told the next time."""
    settings = settings or read_server(settings_folder)
    if settings is not None and _list_files(settings_folder):
        arguments = (settings_folder, settings)
        thread = threading.Thread(target=_connect_and_tell, args=arguments, name="untold decisions", daemon=True)
        thread.start()
        atexit.register(thread.join, EXIT_WAIT_S)  # a command that is done waits for it, but not for a dead server


def _connect_and_tell(settings_folder: Path, settings: ServerSettings) -> None:
    # Imported here because it shares calls with the server, whose runs are controlled like those that note decisions.
    from napari_medseg.workflow.remote.server_link import ServerLink

    try:
        with _one_at_a_time, ServerLink(settings) as link:
            n_told = tell_untold(settings_folder, settings.address, link)
    except MedSegError as error:
        logger.info("%s was not told what became of its runs: %s", settings.name, error)
    else:
        logger.info("%s was told about %d runs that were ended without it", settings.name, n_told)


def _tell(untold: Untold, link: JobLink) -> None:
    try:
        if untold.decision == "discard":
            ask(link, Discard(job=untold.job), Done)
        else:
            ask(link, Control(job=untold.job, file=untold.decision, present=True), Done)
    except (LinkLost, RemoteRefused):
        raise
    except MedSegError as error:  # such as that it does not know the run any more
        logger.info("the run %s: %s", untold.job, error)


def _list_files(settings_folder: Path) -> list[Path]:
    return sorted((settings_folder / UNTOLD_FOLDER).glob("*.json"))


def _read(path: Path) -> Untold | None:
    """Return a decision; `None` if it cannot be read now, as while a network home is away, or is damaged: deleted."""
    try:
        return read_json_model(path, Untold, "is no decision about a run", "The server is not told.")
    except DamagedFileError as error:
        logger.warning("%s", error)
        path.unlink(missing_ok=True)
    except MedSegError as error:
        logger.info("%s", error)
    return None
