"""The client of the engine: one process that predicts and keeps networks loaded, so that the window needs no torch.

It is started in the background, restarted after a crash, and called from a worker thread, one request at a time.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from psygnal import Signal

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.inference.engine.interface import EngineState, EngineUnavailable, PredictionCancelled
from napari_medseg.inference.engine.process import CANCEL_SECONDS, EngineProcess
from napari_medseg.inference.engine.protocol import (
    EventReply,
    PartWrittenReply,
    PredictRequest,
    ReadyReply,
    Reply,
    ResultReply,
)
from napari_medseg.inference.engine.shared_memory import SharedArray, SharedResult
from napari_medseg.inference.events import PredictionEvent, PredictionProgress

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
GRACEFUL_CANCEL_SECONDS = 5.0
"""Time limit to stop a prediction that is no longer needed: restarting a killed engine takes longer."""


class Engine:
    """One inference process that keeps networks loaded, and the requests to it.

    Parameters
    ----------
    python
        Path of the Python interpreter.
    device_name
        Name of the device to use, such as ``cuda:1``; empty for the fastest one that computes.
    runtime
        What a person asks for; see `runtime_names.RuntimeWish`.
    """

    state_changed = Signal(str)
    """Emitted with the new state, from any thread."""

    def __init__(self, python: str = sys.executable, device_name: str = "", runtime: str = "auto") -> None:
        self._python, self._runtime = python, runtime
        self._device_name = device_name
        self._ready = ReadyReply(device="")
        self._process: EngineProcess | None = None
        self._state_lock = threading.RLock()
        self._request_lock = threading.Lock()
        self._n_cancels = 0
        self._cancel_timeout_s = CANCEL_SECONDS
        self._n_requests = 0
        self._state: EngineState = "stopped"

    @property
    def state(self) -> EngineState:
        """Current state."""
        return self._state

    @property
    def device(self) -> str:
        """Name of its device, such as ``CPU`` or ``CUDA: ...``; empty until it was ready once."""
        return self._ready.device

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """As in `PredictionEngine`."""
        return self._ready.devices

    @property
    def cpu_reason(self) -> str:
        """As in `PredictionEngine`."""
        return self._ready.cpu_reason

    def use_device(self, name: str) -> None:
        """As in `PredictionEngine`; a running prediction is cancelled, and the process starts again."""
        is_new, self._device_name = name != self._device_name, name
        if is_new and self._process is not None:
            self.close()
            self.start()

    @property
    def pid(self) -> int | None:
        """Process id; `None` if it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process if it is not running. Returns at once; `state` becomes ready after a few seconds."""
        with self._state_lock:
            if self._state in ("stopped", "crashed"):
                self._process = EngineProcess(self._python, self._on_reply, self._device_name, self._runtime)
                self._set_state("starting")

    def close(self) -> None:
        """End the process; a running prediction is cancelled."""
        with self._state_lock:
            process, self._process = self._process, None
            self._n_cancels += 1
            self._set_state("stopped")
        if process is not None:
            process.close()

    def cancel(self) -> None:
        """Cancel the running and all waiting predictions within half a second; may be called from any thread."""
        self._cancel_within(CANCEL_SECONDS)

    def cancel_gracefully(self) -> None:
        """Cancel like `cancel`, but wait up to 5 s for the end of a forward pass before the process is killed.

        May be called from any thread.
        """
        self._cancel_within(GRACEFUL_CANCEL_SECONDS)

    def predict(
        self,
        image: Image,
        version_folder: Path,
        *,
        with_uncertainty_map: bool = False,
        roi_folder: Path | None = None,
        probabilities_file: Path | None = None,
    ) -> Iterator[PredictionEvent]:
        """Predict one image. This blocks, so iterate in a worker thread; other requests wait.

        The image is (y, x) or (z, y, x), with channels behind where there are any; the arrays of the result have its
        `spatial_shape`. `roi_folder` is the version that finds the region of interest first, if the model needs one.
        `probabilities_file` gets the probabilities, see `inference.probabilities`.

        Yields
        ------
        PredictionEvent
            Progress and notices, parts of a series, and finally the `PredictionResult`.

        Raises
        ------
        PredictionCancelled
            After `cancel`.
        MedSegError
            If the image or the version cannot be used, or the process crashed; then it is restarted.
        """
        card = read_card(version_folder / CARD_FILE)
        ticket = self._n_cancels
        with contextlib.ExitStack() as stack:
            yield from self._wait_for_turn(ticket)
            stack.callback(self._request_lock.release)
            process = yield from self._wait_until_ready(ticket)
            pixels = stack.enter_context(SharedArray.from_array(image.pixels))
            shared = SharedResult.create(stack, image, card, with_uncertainty_map, roi_folder is not None)
            request = self._make_request(image, version_folder, roi_folder, pixels, shared)
            if probabilities_file is not None:
                request = request.model_copy(update={"probabilities_file": str(probabilities_file.resolve())})
            result = shared.read((yield from self._receive_events(process, request, shared, ticket)))
        yield result

    def _cancel_within(self, seconds: float) -> None:
        with self._state_lock:
            self._cancel_timeout_s = seconds
            self._n_cancels += 1

    def _make_request(
        self, image: Image, folder: Path, roi_folder: Path | None, pixels: SharedArray, result: SharedResult
    ) -> PredictRequest:
        self._n_requests += 1
        return PredictRequest(
            id=self._n_requests,
            pixels=pixels.ref,
            axes=image.axes,
            spacing_mm=image.spacing_mm,
            units=image.units,
            image_name=image.name,
            version_folder=str(folder.resolve()),
            labels=result.labels.ref,
            uncertainty_map=None if result.uncertainty_map is None else result.uncertainty_map.ref,
            roi_folder=None if roi_folder is None else str(roi_folder.resolve()),
            roi=None if result.roi is None else result.roi.ref,
            padding_value=image.padding_value,
            intensity_range=image.intensity_range,
        )

    def _wait_for_turn(self, ticket: int) -> Iterator[PredictionEvent]:
        if self._request_lock.acquire(blocking=False):
            return
        yield PredictionProgress(0, 1, "waiting for the previous prediction", None)
        while not self._request_lock.acquire(timeout=POLL_SECONDS):
            self._raise_if_cancelled(ticket)

    def _wait_until_ready(self, ticket: int) -> Generator[PredictionEvent, None, EngineProcess]:
        self.start()
        if self._state == "starting":
            yield PredictionProgress(0, 1, "starting the prediction process", None)
        while True:
            self._raise_if_cancelled(ticket)
            with self._state_lock:
                process, state = self._process, self._state
            if process is not None and state == "ready":
                return process
            if process is not None and state == "crashed":
                raise EngineUnavailable(
                    f"the prediction process cannot start ({process.describe_exit()}). "
                    "Predict again; if that does not help, install the program again."
                )
            time.sleep(POLL_SECONDS)

    def _receive_events(
        self, process: EngineProcess, request: PredictRequest, shared: SharedResult, ticket: int
    ) -> Generator[PredictionEvent, None, ResultReply]:
        self._set_busy(process, True)
        try:
            conversation = process.stream_replies(
                request, lambda: self._raise_if_cancelled(ticket), lambda: self._get_time_to_stop(ticket)
            )
            while True:
                match next(conversation):
                    case EventReply(event=event):
                        yield event
                    case PartWrittenReply() as written:
                        yield shared.read_part(written)
                    case ResultReply() as reply:
                        return reply
        finally:
            conversation.close()
            self._set_busy(process, False)

    def _raise_if_cancelled(self, ticket: int) -> None:
        if ticket != self._n_cancels:
            raise PredictionCancelled("the prediction was cancelled")

    def _get_time_to_stop(self, ticket: int) -> float:
        """Return the time limit of a cancel; a caller that closes its iterator leaves the engine warm."""
        return self._cancel_timeout_s if ticket != self._n_cancels else GRACEFUL_CANCEL_SECONDS

    def _on_reply(self, process: EngineProcess, reply: Reply | None) -> None:
        """Update the state from the process's replies; called in its reader thread."""
        with self._state_lock:
            if process is not self._process:
                return
            if isinstance(reply, ReadyReply):
                self._ready = reply
                self._set_state("ready")
                logger.info("engine %d is ready on %s", process.pid, reply.device)
            elif reply is None:
                was_ready = self._state in ("ready", "busy")
                self._set_state("crashed")
                if was_ready:  # a process that failed at the start would fail again
                    self.start()

    def _set_busy(self, process: EngineProcess, busy: bool) -> None:
        with self._state_lock:
            if process is self._process and not process.is_dying and self._state in ("ready", "busy"):
                self._set_state("busy" if busy else "ready")

    def _set_state(self, state: EngineState) -> None:
        if state != self._state:
            self._state = state
            self.state_changed.emit(state)
