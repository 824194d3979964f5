"""The engines of a server, and a prediction in one of them, as a task of its own: so a cancel is answered at once."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from napari_medseg.core.errors import MedSegError, explain
from napari_medseg.core.image import Image
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import EngineUnavailable
from napari_medseg.inference.events import PredictionEvent, PredictionProgress
from napari_medseg.inference.remote.messages import PredictOrder, QueuedReply, RemoteRefused
from napari_medseg.workflow.serving.session import Session

logger = logging.getLogger(__name__)

POLL_S = 0.02
Told = QueuedReply | PredictionEvent


async def start_engines(engines: Sequence[Engine]) -> None:
    """Start all engines and wait until they are ready: then their devices are known, and no window waits for them."""
    for engine in engines:
        engine.start()
    while any(engine.state == "starting" for engine in engines):
        await asyncio.sleep(POLL_S)
    if any(engine.state == "crashed" for engine in engines):
        for engine in engines:
            engine.close()
        raise MedSegError("the prediction process cannot start. Run medseg doctor, or install the program again.")


@contextlib.contextmanager
def refuse_for_own_faults() -> Iterator[None]:
    """Raise faults of this computer, such as a full disk, as `RemoteRefused`: then the window predicts itself.

    The text names no path of this computer; its log does.
    """
    try:
        yield
    except MedSegError:
        raise
    except Exception as error:
        if explain(error) is None:
            raise
        logger.error("an order was not served: %s: %s", type(error).__name__, error)
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise RemoteRefused(
            f"the server has a fault of its own ({reason}). Tell whoever keeps it: its log says more."
        ) from error


class RunningPrediction:
    """Waits for a lane and predicts there.

    Parameters
    ----------
    session, order, image
        Whose order it is, and what is predicted.
    probabilities_file
        Gets the probabilities; `None` if they are not wanted.
    """

    def __init__(self, session: Session, order: PredictOrder, image: Image, probabilities_file: Path | None) -> None:
        self._session = session
        self._order = order
        self._image = image
        self._probabilities_file = probabilities_file
        self._told: asyncio.Queue[Told | Exception | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None
        self._is_stopped = False
        self._task = self._loop.create_task(self._occupy_lane())
        session.server.predicting.add(self._task)
        self._task.add_done_callback(session.server.predicting.discard)

    async def events(self) -> AsyncIterator[Told]:
        """Yield the place in the queue and the events, last the result; progress that is overtaken is left out.

        Raises
        ------
        MedSegError
            If the prediction failed; `RemoteRefused` if that was not for the image or the model.
        """
        while True:
            told = await self._told.get()
            if told is None:
                return
            if isinstance(told, EngineUnavailable):
                raise RemoteRefused(str(told)) from told
            if isinstance(told, Exception):
                raise told
            if isinstance(told, PredictionProgress | QueuedReply) and not self._told.empty():
                continue
            yield told

    def stop(self) -> None:
        """Leave the queue, or stop the engine at its next step; returns at once. Does nothing after the end."""
        self._is_stopped = True
        if self._engine is not None:
            self._engine.cancel_gracefully()
        elif not self._task.done():
            self._task.cancel()

    async def _occupy_lane(self) -> None:
        queue = self._session.server.queue
        with contextlib.suppress(asyncio.CancelledError):
            async with queue.take_turn(self._session.user, float(self._image.pixels.size), self._tell_place) as engine:
                self._engine = engine
                try:
                    await self._run_in_thread(engine)
                finally:
                    self._engine = None

    def _tell_place(self, place: int, seconds: float | None) -> None:
        self._told.put_nowait(QueuedReply(id=self._order.id, place=place, seconds=seconds))

    async def _run_in_thread(self, engine: Engine) -> None:
        ended: asyncio.Future[None] = self._loop.create_future()
        thread = threading.Thread(target=self._predict, args=(engine, ended), name="served prediction", daemon=True)
        thread.start()
        await ended

    def _predict(self, engine: Engine, ended: "asyncio.Future[None]") -> None:
        """Run the prediction; called in a thread of its own."""
        last: Exception | None = None
        try:
            with refuse_for_own_faults():
                versions, order = self._session.server.versions, self._order
                events = engine.predict(
                    self._image,
                    versions.find_folder(order.version),
                    with_uncertainty_map=order.with_uncertainty_map,
                    roi_folder=None if order.roi_version is None else versions.find_folder(order.roi_version),
                    probabilities_file=self._probabilities_file,
                )
                for event in events:
                    if self._is_stopped or self._loop.is_closed():
                        break
                    self._loop.call_soon_threadsafe(self._told.put_nowait, event)
        except MedSegError as error:
            last = error
        finally:
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._told.put_nowait, last)
                self._loop.call_soon_threadsafe(_end, ended)


def _end(waited_for: "asyncio.Future[None]") -> None:
    if not waited_for.done():
        waited_for.set_result(None)
