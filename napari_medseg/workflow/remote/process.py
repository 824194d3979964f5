"""`python -P -m napari_medseg.workflow.remote.process FOLDER`: mirror a run, or an adaptation, that a server computes.

It takes the place of `python -P -m training` and `python -P -m training.adapt`, with the same files and exit codes, and
needs no torch. `remote.json` in the folder names the server; the token is read where the person keeps it.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.inference.remote.messages import LinkLost, RemoteRefused
from napari_medseg.workflow.remote.mirror import RunMirror
from napari_medseg.workflow.remote.remote_run import RemoteRun, read_remote
from napari_medseg.workflow.remote.server_link import ServerLink
from napari_medseg.workflow.remote.server_settings import read_server
from napari_medseg.workflow.remote.untold import forget_untold, tell_untold
from training.adapt.request import (
    END_OPTION,
    REQUEST_FILE,
    RESULT_FILE,
    AdaptResult,
    wait_for_end_of_stdin,
    write_result,
)
from training.run_folder import (
    PAUSE_FILE,
    PAUSE_SIGNALS,
    Failed,
    Finished,
    append_event,
    hold_trainer_lock,
    read_events,
)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ADAPTATION_PATIENCE_S = 5.0
"""How long an adaptation waits for a lost server: the next Accept begins another one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Mirror the folder named on the command line; return the exit code of the same process on this computer."""
    parser = argparse.ArgumentParser(prog="python -P -m napari_medseg.workflow.remote.process", description=__doc__)
    parser.add_argument("folder", type=Path, help="a run folder, or that of an adaptation, with remote.json")
    parser.add_argument(MAX_MEMORY_OPTION, type=int, help="for the server to decide; not used")
    parser.add_argument(END_OPTION, action="store_true", help="end as soon as stdin is closed")
    options = parser.parse_args(arguments)
    logging.raiseExceptions = False  # a log on a full disk must not fill stderr with tracebacks
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    folder: Path = options.folder
    try:
        with translate_errors():
            remote = read_remote(folder)
            if (folder / REQUEST_FILE).is_file():
                return _mirror_adaptation(folder, remote, ends_with_stdin=options.end_with_stdin)
            return _mirror_training(folder, remote)
    except MedSegError as error:  # the folder cannot be read or written, or another process works there
        sys.stderr.write(f"remote run: {error}\n")
        return 1


def open_link(remote: RemoteRun) -> ServerLink:
    """Return the link to the server of a run; it connects at its first call.

    Raises
    ------
    MedSegError
        If the person has chosen another server since, so that no token is known.
    """
    settings = read_server(Path(remote.settings_folder))
    if settings is None or settings.address != remote.address:
        raise MedSegError(
            f"the run trains at {remote.address}, which is not the server that you use now. Choose it again: "
            "Remote… in the menu of the device beside the task, or start a new run."
        )

    def read_token() -> str:
        now = read_server(Path(remote.settings_folder))
        return (now if now is not None and now.address == remote.address else settings).token.get_secret_value()

    return ServerLink(settings, read_token)


def _mirror_training(folder: Path, remote: RemoteRun) -> int:
    with hold_trainer_lock(folder):
        if any(isinstance(event, Finished) for event, _ in read_events(folder)):
            return 0
        (folder / PAUSE_FILE).unlink(missing_ok=True)  # what an earlier process left
        try:
            with translate_errors(), open_link(remote) as link:
                forget_untold(remote)  # an earlier process noted a pause, and the run goes on
                with contextlib.suppress(LinkLost, RemoteRefused):
                    tell_untold(Path(remote.settings_folder), remote.address, link)
                return RunMirror(folder, remote.job, link, ending=end_on_signals()).run()
        except MedSegError as error:
            append_event(folder, Failed(str(error)))
            return 1


def end_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGUSR1 set: they end this process, and not the run at the server."""
    ending = threading.Event()
    if threading.current_thread() is threading.main_thread():  # signals only arrive there
        for name in PAUSE_SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda _number, _frame: ending.set())
    return ending


def _mirror_adaptation(folder: Path, remote: RemoteRun, *, ends_with_stdin: bool) -> int:
    try:
        with translate_errors(), open_link(remote) as link:
            mirror = RunMirror(folder, remote.job, link, "adapt", ADAPTATION_PATIENCE_S)
            if ends_with_stdin:
                threading.Thread(target=_end_with_stdin, args=(mirror,), name="stdin", daemon=True).start()
            code = mirror.run()
        if code and not (folder / RESULT_FILE).exists():
            write_result(AdaptResult(kept=False, text="the server cannot be reached"), folder)
        return code
    except MedSegError as error:
        write_result(AdaptResult(kept=False, text=str(error).rstrip(".")), folder)
        return 0


def _end_with_stdin(mirror: RunMirror) -> None:
    wait_for_end_of_stdin()
    mirror.discard()
    os._exit(2)  # nobody needs the result


if __name__ == "__main__":
    sys.exit(main())
