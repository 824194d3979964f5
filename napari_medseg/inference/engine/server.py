"""The engine process, which keeps networks loaded: ``... -m napari_medseg.inference.engine.server [DEVICE [RUNTIME]]``.

It reads requests from stdin and writes replies to stdout (see `protocol`); arrays are in shared memory. It ends when
stdin is closed, so it never runs longer than its window. After an unexpected error it ends with a traceback on stderr,
and the window starts a new one.
"""

import logging
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from napari_medseg.core.decoded_size.freed_memory import return_freed_memory
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.inference.device import (
    choose_device,
    describe_device,
    explain_cpu,
    free_cached_memory,
    list_devices,
    name_devices,
)
from napari_medseg.inference.engine.protocol import (
    CancelledReply,
    CancelRequest,
    ErrorReply,
    EventReply,
    PredictRequest,
    ReadyReply,
    Reply,
    decode_request,
    encode_message,
)
from napari_medseg.inference.engine.shared_memory import SharedArray, write_part, write_result
from napari_medseg.inference.events import PredictionOptions, PredictionPart, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.runtimes.runtime_names import choose_runtime
from napari_medseg.inference.tuning.settings import TuningSettings, make_tuning_settings

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NICENESS = 10
"""On the CPU, the window has priority over the engine."""

GPU_RETRY_S = 60.0

IDLE_S = 1.0
"""Pause after which the engine measures what is fastest and gives memory back: nobody waits then."""

MAX_WARM_VERSIONS = 2
"""The live version and one version for comparison."""


def main(device_name: str = "", runtime: str = "auto") -> None:
    """Serve requests until stdin ends, on a device such as ``cuda:1`` or on the fastest one that computes."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.excepthook = _exit_on_uncaught_error
    replies = _reserve_stdout()
    device, cpu_reason = choose_engine_device(device_name)
    if device.type == "cpu" and hasattr(os, "nice"):
        os.nice(NICENESS)
    request_queue = RequestQueue(sys.stdin.buffer)

    def reply(message: Reply) -> None:
        replies.write(encode_message(message))
        replies.flush()

    predictors = PredictorCache(device, make_tuning_settings(choose_runtime(runtime)))
    reply(ReadyReply(device=describe_device(device), devices=tuple(name_devices()), cpu_reason=cpu_reason))
    is_rested = True
    while True:
        request = request_queue.wait_for_request(IDLE_S if predictors.may_tune or not is_rested else None)
        is_rested = request is None
        if request is None:
            predictors.tune(lambda: not request_queue.is_empty)
            return_freed_memory()
            continue
        handle_request(request, request_queue, predictors, reply)
        if request_queue.is_empty:
            free_cached_memory(device)  # a training on the same GPU needs it now, and the next request takes it again


def choose_engine_device(wanted: str) -> "tuple[torch.device, str]":
    """Return the wanted device, or the fastest one if it cannot be used, and why that is the CPU, if it is."""
    try:
        device, reason = choose_device(wanted), ""
    except MedSegError as error:  # it was chosen earlier, or on another computer
        device, reason = choose_device(), str(error)
    if device.type == "cpu" and wanted != "cpu":
        reason = reason or explain_cpu(list_devices())
    return device, reason


class RequestQueue:
    """Reads requests in a thread, so that a cancel request is noticed while a network computes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.SimpleQueue[PredictRequest] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._read_requests, name="requests", daemon=True).start()

    def wait_for_request(self, timeout_s: float | None = None) -> PredictRequest | None:
        """Wait for the next request; return `None` if none comes in time."""
        try:
            return self._requests.get(timeout=timeout_s)
        except queue.Empty:
            return None

    @property
    def is_empty(self) -> bool:
        """Whether no request waits."""
        return self._requests.empty()

    def is_cancelled(self, request_id: int) -> bool:
        """Whether the window cancelled this request."""
        return request_id in self._cancelled

    def _read_requests(self) -> None:
        for line in self._stream:
            match decode_request(line):
                case CancelRequest(id=request_id):
                    self._cancelled.add(request_id)
                case PredictRequest() as request:
                    self._requests.put(request)
        os._exit(0)  # the window has ended; nobody needs the running prediction


