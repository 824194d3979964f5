"""The prediction of a whole slide in its folder: begun, continued after any interruption, and chunk by chunk.

Each chunk is read, predicted, merged with what is there, written, and committed. A process that is killed at any
moment loses the chunk under way, and nothing else.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionEvent, PredictionNotice, PredictionResult
from napari_medseg.workflow.whole_slide.chunk_merge import place_objects
from napari_medseg.workflow.whole_slide.chunk_table import ChunkTable
from napari_medseg.workflow.whole_slide.chunks import Box, shift
from napari_medseg.workflow.whole_slide.grid import read_grid
from napari_medseg.workflow.whole_slide.label_pyramid import (
    LabelPyramid,
    choose_dtype,
    create_pyramid,
    open_pyramid,
    remove_unfinished,
)
from napari_medseg.workflow.whole_slide.manifest import (
    LABELS_FOLDER,
    MANIFEST_FILE,
    TABLE_FILE,
    Manifest,
    SlideIdentity,
    read_manifest,
    write_manifest,
)
from napari_medseg.workflow.whole_slide.plan import SlidePlan, refuse_full_disk

PAUSE_SECONDS = 0.05
MAX_FAILURES = 3
"""So often in a row a chunk is tried."""
N_TIMED = 20
"""The time left is estimated from so many of the last chunks."""

PredictImage = Callable[[Image], Iterator[PredictionEvent]]
"""Predicts one image: `Predictor.predict`, or a request to the engine."""


@dataclass(frozen=True)
class SlideProgress:
    """How far a prediction is.

    `place` is the part of the grid that got labels just now, `None` if there is no news. `seconds_left` is `None` while
    it is unknown, and while the prediction waits for one that a person asked for (`is_waiting`).
    """

    done: int
    total: int
    n_objects: int
    seconds_left: float | None = None
    place: Box | None = None
    is_waiting: bool = False
    notice: str = ""


class WholeSlide:
    """A prediction in its folder: manifest, table of chunks, and labels; a context manager."""

    def __init__(self, folder: Path, manifest: Manifest, table: ChunkTable, labels: LabelPyramid) -> None:
        self.folder, self.manifest, self.table, self.labels = folder, manifest, table, labels

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self.table.close()

    @property
    def is_complete(self) -> bool:
        """Whether all chunks are predicted."""
        return self.table.count("done") == self.table.n_chunks

    def join_pairs(self) -> None:
        """Give the parts of objects that are one the same number."""
        while pairs := self.table.list_pairs():
            loser, winner = pairs[0]
            for record in self.table.find_objects([loser]):
                box = (slice(record.top, record.bottom), slice(record.left, record.right))
                self.labels.replace(loser, winner, box)
            self.table.join(loser, winner)


def find_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder with a prediction; `None` if it holds none. Raises if it is damaged."""
    return read_manifest(folder) if (folder / MANIFEST_FILE).is_file() else None


def begin_prediction(folder: Path, plan: SlidePlan) -> WholeSlide:
    """Begin a prediction in a folder, which is made; nothing is predicted yet.

    Raises
    ------
    MedSegError
        If the folder holds something, or the disk has too little space.
    """
    if any((folder / name).exists() for name in (MANIFEST_FILE, TABLE_FILE, LABELS_FOLDER)):
        raise MedSegError(f"{folder} holds a prediction already. Continue it, or choose another folder.")
    refuse_full_disk(folder, plan.n_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, plan.manifest)
    return continue_prediction(folder)


def continue_prediction(folder: Path, slide: Slide | None = None, model: tuple[str, str] | None = None) -> WholeSlide:
    """Open a prediction that may be unfinished.

    Parameters
    ----------
    folder
        Where it was begun.
    slide, model
        An open slide, and id and hash of the weights of a version, which are to be those that it was begun with.

    Raises
    ------
    MedSegError
        If there is none, it is damaged, or it was begun with another slide or version.
    """
    manifest = read_manifest(folder)
    if slide is not None and model is not None:
        difference = manifest.find_difference(SlideIdentity.of(slide), *model)
        if difference:
            raise MedSegError(f"the prediction in {folder} cannot be continued: {difference}. Choose another folder.")
    table = ChunkTable(folder / TABLE_FILE)
    try:
        if table.n_chunks == 0:  # killed at the start
            create_pyramid(
                folder / LABELS_FOLDER,
                manifest.grid,
                choose_dtype(manifest.definition),
                manifest.definition,
                f"{manifest.task} of slide {manifest.slide.key}",
            )
            table.plan(manifest.chunk_numbers)
        remove_unfinished(folder / LABELS_FOLDER)
        whole = WholeSlide(folder, manifest, table, open_pyramid(folder / LABELS_FOLDER, writable=True))
        whole.join_pairs()
    except BaseException:
        table.close()
        raise
    return whole


