"""The engine process, where networks stay warm: ``python -P -m napari_medseg.inference.engine.server``.

Requests come by stdin, replies go by stdout (see `protocol`), arrays lie in shared memory. It ends when stdin ends, so
it never outlives its window. A bug ends it with a traceback on stderr: the window starts another one.
"""

import logging
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.inference.device import choose_device, device_title
from napari_medseg.inference.engine.protocol import (
    CancelledReply,
    CancelRequest,
    ErrorReply,
    NoticeReply,
    PredictRequest,
    ProgressReply,
    Ready,
    Reply,
    ResultReply,
    decode_request,
    encode,
)
from napari_medseg.inference.engine.shared_memory import Segment
from napari_medseg.inference.events import Notice, Options, Progress, Result
from napari_medseg.inference.predictor import Predictor

logger = logging.getLogger(__name__)

NICENESS = 10
"""On the CPU the window, where a person paints, goes first."""

WARM_VERSIONS = 2
"""The live version and one that it is compared with."""


def main() -> None:
    """Serve requests until stdin ends."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.excepthook = _die
    replies = _take_stdout()
    device = choose_device()
    if device.type == "cpu" and hasattr(os, "nice"):
        os.nice(NICENESS)
    inbox = Inbox(sys.stdin.buffer)

    def reply(message: Reply) -> None:
        replies.write(encode(message))
        replies.flush()

    predictors = Predictors(str(device))
    reply(Ready(device=device_title(device)))
    while True:
        answer(inbox.next_request(), inbox, predictors, reply)


class Inbox:
    """Reads requests in a thread, so that a cancel is seen while a network computes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.SimpleQueue[PredictRequest] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def next_request(self) -> PredictRequest:
        """Wait for the next request."""
        return self._requests.get()

    def is_cancelled(self, request_id: int) -> bool:
        """Whether the window wants this request no longer."""
        return request_id in self._cancelled

    def _read(self) -> None:
        for line in self._stream:
            match decode_request(line):
                case CancelRequest(id=request_id):
                    self._cancelled.add(request_id)
                case PredictRequest() as request:
                    self._requests.put(request)
        os._exit(0)  # the window is gone; whatever is being computed, nobody waits for it


class Predictors:
    """Networks by version, the last few of them kept warm."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._warm: OrderedDict[tuple[str, str], Predictor] = OrderedDict()

    def get(self, folder: Path, field_folder: Path | None = None) -> Predictor:
        """Return the predictor of a version's folder; a folder with other weights is another version."""
        field = None if field_folder is None else self.get(field_folder)
        key = (str(folder), read_card(folder / CARD_FILE).weights_sha256)
        if key not in self._warm:
            while len(self._warm) >= WARM_VERSIONS:
                self._warm.popitem(last=False)
            self._warm[key] = Predictor.load(folder, self._device)
        self._warm.move_to_end(key)
        predictor = self._warm[key]
        predictor.field = field
        return predictor


def answer(request: PredictRequest, inbox: Inbox, predictors: Predictors, reply: Callable[[Reply], None]) -> None:
    """Answer one request; what a person can act on is a reply, anything else is raised and ends the process."""
    try:
        with Segment.attach(request.pixels) as pixels:
            field_folder = None if request.field_folder is None else Path(request.field_folder)
            predictor = predictors.get(Path(request.version_folder), field_folder)
            result = _run(request, pixels, inbox, predictor, reply)
    except MedSegError as error:
        reply(ErrorReply(id=request.id, text=str(error)))
        return
    if result is None:
        reply(CancelledReply(id=request.id))
        return
    places = (request.labels, request.uncertainty_map, request.field)
    for place, array in zip(places, (result.labels, result.uncertainty_map, result.field), strict=True):
        if place is not None and array is not None:
            with Segment.attach(place) as segment:
                segment.write(array)
    reply(ResultReply(id=request.id, uncertainty=result.uncertainty, seconds=result.seconds))


def _run(
    request: PredictRequest, pixels: Segment, inbox: Inbox, predictor: Predictor, reply: Callable[[Reply], None]
) -> Result | None:
    """Return the result, or `None` where the request was cancelled."""
    image = Image(pixels.view(), request.axes, request.spacing_mm, units=request.units, name=request.image_name)
    events = predictor.predict(image, Options(with_uncertainty_map=request.uncertainty_map is not None))
    for event in events:
        if inbox.is_cancelled(request.id):
            return None
        match event:
            case Progress(done, total, text, seconds_left):
                reply(ProgressReply(id=request.id, done=done, total=total, text=text, seconds_left=seconds_left))
            case Notice(text):
                reply(NoticeReply(id=request.id, text=text))
            case Result() as result:
                return result
    return None


def _take_stdout() -> BinaryIO:
    """Keep stdout for replies alone; whatever a library prints goes to stderr."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return private


def _die(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show a bug and end. An orderly exit would abort on stdin, which the reading thread holds."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
