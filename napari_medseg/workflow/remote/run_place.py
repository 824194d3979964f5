"""Where a run or an adaptation computes: on the server that predicts, or on this computer."""

import threading
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.remote.fallback import FallbackEngine
from napari_medseg.window_requirements import can_compute, explain_no_computing
from napari_medseg.workflow.remote.remote_run import send_to_server
from napari_medseg.workflow.remote.server_settings import read_server
from napari_medseg.workflow.workspace import Workspace


def ensure_trainable(ws: Workspace) -> None:
    """Raise `MedSegError` if neither this computer nor a server can train."""
    if can_compute():
        return
    if not isinstance(ws.engine, FallbackEngine):
        raise MedSegError(f"{explain_no_computing('train')}.")
    if not ws.engine.remote.takes_trainings:
        raise MedSegError(f"{ws.engine.host} takes no training runs, and {explain_no_computing('train')}.")


def choose_place(ws: Workspace, folder: Path) -> bool:
    """Write into a new run folder that the server computes it; return whether it does.

    It does if the person uses one that takes runs and it can be reached, or if this computer cannot compute: then the
    run waits for it.
    """
    engine = ws.engine
    server = read_server(ws.registry.user_dir)
    if not isinstance(engine, FallbackEngine) or server is None or not engine.remote.takes_trainings:
        return False
    is_lost = bool(engine.remote.problem) and not engine.remote.is_connected
    if is_lost and can_compute():
        return False
    send_to_server(folder, server.address, ws.registry.user_dir)
    return True


def switch_engine(ws: Workspace) -> None:
    """Use the engine that the settings name now; a running prediction is cancelled."""
    from napari_medseg.workflow.remote.engine_choice import choose_engine

    before, ws.engine = ws.engine, choose_engine(ws.registry)
    # To say goodbye to a server that does not answer takes seconds, for which the window must not wait.
    threading.Thread(target=before.close, name="engine that is closed", daemon=True).start()
    ws.engine.start()