def predict_chunks(
    whole: WholeSlide,
    slide: Slide,
    predict_image: PredictImage,
    must_wait: Callable[[], bool] = lambda: False,
) -> Iterator[SlideProgress]:
    """Predict the chunks that are left; yield often. Close the iterator to stop: the chunk under way is dropped.

    Parameters
    ----------
    whole
        The prediction, from `begin_prediction` or `continue_prediction`.
    slide
        Its slide, opened in this thread.
    predict_image
        Predicts a chunk.
    must_wait
        Whether somebody else's prediction goes first: then the chunk under way is dropped, and predicted again later.

    Raises
    ------
    MedSegError
        If the model or the disk fails. A part of the slide that is damaged is left out, and noted in the table.
    """
    left = deque(whole.table.list_chunks("waiting", "failed"))
    total, times, n_failures = whole.table.n_chunks, deque[float](maxlen=N_TIMED), 0

    def report(place: Box | None = None, *, is_waiting: bool = False, notice: str = "") -> SlideProgress:
        seconds = len(left) * sum(times) / len(times) if times and not is_waiting else None
        n_done = whole.table.count("done")
        return SlideProgress(n_done, total, whole.table.n_objects, seconds, place, is_waiting, notice)

    yield report()
    while left:
        if must_wait():
            yield report(is_waiting=True)
            time.sleep(PAUSE_SECONDS)
            continue
        began = time.monotonic()
        try:
            place = yield from _predict_chunk(whole, slide, left[0], predict_image, must_wait)
        except DamagedPartError as error:
            reason = str(error).replace(slide.name, "the slide")  # the folder of a prediction names no one
            whole.table.fail_chunk(left.popleft(), reason)
            yield report(notice=str(error))
            continue
        except MedSegError as error:  # such as an engine that crashed, which is restarted
            n_failures += 1
            if n_failures == MAX_FAILURES:
                raise
            yield report(notice=str(error))
            continue
        if place is not None:
            n_failures = 0
            left.popleft()
            times.append(time.monotonic() - began)
            yield report(place)


def read_chunk(manifest: Manifest, slide: Slide, number: int) -> Image:
    """Read what the model is shown of a chunk; raise `DamagedPartError` if that part of the slide is damaged."""
    window, grid = manifest.chunks.get_window(number), manifest.grid
    size = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    pixels = read_grid(slide, grid, window[0].start, window[1].start, *size)
    return Image(pixels, "YXC", grid.spacing_mm, units="rgb", name="slide", intensity_range=manifest.intensity_range)


def write_chunk(whole: WholeSlide, number: int, found: NDArray[Any], began: float) -> Box:
    """Merge the labels of a chunk, (h, w) of its window, and commit; in order of the numbers. Return where they lie."""
    with translate_errors():
        write = _write_objects if whole.manifest.definition.instances else _write_classes
        return write(whole, number, found, began)


def _predict_chunk(
    whole: WholeSlide, slide: Slide, number: int, predict_image: PredictImage, must_wait: Callable[[], bool]
) -> Generator[SlideProgress, None, Box | None]:
    """Predict and commit one chunk; return where it got labels, `None` if it had to give way."""
    began = time.monotonic()
    image = read_chunk(whole.manifest, slide, number)
    found = yield from _get_labels(whole, predict_image(image), must_wait)
    return None if found is None else write_chunk(whole, number, found, began)


def _get_labels(
    whole: WholeSlide, events: Iterator[PredictionEvent], must_wait: Callable[[], bool]
) -> Generator[SlideProgress, None, NDArray[Any] | None]:
    """Return the labels of a prediction; `None` if it was interrupted for another one."""
    n_done, total, n_objects = whole.table.count("done"), whole.table.n_chunks, whole.table.n_objects
    try:
        for event in events:
            if isinstance(event, PredictionResult):
                return event.labels
            notice = event.text if isinstance(event, PredictionNotice) else ""
            yield SlideProgress(n_done, total, n_objects, notice=notice)
            if must_wait():
                return None
    except PredictionCancelled:  # by whoever asked for something more urgent
        return None
    finally:
        if isinstance(events, Generator):
            events.close()
    raise AssertionError("a prediction ends with its result")


def _write_objects(whole: WholeSlide, number: int, found: NDArray[Any], began: float) -> Box:
    chunks, table = whole.manifest.chunks, whole.table
    window, core = chunks.get_window(number), chunks.get_core(number)
    existing = whole.labels.read(window)
    next_id = table.next_id
    existing[existing >= next_id] = 0  # of a process that was killed before it committed
    ids = np.unique(existing[existing > 0]).tolist()
    cut = {record.id for record in table.find_objects(ids) if record.is_cut}
    placed = place_objects(found, existing, shift(core, window), next_id, window, whole.labels.shape, cut)
    labels = np.where(placed.labels > 0, placed.labels, existing)
    whole.labels.write(labels, window)
    table.commit_chunk(number, placed.records, placed.pairs, time.monotonic() - began)
    whole.join_pairs()
    return window


def _write_classes(whole: WholeSlide, number: int, found: NDArray[Any], began: float) -> Box:
    core = whole.manifest.chunks.get_core(number)
    inside = found[shift(core, whole.manifest.chunks.get_window(number))]
    whole.labels.write(inside.astype(whole.labels.dtype, copy=False), core)
    whole.table.commit_chunk(number, [], [], time.monotonic() - began)
    return core
