"""The open video of the window: opened by a drop, seen instead of a case, and a source of cases."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_medseg.core.video.found_videos import split_videos
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.video.chosen_marks import ChosenMarks, find_seen_number
from napari_medseg.plugin.video.frame_cases import FrameCases
from napari_medseg.plugin.video.frame_loader import FrameLoader
from napari_medseg.plugin.video.player import Player
from napari_medseg.plugin.video.seen_labels import SeenLabels
from napari_medseg.plugin.video.shown_video import ShownVideo
from napari_medseg.plugin.video.video_dock import VideoDock
from napari_medseg.plugin.video.video_forms import FrameRange
from napari_medseg.plugin.video.video_opening import VideoOpening, choose_video_task
from napari_medseg.plugin.video.video_questions import Question, show_form
from napari_medseg.plugin.video.video_strip import VideoStrip
from napari_medseg.plugin.video.video_work import VideoWork
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.workflow.video.chosen_frames import list_project_videos
from napari_medseg.workflow.video.moved_videos import get_frames
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class VideoDesk(QObject):
    """At most one open video. Either it is seen, or a case: to go to another time closes the case, whose draft is kept.

    `seen` is emitted just before the video is shown; `may_return` is asked whether it comes back when a case is closed.

    Parameters
    ----------
    viewer, workspace, case_controller, worklist, prediction_queue
        The window, the project, and the parts of the dock that open and predict cases.
    dock
        The widget of the dock, in whose window the strip is shown.
    """

    seen = Signal()

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        case_controller: CaseController,
        worklist: Worklist,
        prediction_queue: PredictionQueue,
        dock: QWidget,
    ) -> None:
        super().__init__(dock)
        self._go_to = 0
        self.may_return: Callable[[], bool] = lambda: True
        self._viewer = viewer
        self._case_controller = case_controller
        self._worklist = worklist
        self._dock = dock
        self.opening = VideoOpening(self)
        self.shown: ShownVideo | None = None
        self.strip = VideoStrip()
        self.place = VideoDock(self.strip)
        self.player = Player(self)
        self.marks = ChosenMarks(workspace, self)
        self.work = VideoWork(workspace, prediction_queue, self)
        self.cases = FrameCases(worklist, self.marks, self.work)
        self.labels = SeenLabels(self.strip.timeline, self.work, self.marks, worklist, case_controller)
        self._workspace = workspace
        self._copies_frames = False
        prediction_queue.predicted.connect(lambda case, _prediction, _labels: self.marks.update_case(case))
        self._connect()
        worklist.importer.openers.append((split_videos, self.open_videos))

    @property
    def path(self) -> Path | None:
        """The file of the open video; `None` if none is open."""
        return None if self.shown is None else self.shown.loader.reader.path

    def open(self, path: Path, number: int = 0) -> None:
        """Open a video at a frame, instead of the present one; its times are read in a thread."""
        self.close_video()
        self._go_to = number
        self.strip.set_enabled(enabled=False)
        self._show_strip(path)
        self.opening.open(path)

    def open_videos(self, videos: Sequence[Path]) -> None:
        """Open the first of some videos; the others can be chosen in the strip."""
        self.strip.videos.add_dropped(videos)
        self.open(videos[0])
        if len(videos) > 1:
            show_notice(f"{len(videos):,} videos were found. The first one is open; choose another one in the strip.")

    def show_again(self) -> None:
        """Show the video of the open case at its frame instead of the case; it is opened if it is not open."""
        current = self._case_controller.current
        frames = None if current is None else get_frames(current.case)
        if current is not None and frames is not None and self.marks.find_seen_frame(self._viewer, current) is None:
            self.open(frames.video, find_seen_number(self._viewer, current, frames))  # of another video
        else:
            self.go_to(self.strip.number.value())

    def hide(self) -> None:
        """Take the video out of the canvas, because something else is seen; the strip leads back to it."""
        self.player.stop()
        self.strip.show_mode(on_video=False)
        if self.shown is not None:
            self.shown.hide()

    def close_video(self) -> None:
        """Close the video and hide the strip; its cases stay."""
        self.opening.stop()
        self.player.stop()
        self.work.close_video()
        shown, self.shown = self.shown, None
        if shown is not None:
            shown.close()
        self.labels.show_video(None)
        self.marks.show_video(None)
        self.cases.show_video(None, None)
        self.place.hide()

    def close_down(self) -> None:
        """Close the video and remove the strip; a second call has no effect."""
        if self.marks.signalsBlocked():
            return
        self.marks.blockSignals(True)  # the strip is gone soon
        self._viewer.dims.events.current_step.disconnect(self._follow_case)
        self.close_video()
        if self._copies_frames:
            self._worklist.image_loaded.disconnect(self.marks.keep_copy)
        self.place.remove()

    def go_to(self, number: int) -> None:
        """Show a frame; an open case is closed, and its draft is kept."""
        if self.shown is None or self._case_controller.work.refuse_while_saving():
            return
        if not self.player.is_playing:  # else when the picture is seen, so that the window is drawn once
            self.strip.set_number(number)
        if self._case_controller.current is not None:
            self._case_controller.leaving.emit()
            self._case_controller.close_case()
        self.seen.emit()
        self.shown.show(number, plays=self.player.is_playing)
        self.strip.show_mode(on_video=True)

    def take_frame(self) -> None:
        """Make a case of the frame that is seen, and open it; one that is a case already is opened."""
        if self.shown is not None:
            self.player.stop()
            self.cases.take(self.strip.number.value())

    def predict_range(self, chosen: FrameRange) -> None:
        """Predict frames of a range in the background."""
        if self.shown is not None:
            self.work.predict_range(self._worklist.task, self._worklist.chosen_model, chosen)

    def export(self, kind: str, folder: Path, chosen: FrameRange) -> None:
        """Write the accepted frames, or a video with labels."""
        if (path := self.path) is not None:
            self.work.export(kind, path, folder, self._worklist.task, chosen)

    def _connect(self) -> None:
        strip = self.strip
        self.opening.opened.connect(self._show_video)
        self.opening.failed.connect(self._on_open_failed)
        self.opening.progressed.connect(lambda share: strip.set_progress(f"reading the times of frames, {share:.0%}"))
        strip.moved.connect(self._on_moved)
        strip.play_toggled.connect(self._on_play)
        strip.take_requested.connect(self.take_frame)
        for asked, question in zip(strip.questions, Question, strict=True):
            asked.connect(partial(self._ask, question))
        strip.close_requested.connect(self._on_close)
        strip.video_chosen.connect(self._on_video_chosen)
        strip.back_requested.connect(self.show_again)
        strip.cancel_requested.connect(self._on_cancel)
        strip.timeline.mark_clicked.connect(self._on_mark)
        self.place.closed.connect(self.close_video)
        self.player.stepped.connect(self.go_to)
        self.player.ended.connect(lambda: strip.set_playing(playing=False))
        self.player.is_ready = lambda: self.shown is None or not self.shown.is_waiting
        self.marks.changed.connect(lambda: strip.timeline.set_marks(self.marks.marks))
        self.work.progressed.connect(strip.set_progress)
        self._worklist.importer.finished.connect(self.marks.find_again)
        self._case_controller.opened.connect(self._on_case_opened)
        self._viewer.dims.events.current_step.connect(self._follow_case)

    def _show_video(self, reader: VideoReader) -> None:
        path = reader.path
        self.strip.set_progress("")
        choose_video_task(reader, self._worklist, self._workspace.tasks)
        self.strip.show_video(reader.index)
        for remark in reader.index.remarks:
            show_notice(remark)
        self.work.open_video(reader, self._worklist.task, self._worklist.chosen_model)
        loader = FrameLoader(reader, self.work.read_labels, self)
        self.shown = ShownVideo(self._viewer, loader, path.name, self._worklist.task, self)
        self.shown.shown.connect(self.strip.set_number)
        self.shown.near.connect(self.strip.show_near)
        self.player.ended.connect(self.shown.settle)
        self.shown.failed.connect(show_problem)
        self.strip.set_theme(self._viewer.theme)
        self.marks.show_video(path)
        if not self._copies_frames:  # from the first video on, as its frames are read also when it is closed
            self._copies_frames = True
            self._worklist.image_loaded.connect(self.marks.keep_copy)
        self.cases.show_video(path.absolute(), reader.index)
        self.labels.show_video(self.shown)
        self.go_to(min(self._go_to, reader.index.n_frames - 1))
        self.place.settle()

    def _show_strip(self, path: Path) -> None:
        with show_errors():
            self.strip.videos.show_video(path, list_project_videos(self._workspace))
        self.place.show_in(self._dock.window())

    def _on_close(self) -> None:
        """Close the video; it is not listed any more."""
        if self.path is not None:
            self.strip.videos.forget(self.path)
        self.close_video()

    def _on_video_chosen(self, path: Path) -> None:
        if path != self.path:
            self.open(path)
        elif self.shown is not None and not self.shown.is_visible:
            self.show_again()

    def _on_open_failed(self, error: Exception) -> None:
        self.close_video()
        show_problem(str(error))

    def _on_cancel(self) -> None:
        (self.close_video if self.opening.is_running else self.work.cancel)()

    def _on_moved(self, number: int) -> None:
        self.player.stop()
        self.go_to(number)

    def _on_play(self) -> None:
        refuses = self._case_controller.work.refuse_while_saving  # asked once, not with each picture
        if self.player.is_playing or self.shown is None or refuses():
            self.player.stop()
            return
        self.player.play(self.shown.loader.reader.index, self.strip.number.value())
        self.strip.set_playing(playing=True)

    def _on_mark(self, number: int) -> None:
        if (found := self.marks.find_case(number)) is not None:
            self.player.stop()
            with show_errors():
                self._worklist.open(found.case)

    def _on_case_opened(self) -> None:
        """Show the case instead of the video; the time axis shows where it is."""
        current = self._case_controller.current
        if self.shown is None:
            self._offer_video(None if current is None else get_frames(current.case))
        elif current is not None:
            self.hide()
            self._follow_case()
        elif self.may_return():
            self.go_to(self.strip.number.value())

    def _offer_video(self, frames: VideoFrames | None) -> None:
        """Show the way to the video of a case, as after a restart, when no video is open."""
        if self.opening.is_running:
            return
        if frames is not None and frames.video.is_file():
            self.strip.set_enabled(enabled=False)
            self.strip.show_mode(on_video=False)
            self._show_strip(frames.video)
        else:
            self.place.hide()

    def _follow_case(self, _event: object = None) -> None:
        """Show on the time axis which frame of the open case is seen: of a series, that of its slice."""
        current = self._case_controller.current
        if current is not None and (number := self.marks.find_seen_frame(self._viewer, current)) is not None:
            self.strip.set_number(number)

    def _ask(self, question: Question) -> None:
        """Show the form of a button; the range on the time axis, else the whole video, is its first value."""
        if self.shown is not None:
            self.player.stop()
            index = self.shown.loader.reader.index
            marked = FrameRange(*(self.strip.timeline.range or (0, index.n_frames - 1)))
            show_form(self, question, index, marked, self._dock)