class PredictorCache:
    """Predictors by version; the most recently used ones stay loaded.

    Parameters
    ----------
    device
        Where they compute.
    tuning
        How the fastest way is chosen; `None` for torch and the usual batches.
    """

    def __init__(self, device: "torch.device", tuning: TuningSettings | None = None) -> None:
        self._device, self._tuning = device, tuning
        self._warm: OrderedDict[tuple[str, str], Predictor] = OrderedDict()

    @property
    def may_tune(self) -> bool:
        """Whether something is not measured yet."""
        return any(one.tuner is not None and one.tuner.choice is None for one in self._warm.values())

    def tune(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Measure what is due, about a second for each version, once; a measurement that is stopped begins again."""
        for predictor in self._warm.values():
            if not is_stopped():
                predictor.tune(is_stopped=is_stopped)

    def get(self, folder: Path, roi_folder: Path | None = None) -> Predictor:
        """Return the predictor of a version's folder; it is loaded again if the weights changed."""
        roi_predictor = None if roi_folder is None else self.get(roi_folder)
        key = (str(folder), read_card(folder / CARD_FILE).weights_sha256)
        if key in self._warm and _may_return_to_gpu(self._warm[key]):
            del self._warm[key]
        if key not in self._warm:
            while len(self._warm) >= MAX_WARM_VERSIONS:
                self._warm.popitem(last=False)
            self._warm[key] = Predictor.load(folder, self._device, tuning=self._tuning)
        self._warm.move_to_end(key)
        predictor = self._warm[key]
        predictor.roi_predictor = roi_predictor
        return predictor


def _may_return_to_gpu(predictor: Predictor) -> bool:
    """Whether a predictor fell back to the CPU a while ago: a training may have had the memory of the GPU meanwhile."""
    return predictor.fell_back_at is not None and time.monotonic() - predictor.fell_back_at > GPU_RETRY_S


def handle_request(
    request: PredictRequest,
    request_queue: RequestQueue,
    predictors: PredictorCache,
    send_reply: Callable[[Reply], None],
) -> None:
    """Answer one request. A fault of this program ends the process; any other error is sent as a reply."""
    reply: Reply
    try:
        with translate_errors(), SharedArray.attach(request.pixels) as pixels:
            roi_folder = None if request.roi_folder is None else Path(request.roi_folder)
            predictor = predictors.get(Path(request.version_folder), roi_folder)
            result = _predict(request, pixels, request_queue, predictor, send_reply)
            reply = CancelledReply(id=request.id) if result is None else write_result(request, result)
    except MedSegError as error:
        reply = ErrorReply(id=request.id, text=str(error))
    send_reply(reply)


def _predict(
    request: PredictRequest,
    pixels: SharedArray,
    request_queue: RequestQueue,
    predictor: Predictor,
    send_reply: Callable[[Reply], None],
) -> PredictionResult | None:
    """Return the result, or `None` if the request was cancelled."""
    image = Image(
        pixels.view(),
        request.axes,
        request.spacing_mm,
        units=request.units,
        name=request.image_name,
        padding_value=request.padding_value,
        intensity_range=request.intensity_range,
    )
    file = None if request.probabilities_file is None else Path(request.probabilities_file)
    is_cancelled = partial(request_queue.is_cancelled, request.id)
    options = PredictionOptions(request.uncertainty_map is not None, file, with_parts=True, is_cancelled=is_cancelled)
    events = predictor.predict(image, options)
    for event in events:
        if request_queue.is_cancelled(request.id):
            return None
        if isinstance(event, PredictionResult):
            return event
        if isinstance(event, PredictionPart):
            send_reply(write_part(request, event))
        else:
            send_reply(EventReply(id=request.id, event=event))
    return None


def _reserve_stdout() -> BinaryIO:
    """Reserve stdout for replies; the output of libraries goes to stderr."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private


def _exit_on_uncaught_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback and exit. A normal exit would abort, because the reader thread holds stdin."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
