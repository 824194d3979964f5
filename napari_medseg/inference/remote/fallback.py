"""Predicts on a server while it can be reached, else on this computer; neither change touches a draft."""

from collections.abc import Iterator
from pathlib import Path

from psygnal import Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.engine.interface import EngineState, PredictionEngine
from napari_medseg.inference.events import PredictionEvent, make_notice
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.connecting import require_websockets
from napari_medseg.inference.remote.messages import RemoteProblem


def open_engine(
    server: str, token: str, ca_file: Path | None, local: PredictionEngine | None
) -> PredictionEngine | None:
    """Return the engine that the settings of a user ask for; nothing is started.

    Parameters
    ----------
    server
        Address of a server; empty: this computer alone.
    token
        What its operator gave to this user.
    ca_file
        Certificates to trust instead of those of the system.
    local
        The engine of this computer; `None` if torch is not installed here.

    Raises
    ------
    MedSegError
        If the address cannot be used, there is no token, or websockets is missing.
    """
    if not server.strip():
        return local
    require_websockets()
    if not token.strip():
        raise MedSegError(f"a token is needed for {server}. Ask who runs the server: medseg serve token add NAME.")
    return FallbackEngine(RemoteEngine(parse_address(server, ca_file), token.strip()), local)


class FallbackEngine:
    """A `PredictionEngine` of two: the remote one, and the one of this computer while that cannot be used.

    Parameters
    ----------
    remote
        The engine on a server.
    local
        The engine of this computer, started when it is needed; `None` if it cannot predict.
    """

    state_changed = Signal(str)
    """Emitted with the new state of the engine that predicts now, from any thread."""
    link_changed = Signal(bool, str)
    """Emitted with whether the server is connected and a text for the user, from any thread; not for the first time
    that it is connected."""

    def __init__(self, remote: RemoteEngine, local: PredictionEngine | None) -> None:
        self.remote = remote
        self.local = local
        self._was_connected: bool | None = None
        remote.link_changed.connect(self._on_link_changed)
        for engine in (remote, local):
            if (signal := getattr(engine, "state_changed", None)) is not None:
                signal.connect(self._on_state_changed)

    @property
    def host(self) -> str:
        """Name of the server."""
        return self.remote.address.host

    @property
    def state(self) -> EngineState:
        """State of the engine that predicts now."""
        return self._current.state

    @property
    def device(self) -> str:
        """Device of the engine that predicts now; that of a server begins with its name."""
        return self._current.device

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """Devices of this computer that can be chosen, for when the server cannot be reached."""
        return () if self.local is None else self.local.devices

    @property
    def cpu_reason(self) -> str:
        """Why this computer predicts instead of the server; else why the server uses its CPU."""
        if self.remote.is_connected or not self.remote.problem:
            return self.remote.cpu_reason
        return self._explain(self.remote.problem)

    def use_device(self, name: str) -> None:
        """Choose the device of this computer."""
        if self.local is not None:
            self.local.use_device(name)

    def start(self) -> None:
        """Connect to the server; the engine of this computer starts when that fails."""
        self.remote.start()

    def close(self) -> None:
        """End both; a running prediction is cancelled."""
        self.remote.close()
        if self.local is not None:
            self.local.close()

    def cancel(self) -> None:
        """Cancel all predictions at once."""
        self.remote.cancel()
        if self.local is not None:
            self.local.cancel()

    def cancel_gracefully(self) -> None:
        """Cancel all predictions without killing an engine, if possible."""
        self.remote.cancel_gracefully()
        if self.local is not None:
            self.local.cancel_gracefully()

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        """Predict as `PredictionEngine` says: on the server, and where that fails again on this computer.

        Raises
        ------
        PredictionCancelled
            After `cancel`.
        MedSegError
            If the image or the version cannot be used, or the server cannot and this computer does not predict.
        """

        def ask(engine: PredictionEngine) -> Iterator[PredictionEvent]:
            return engine.predict(
                image,
                version_folder,
                with_uncertainty_map=with_uncertainty_map,
                roi_folder=roi_folder,
                probabilities_file=probabilities_file,
            )

        if self.local is not None and self.remote.state == "crashed":
            yield from ask(self.local)  # what the server lacks was told when the link broke
            return
        try:
            yield from ask(self.remote)
        except RemoteProblem as problem:
            if self.local is None:
                raise MedSegError(self._explain(str(problem))) from problem
            yield make_notice(self._explain(str(problem)))
            yield from ask(self.local)

    @property
    def _current(self) -> PredictionEngine:
        is_down = self.remote.state == "crashed"
        return self.local if is_down and self.local is not None else self.remote

    def _explain(self, problem: str) -> str:
        problem = problem[:1].upper() + problem[1:].rstrip(".")
        if self.local is None:
            return f"{problem}. This computer has no engine of its own; what you do is kept. Predict again later."
        return f"{problem}. This computer predicts meanwhile; nothing is lost."

    def _on_link_changed(self, is_connected: bool) -> None:
        before, self._was_connected = self._was_connected, is_connected
        if not is_connected and self.local is not None:
            self.local.start()
        if is_connected and before is False:
            self.link_changed.emit(True, f"{self.host} is back and predicts again.")
        elif not is_connected and before is not False:
            self.link_changed.emit(False, self._explain(self.remote.problem))

    def _on_state_changed(self, _: str) -> None:
        self.state_changed.emit(self.state)
