"""An engine on another computer: the same interface as the one of this computer, over a link."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from psygnal import Signal

from napari_medseg.core.image import Image
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.engine.interface import EngineState, PredictionCancelled
from napari_medseg.inference.events import PredictionEvent, PredictionProgress
from napari_medseg.inference.remote.address import ServerAddress
from napari_medseg.inference.remote.link import RemoteLink
from napari_medseg.inference.remote.messages import LinkLost
from napari_medseg.inference.remote.ordering import PredictionWanted, RemotePrediction

POLL_SECONDS = 0.02
FIRST_CONNECTION_S = 3.0
"""How long the first prediction waits for the first connection."""


class RemoteEngine:
    """Predicts on a server. It implements `PredictionEngine`, without torch.

    Parameters
    ----------
    address, token
        The server, see `connecting.parse_address`, and what its operator gave to this user.
    """

    state_changed = Signal(str)
    """Emitted with the new state, from any thread."""
    link_changed = Signal(bool)
    """Emitted with whether the server is connected, from the thread of the link."""

    def __init__(self, address: ServerAddress, token: str) -> None:
        self.address = address
        self._link = RemoteLink(address, token, self._on_link_changed)
        self._request_lock = threading.Lock()
        self._n_cancels = 0
        self._n_orders = 0
        self._state: EngineState = "stopped"

    @property
    def state(self) -> EngineState:
        """Current state; ``crashed`` while the server cannot be reached."""
        return self._state

    @property
    def device(self) -> str:
        """Name of the server and its device; empty while it is not connected."""
        welcome = self._link.welcome
        if not self.is_connected or welcome is None:
            return ""
        return f"{self.address.host}: {welcome.device}" if welcome.device else self.address.host

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """None can be chosen: who runs the server chooses its devices."""
        return ()

    @property
    def cpu_reason(self) -> str:
        """As in `PredictionEngine`, for the server."""
        return self._link.welcome.cpu_reason if self._link.welcome is not None else ""

    @property
    def is_connected(self) -> bool:
        """Whether the server can be asked now."""
        return self._link.is_connected

    @property
    def problem(self) -> str:
        """Why the server cannot be asked; empty if it can, or was not tried yet."""
        return self._link.problem

    @property
    def takes_trainings(self) -> bool:
        """Whether the server trains, too; true as long as it has not said that it does not."""
        return self._link.welcome is None or self._link.welcome.takes_trainings

    def use_device(self, name: str) -> None:
        """Do nothing: who runs the server chooses its devices."""

    def start(self) -> None:
        """Connect in the background, and again whenever the connection breaks."""
        if self._state == "stopped":
            self._set_state("starting")
            self._link.start()

    def close(self) -> None:
        """End the connection; a running prediction is cancelled."""
        self._n_cancels += 1
        self._link.close()
        self._set_state("stopped")

    def cancel(self) -> None:
        """Cancel the running and all waiting predictions within half a second; may be called from any thread."""
        self._n_cancels += 1

    def cancel_gracefully(self) -> None:
        """Cancel like `cancel`: no engine of a server is ever killed for it."""
        self._n_cancels += 1

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        """Predict one image, as `Engine.predict` does. This blocks; other requests wait.

        Raises
        ------
        PredictionCancelled
            After `cancel`.
        RemoteProblem
            If the server cannot be reached, or does not serve this request: another engine can.
        MedSegError
            If the image or the version cannot be used.
        """
        ticket = self._n_cancels
        yield from self._wait_for_turn(ticket)
        try:
            yield from self._wait_for_first_connection(ticket)
            self._n_orders += 1
            wanted = PredictionWanted(image, version_folder, with_uncertainty_map, roi_folder, probabilities_file)
            yield from self._stream_events(wanted, self._n_orders, ticket)
        finally:
            self._request_lock.release()

    def _wait_for_turn(self, ticket: int) -> Iterator[PredictionEvent]:
        if self._request_lock.acquire(blocking=False):
            return
        yield PredictionProgress(0, 1, "waiting for the previous prediction", None)
        while not self._request_lock.acquire(timeout=POLL_SECONDS):
            self._raise_if_cancelled(ticket)

    def _wait_for_first_connection(self, ticket: int) -> Iterator[PredictionEvent]:
        self.start()
        if self._link.first_attempt.is_set():
            return
        yield PredictionProgress(0, 1, f"connecting to {self.address.host}", None)
        for _ in range(round(FIRST_CONNECTION_S / POLL_SECONDS)):
            self._raise_if_cancelled(ticket)
            if self._link.first_attempt.wait(POLL_SECONDS):
                return
        raise LinkLost(f"{self.address.host} has not answered for {FIRST_CONNECTION_S:.0f} s")

    def _stream_events(self, wanted: PredictionWanted, order_id: int, ticket: int) -> Iterator[PredictionEvent]:
        events: queue.SimpleQueue[PredictionEvent | None] = queue.SimpleQueue()
        prediction = RemotePrediction(wanted, order_id, self.address.host, events.put)
        future = self._link.submit(prediction.run)
        future.add_done_callback(lambda _: events.put(None))
        self._set_busy(True)
        try:
            while True:
                self._raise_if_cancelled(ticket)
                with contextlib.suppress(queue.Empty):
                    if (event := events.get(timeout=POLL_SECONDS)) is None:
                        break
                    yield event
            if future.cancelled():  # the link was closed meanwhile
                raise PredictionCancelled("the prediction was cancelled")
            future.result()
        finally:
            future.cancel()
            self._set_busy(False)

    def _raise_if_cancelled(self, ticket: int) -> None:
        if ticket != self._n_cancels:
            raise PredictionCancelled("the prediction was cancelled")

    def _on_link_changed(self) -> None:
        if self._state != "stopped":
            self._set_state("ready" if self.is_connected else "crashed")
        self.link_changed.emit(self.is_connected)

    def _set_busy(self, busy: bool) -> None:
        if self.is_connected and self._state in ("ready", "busy"):
            self._set_state("busy" if busy else "ready")

    def _set_state(self, state: EngineState) -> None:
        if state != self._state:
            self._state = state
            self.state_changed.emit(state)
