"""Which frames of the open video are cases: their marks on the time axis, and the copies of their pixels."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.core.records import Case
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.video.timeline import Mark
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.video.chosen_frames import (
    ChosenFrame,
    list_chosen_frames,
    list_frame_cases,
    list_frames_of,
    record_content,
)
from napari_medseg.workflow.video.moved_videos import (
    describe_cases_of_another_file,
    find_frames_of,
    get_frames,
    list_cases_of_another_file,
)
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class ChosenMarks(QObject):
    """Knows the cases of one video; `changed` is emitted when there are others, or their state changed."""

    changed = Signal()

    def __init__(self, workspace: Workspace, parent: QObject) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._video: VideoReader | None = None
        self._frames: dict[int, list[ChosenFrame]] = {}

    @property
    def frames(self) -> list[ChosenFrame]:
        """The chosen frames by number."""
        return sorted((frame for frames in self._frames.values() for frame in frames), key=lambda one: one.number)

    @property
    def marks(self) -> list[Mark]:
        """The chosen frames as marks of the time axis."""
        return [Mark(frame.number, frame.state, frame.case.name) for frame in self.frames]

    def show_video(self, video: VideoReader | None) -> None:
        """Find the cases of an open video, and name those of another file that lay there; `None` forgets them."""
        self._video = video
        listed: list[Case] = []
        with show_errors():
            listed = list_frame_cases(self._workspace) if video is not None else []
        self._find(listed)
        if video is not None:
            with show_errors():
                others = list_cases_of_another_file(listed, video, self._workspace.project.folder)
                if text := describe_cases_of_another_file(others, video.path):
                    show_notice(text)
            with show_errors():  # a project that cannot be written to must not hide the notice
                record_content(self._workspace, listed, video)

    def find_again(self) -> None:
        """Look through the frames of videos of the project, because some were added or removed."""
        self._find(None)

    def _find(self, listed: list[Case] | None) -> None:
        self._frames = {}
        if self._video is not None:
            with show_errors():
                for frame in list_chosen_frames(self._workspace, self._video, listed):
                    self._frames.setdefault(frame.case.id, []).append(frame)
        self.changed.emit()

    def update_case(self, case: Case | None) -> None:
        """Read the state of one case again, if it is of this video."""
        if case is not None and case.id in self._frames:
            with show_errors():
                self._frames[case.id] = list_frames_of(self._workspace, case)
            self.changed.emit()

    def find_case(self, number: int, task: str = "") -> ChosenFrame | None:
        """Return the chosen frame with a number, of one task or any; a single frame before one of a series."""
        found = [frame for frame in self.frames if frame.number == number and task in ("", frame.case.task)]
        return min(found, key=lambda frame: frame.place is not None, default=None)

    def find_seen_frame(self, viewer: "Viewer", current: OpenCase) -> int | None:
        """Return which frame of this video is seen of the open case: of a series, that of the slice; else `None`."""
        frames, video = get_frames(current.case), self._video
        if frames is None or video is None:
            return None
        if current.case.id not in self._frames and not self._shows(current.case, video):
            return None  # of another video, maybe of the same name or at the same place
        return find_seen_number(viewer, current, frames)

    def _shows(self, case: Case, video: VideoReader) -> bool:
        with show_errors():
            return case.id in find_frames_of([case], video, self._workspace.project.folder)
        return False

    def keep_copy(self, case: Case, image: Image) -> None:
        """Copy the pixels of a frame of a video into the project, in a thread; also if the video was closed meanwhile.

        Another version of the decoder may give pixels that differ by a grey level, and a video is often moved: the case
        must not depend on either.
        """
        if get_frames(case) is None:
            return
        worker = Worker(_write_copy(self._workspace.project.folder, image), self)
        worker.failed.connect(show_problem)
        worker.start()


def find_seen_number(viewer: "Viewer", current: OpenCase, frames: VideoFrames) -> int:
    """Return which of the frames of the open case is seen: of a series, that of the slice."""
    place = 0
    if frames.is_series:
        place = round(float(current.image_layer.world_to_data(viewer.dims.point[-3:])[0]))
    return frames.numbers[min(max(place, 0), len(frames.numbers) - 1)]


def _write_copy(folder: Path, image: Image) -> Generator[str]:
    yield write_image_copy(folder, image)
