"""Which engine predicts for a person: that of this computer, a server, or none."""

from pathlib import Path

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.inference.engine.absent import AbsentEngine
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import PredictionEngine
from napari_medseg.inference.remote.fallback import FallbackEngine, open_engine
from napari_medseg.window_requirements import can_compute
from napari_medseg.workflow.preferences import read_preferences
from napari_medseg.workflow.remote.server_settings import read_server
from napari_medseg.workflow.remote.untold import tell_whenever_connected


def choose_engine(registry: ModelRegistry) -> PredictionEngine:
    """Return the engine that the person chose; nothing is started.

    A server that cannot be used, because websockets or its token is missing, is reported; then this computer predicts.
    """
    preferences = read_preferences(registry)
    local = Engine(device_name=preferences.device, runtime=preferences.runtime) if can_compute() else None
    engine: PredictionEngine | None = local
    server = read_server(registry.user_dir)
    if server is not None and server.is_used:
        ca_file = Path(server.ca_file) if server.ca_file else None
        try:
            engine = open_engine(server.address, server.token.get_secret_value(), ca_file, local)
        except MedSegError as error:
            report_damage(f"the server {server.name} is not used: {error}")
    if isinstance(engine, FallbackEngine):
        tell_whenever_connected(engine, registry.user_dir)
    return engine or AbsentEngine()


def explain_no_engine(engine: PredictionEngine) -> str:
    """Return why nothing predicts now: no torch here, and no server that is reached; empty if something does."""
    if isinstance(engine, AbsentEngine):
        return engine.cpu_reason
    is_lost = isinstance(engine, FallbackEngine) and engine.local is None and engine.remote.state == "crashed"
    return engine.cpu_reason if is_lost else ""
