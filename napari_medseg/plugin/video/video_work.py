"""Long work on a video, one at a time in a thread: choosing frames, predicting a range, writing files."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.video.video_forms import FrameRange
from napari_medseg.plugin.widgets.notifications import show_notice, show_problem, show_result
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.output.export import list_accepted_rows, read_export_item
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.second_reader.hidden import describe_left_out, leave_out_unread
from napari_medseg.workflow.video.chosen_frames import FrameChoice, choose_by_appearance
from napari_medseg.workflow.video.predict_range import RangeProgress, list_range, predict_range
from napari_medseg.workflow.video.predicted_frames import PredictedFrames
from napari_medseg.workflow.video.write_frames import Row, choose_video_rows, write_frames
from napari_medseg.workflow.video.write_overlay import DrawnLabels, choose_overlay_path, write_overlay
from napari_medseg.workflow.workspace import Workspace

SMALL_CACHE = 30 * 2**20
REPORT_EVERY_S = 0.2
_NONE = np.zeros(0, np.int64)


class VideoWork(QObject):
    """Works on the open video, each time with a reader of its own.

    Notes
    -----
    `progressed` carries what is done, or an empty text; `predicted` the number of a frame that has labels now.
    """

    progressed = Signal(str)
    predicted = Signal(int)

    def __init__(self, workspace: Workspace, queue: PredictionQueue, parent: QObject) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._queue = queue
        self._worker: Worker | None = None
        self._cancelled = threading.Event()
        self._reader: VideoReader | None = None
        self._labels: PredictedFrames | None = None
        self._drawn: DrawnLabels | None = None
        self._task = ""
        self._problem = ""

    @property
    def export_folder(self) -> Path:
        """The folder that is proposed for what is written."""
        return self._workspace.project.folder / "exports"

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The frames that are predicted."""
        return _NONE if self._labels is None else self._labels.numbers

    @property
    def reach(self) -> int:
        """On how many frames the labels of a predicted one are shown, itself included."""
        return 1 if self._drawn is None else self._drawn.reach + 1

    @property
    def has_labels(self) -> bool:
        """Whether any frame is accepted or predicted."""
        return self._drawn is not None and self._drawn.has_labels

    def open_video(self, reader: VideoReader, task: Task, model: str) -> None:
        """Find the predicted frames of a video for a task and a model."""
        self.close_video()
        self._reader = reader
        if model:
            try:
                self._labels = PredictedFrames.open(self._workspace.project.folder, reader, task.name, model)
            except MedSegError as error:
                show_problem(error)
        self._task = task.name
        self.find_accepted()

    def close_video(self) -> None:
        """Stop the work, and let go of the video."""
        self.cancel()
        labels, self._labels, self._reader, self._drawn = self._labels, None, None, None
        if labels is not None:
            labels.close()

    def read_labels(self, number: int) -> NDArray[Any] | None:
        """Return the labels that are shown on a frame: accepted, else predicted ones; it is called in a thread."""
        drawn = self._drawn
        return None if drawn is None else drawn.read(number)

    def find_accepted(self) -> None:
        """Find the accepted frames of the video again."""
        if self._reader is not None:
            self._drawn = self._find_drawn(self._reader, self._list_rows(self._task))

    def cancel(self) -> None:
        """Stop the work that is under way; what is done is kept."""
        worker, self._worker = self._worker, None
        self._cancelled.set()
        if worker is not None:
            worker.stop()
            self.progressed.emit("")

    def choose_by_change(
        self, path: Path, chosen: FrameRange, n_wanted: int, beside: list[int], use: Callable[[list[int], str], None]
    ) -> None:
        """Choose frames that look different, then call `use` with them and a text about the choice."""

        def deliver(item: float | FrameChoice) -> None:
            if isinstance(item, FrameChoice):
                use(list(item.numbers), item.text)
            else:
                self.progressed.emit(f"looking where the image changes, {item:.0%}")

        self._run(_choose(path, chosen, n_wanted, beside), deliver)

    def predict_range(self, task: Task, model: str, chosen: FrameRange) -> None:
        """Predict the frames of a range, when nothing else is to be predicted.

        Raises
        ------
        MedSegError
            If the task has no model, or the range is empty.
        """
        reader = self._reader
        if reader is None:
            return
        if not model:
            raise MedSegError(f"there is no model for {task.title} yet. Accept some frames and train one first.")
        numbers = list_range(chosen.first, chosen.last, chosen.step)
        self.open_video(reader, task, model)
        labels = self._labels
        if labels is None:
            return
        own = VideoReader(reader.path, reader.index, SMALL_CACHE)
        self._problem = ""
        work = predict_range(self._workspace, model, own, numbers, labels, lambda: self._queue.running_request is None)
        self._run(work, self._on_predicted, lambda: self._finish_range(labels))

    def export(self, kind: str, path: Path, folder: Path, task: Task, chosen: FrameRange) -> None:
        """Write accepted frames and masks (`coco`), or a video with labels (`overlay`).

        Raises
        ------
        MedSegError
            If there is nothing to write.
        """
        rows = self._list_rows(task.name)
        if kind == "coco":
            wanted = choose_video_rows(rows, self._reader or path, self._workspace.project.folder)
            read = partial(read_export_item, self._workspace)
            self._run_writer(lambda report: self._write_frames(wanted, read, folder, report), "frames")
            return
        reader = self._reader
        if reader is None:
            return
        drawn = self._find_drawn(reader, rows)
        target = choose_overlay_path(folder, reader, task)
        frames = range(chosen.first, chosen.last + 1)
        self._run_writer(lambda report: _write_overlay(target, reader, drawn, task, frames, report), "frames drawn")

    def _list_rows(self, task: str) -> list[Row]:
        """Return the accepted cases of a task that the person who works now may see."""
        rows, hidden = leave_out_unread(self._workspace, list_accepted_rows(self._workspace, task))
        if hidden:
            show_notice(describe_left_out(len(hidden)))
        return list(rows)

    def _find_drawn(self, reader: VideoReader, rows: list[Row]) -> DrawnLabels:
        return DrawnLabels(self._workspace.project.folder, rows, self._labels, reader)

    def _write_frames(
        self, rows: list[Row], read: Callable[[Row], ExportItem], folder: Path, report: Callable[[int, int], None]
    ) -> str:
        written = write_frames(rows, read, folder, report, self._workspace.project.folder)
        left_out = "".join(f"\n{reason}" for reason in written.refused[:3])
        return f"{written.n_frames} frames with masks and annotations.json are in {folder}{left_out}"

    def _run_writer(self, write: Callable[[Callable[[int, int], None]], str], what: str) -> None:
        self.cancel()
        cancelled = self._cancelled = threading.Event()
        state = [""]

        def report(done: int, of: int) -> None:
            if cancelled.is_set():
                raise MedSegError("")
            state[0] = f"{done:,} of {of:,} {what}"

        self._run(_write(write, report, state), self._on_written)

    def _on_written(self, item: tuple[str, bool]) -> None:
        text, is_result = item
        if is_result:
            show_result(text)
        else:
            self.progressed.emit(text)

    def _on_predicted(self, item: RangeProgress) -> None:
        waits = item.newest is None and 0 < item.n_done < item.n_frames and self._queue.running_request is not None
        self.progressed.emit(f"{item.text}; waits for a case" if waits else item.text)
        if item.problem:
            self._problem = item.problem
        if item.newest is not None:
            self.predicted.emit(item.newest)

    def _finish_range(self, labels: PredictedFrames) -> None:
        if labels is self._labels:
            remark = f" Left out: {self._problem}" if self._problem else ""
            show_result(f"{len(labels.numbers):,} frames of this video are predicted.{remark}")

    def _run(
        self, work: Generator[Any], deliver: Callable[[Any], None], finish: Callable[[], None] = lambda: None
    ) -> None:
        worker_before, self._worker = self._worker, None
        if worker_before is not None:
            worker_before.stop()
        worker = self._worker = Worker(work, self)
        failed: list[object] = []

        def on_failed(error: object) -> None:
            failed.append(error)
            if worker is self._worker:
                show_problem(str(error))

        def on_ended() -> None:
            if worker is self._worker:
                self._worker = None
                self.progressed.emit("")
                if not failed:
                    finish()

        worker.yielded.connect(lambda item: deliver(item) if worker is self._worker else None)
        worker.failed.connect(on_failed)
        worker.ended.connect(on_ended)
        worker.start()


def _choose(path: Path, chosen: FrameRange, n_wanted: int, beside: list[int]) -> Generator[float | FrameChoice]:
    with VideoReader(path, cache_bytes=SMALL_CACHE) as reader:
        yield from choose_by_appearance(reader, chosen.first, chosen.last, n_wanted, beside)


def _write_overlay(
    path: Path, reader: VideoReader, drawn: DrawnLabels, task: Task, frames: range, report: Callable[[int, int], None]
) -> str:
    with VideoReader(reader.path, reader.index, SMALL_CACHE) as own:
        n_drawn = write_overlay(path, own, drawn, task, frames, report)
    return f"{path} was written; {n_drawn:,} of its {len(frames):,} frames have labels"


def _write(
    write: Callable[[Callable[[int, int], None]], str], report: Callable[[int, int], None], state: list[str]
) -> Generator[tuple[str, bool]]:
    """Run a writer in a thread of its own, and yield how far it is, last its result."""
    with ThreadPoolExecutor(1, "medseg-video-writer") as pool:
        written = pool.submit(write, report)
        while not written.done():
            wait([written], REPORT_EVERY_S)
            yield state[0], False
        yield written.result(), True
