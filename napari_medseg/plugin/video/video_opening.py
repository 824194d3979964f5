"""Opens a video in a thread: its times are read from the whole file, which takes seconds for an hour of video."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import detect_task
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.video_reader import ReadCancelled, VideoReader
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.notifications import show_notice
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.video.moved_videos import find_frames_of
from napari_medseg.workflow.video.predict_range import make_plane

POLL_MS = 200


def choose_video_task(reader: VideoReader, worklist: Worklist, tasks: Iterable[Task]) -> None:
    """Show the task that the first frame of a video is for, as a dropped image does."""
    found = detect_task(make_plane(reader, int(reader.index.keys[0])), worklist.task, tasks)
    if found.name != worklist.task.name:
        show_notice(f"By its look: task set to {found.title}. If this is wrong, press U to choose another one.")
        worklist.choose_task(found.name)


class VideoOffer(QObject):
    """Finds out whether the video of a case is there to be offered, in a thread: a share that is gone takes seconds.

    Notes
    -----
    `found` carries the path, or `None` if there is none to offer; those in `refused` were closed by a person.
    """

    found = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.refused: set[Path | None] = set()
        self._asked: Path | None = None

    def find(self, video: Path | None) -> None:
        """Look for the file of a video, instead of the one before."""
        self._asked = None if video in self.refused else video
        if self._asked is None:
            self.found.emit(None)
            return
        worker = Worker(((path, path.is_file()) for path in [self._asked]), self)
        worker.yielded.connect(self._tell)
        worker.start()

    def allow(self, video: Path) -> None:
        """Offer a video again that a person opens now, and nothing else meanwhile."""
        self.refused.discard(video)
        self._asked = None

    def _tell(self, item: tuple[Path, bool]) -> None:
        path, is_there = item
        if path == self._asked:
            self.found.emit(path if is_there else None)


class VideoOpening(QObject):
    """Opens one video at a time; another one, or `stop`, gives up the one before.

    Notes
    -----
    `opened` carries the `VideoReader`, `progressed` the share of the file that was read, `failed` the error.
    """

    opened = Signal(object)
    progressed = Signal(float)
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._worker: Worker | None = None
        self._job: _Job | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._tell)

    @property
    def is_running(self) -> bool:
        """Whether a video is being opened."""
        return self._worker is not None

    def open(self, path: Path, cases: Sequence[Case] = (), folder: Path | None = None) -> None:
        """Open a video, and find out in the thread which of the cases of a project folder show it."""
        self.stop()
        job = self._job = _Job(path, cases, folder)
        worker = self._worker = Worker(job.run(), self)
        worker.yielded.connect(lambda reader: self._on_opened(worker, reader))
        worker.failed.connect(lambda error: self._on_failed(worker, error))
        worker.start()
        self._timer.start()

    def stop(self) -> None:
        """Give up the video that is being opened."""
        self._timer.stop()
        if self._job is not None:
            self._job.is_stopped = True
        if self._worker is not None:
            self._worker.stop()
        self._worker = self._job = None

    def _tell(self) -> None:
        if self._job is not None:
            self.progressed.emit(self._job.share)

    def _on_opened(self, worker: Worker, reader: VideoReader) -> None:
        if worker is self._worker:
            self.stop()
            self.opened.emit(reader)
        else:
            reader.close()

    def _on_failed(self, worker: Worker, error: Exception) -> None:
        if worker is self._worker:
            self.stop()
            self.failed.emit(error)


class _Job:
    """What the thread does."""

    def __init__(self, path: Path, cases: Sequence[Case], folder: Path | None) -> None:
        self._path = path
        self._cases = cases
        self._folder = folder
        self.share = 0.0
        self.is_stopped = False

    def run(self) -> Generator[VideoReader]:
        reader = VideoReader(self._path, read_index(self._path, self._report))
        with suppress(MedSegError):  # told when the window asks again
            find_frames_of(self._cases, reader, self._folder)  # cases of older projects are compared; it is remembered
        yield reader

    def _report(self, share: float) -> None:
        self.share = share
        if self.is_stopped:
            raise ReadCancelled("another video is opened")
