"""Makes cases of frames of the open video: one, every n-th, those that look different, or a short series."""

from pathlib import Path

from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.frame_paths import make_frames, make_series
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.video.chosen_marks import ChosenMarks
from napari_medseg.plugin.video.video_forms import FrameRange
from napari_medseg.plugin.video.video_work import VideoWork
from napari_medseg.plugin.widgets.notifications import show_notice
from napari_medseg.workflow.video.chosen_frames import choose_every


class FrameCases:
    """Reads frames as a drop of images is read: the first one opens, the others are on the list.

    Parameters
    ----------
    worklist, marks, work
        What reads and lists images, which frames are cases already, and what looks through a video in a thread.
    """

    def __init__(self, worklist: Worklist, marks: ChosenMarks, work: VideoWork) -> None:
        self._worklist = worklist
        self._marks = marks
        self._work = work
        self._path: Path | None = None
        self._index: FrameIndex | None = None

    def show_video(self, path: Path | None, index: FrameIndex | None) -> None:
        """Take frames of another video; `None` of none."""
        self._path, self._index = path, index

    @property
    def model(self) -> str:
        """The version that predicts frames; empty if the task has none."""
        return self._worklist.chosen_model

    def take(self, number: int) -> None:
        """Make a case of one frame for the task of the list, and open it; one that is a case already is opened."""
        known = self._marks.find_case(number, self._worklist.task.name)
        if known is not None and known.place is None:
            self._worklist.open(known.case)
        else:
            self._add([number])

    def choose_every(self, chosen: FrameRange) -> None:
        """Make cases of every n-th frame of a range."""
        if self._index is not None:
            self._add(choose_every(self._index, chosen.first, chosen.last, chosen.step))

    def choose_by_change(self, chosen: FrameRange, n_wanted: int) -> None:
        """Make cases of the frames of a range that look most different."""
        if self._path is not None:
            beside = [frame.number for frame in self._marks.frames]
            self._work.choose_by_change(self._path, chosen, n_wanted, beside, self._add_different)

    def open_series(self, chosen: FrameRange) -> None:
        """Make one case of a short series of frames, and open it."""
        if self._path is not None:
            series = make_series(self._path, chosen.first, chosen.last, chosen.step, self._content)
            self._worklist.importer.read_as_images([series.path])

    @property
    def _content(self) -> str:
        """The content that is seen: if another file lies there meanwhile, no frame of that one is taken."""
        return "" if self._index is None else self._index.content

    def _add(self, numbers: list[int]) -> None:
        if self._path is not None:
            frames = make_frames(self._path, numbers, self._content)
            self._worklist.importer.read_as_images([each.path for each in frames])

    def _add_different(self, numbers: list[int], text: str) -> None:
        show_notice(text)
        if numbers:
            self._add(numbers)
