"""The open video of the window: opened by a drop, seen instead of a case, and a source of cases."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_medseg.core.records import Case
from napari_medseg.core.video.video_files import split_videos
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.video.chosen_marks import ChosenMarks
from napari_medseg.plugin.video.frame_cases import FrameCases
from napari_medseg.plugin.video.frame_loader import FrameLoader
from napari_medseg.plugin.video.player import Player
from napari_medseg.plugin.video.shown_video import ShownVideo
from napari_medseg.plugin.video.video_dock import VideoDock
from napari_medseg.plugin.video.video_forms import FrameRange
from napari_medseg.plugin.video.video_opening import VideoOpening, find_video_task
from napari_medseg.plugin.video.video_questions import Question, show_form
from napari_medseg.plugin.video.video_strip import VideoStrip
from napari_medseg.plugin.video.video_work import VideoWork
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.workflow.video.write_frames import get_frames
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class VideoDesk(QObject):
    """At most one open video. Either it is seen, or a case: to go to another time closes the case, whose draft is kept.

    Parameters
    ----------
    viewer, workspace, case_controller, worklist, prediction_queue
        The window, the project, and the parts of the dock that open and predict cases.
    dock
        The widget of the dock, in whose window the strip is shown.
    """

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
        self._workspace = workspace
        self._copies_frames = False
        self._connect(prediction_queue)
        worklist.importer.openers.append((split_videos, self.open_videos))

    @property
    def model(self) -> str:
        """The version that predicts a range; empty if the task has none."""
        return self._worklist.chosen_model

    @property
    def export_folder(self) -> Path:
        """The folder that is proposed for what is written."""
        return self._workspace.project.folder / "exports"

    @property
    def path(self) -> Path | None:
        """The file of the open video; `None` if none is open."""
        return None if self.shown is None else self.shown.loader.reader.path

    def open(self, path: Path) -> None:
        """Open a video instead of the present one; its times are read in a thread."""
        self.close_video()
        self.strip.set_enabled(enabled=False)
        self.strip.name.setText(path.name)
        window = self._dock.window()
        if isinstance(window, QMainWindow):
            self.place.show_in(window)
        self.opening.open(path)

    def open_videos(self, videos: Sequence[Path]) -> None:
        """Open the last of some videos."""
        self.open(videos[-1])

    def close_video(self) -> None:
        """Close the video and hide the strip; its cases stay."""
        self.opening.stop()
        self.player.stop()
        self.work.close_video()
        shown, self.shown = self.shown, None
        if shown is not None:
            shown.close()
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
        if self.shown is None:
            return
        if self._case_controller.work.refuse_while_saving():
            return
        self.strip.set_number(number)
        if self._case_controller.current is not None:
            self._case_controller.leaving.emit()
            self._case_controller.close_case()
        self.shown.show(number)

    def take_frame(self) -> None:
        """Make a case of the frame that is seen, and open it; one that is a case already is opened."""
        if self.shown is None:
            return
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

    def _connect(self, prediction_queue: PredictionQueue) -> None:
        strip = self.strip
        self.opening.opened.connect(self._show_video)
        self.opening.failed.connect(self._on_open_failed)
        self.opening.progressed.connect(lambda share: strip.set_progress(f"reading the times of frames, {share:.0%}"))
        strip.moved.connect(self._on_moved)
        strip.play_toggled.connect(self._on_play)
        strip.take_requested.connect(self.take_frame)
        strip.every_requested.connect(partial(self._ask, Question.EVERY))
        strip.change_requested.connect(partial(self._ask, Question.CHANGE))
        strip.series_requested.connect(partial(self._ask, Question.SERIES))
        strip.predict_requested.connect(partial(self._ask, Question.PREDICT))
        strip.export_requested.connect(partial(self._ask, Question.EXPORT))
        strip.close_requested.connect(self.close_video)
        strip.cancel_requested.connect(self._on_cancel)
        strip.timeline.mark_clicked.connect(self._on_mark)
        self.place.closed.connect(self.close_video)
        self.player.stepped.connect(self.go_to)
        self.player.ended.connect(lambda: strip.set_playing(playing=False))
        self.player.is_ready = lambda: self.shown is None or not self.shown.is_waiting
        self.marks.changed.connect(lambda: strip.timeline.set_marks(self.marks.marks))
        self.work.progressed.connect(strip.set_progress)
        self.work.predicted.connect(self._on_frames_predicted)
        self._worklist.importer.finished.connect(self.marks.find_again)
        self._worklist.task_changed.connect(self._on_task_changed)
        self._case_controller.opened.connect(self._on_case_opened)
        self._viewer.dims.events.current_step.connect(self._follow_case)
        self._case_controller.decided.connect(self._on_decided)
        self._case_controller.state_changed.connect(self._on_state_changed)
        prediction_queue.predicted.connect(lambda case, _prediction, _labels: self.marks.update_case(case))

    def _show_video(self, reader: VideoReader) -> None:
        path = reader.path
        self.strip.set_progress("")
        self._choose_task(reader)
        self.strip.show_video(path.name, reader.index)
        for remark in reader.index.remarks:
            show_notice(remark)
        self.work.open_video(reader, self._worklist.task, self._worklist.chosen_model)
        loader = FrameLoader(reader, self.work.read_labels, self)
        self.shown = ShownVideo(self._viewer, loader, path.name, self._worklist.task, self)
        self.shown.shown.connect(self.strip.set_number)
        self.shown.failed.connect(show_problem)
        self.strip.set_theme(self._viewer.theme)
        self.marks.show_video(path)
        if not self._copies_frames:  # from the first video on, as its frames are read also when it is closed
            self._copies_frames = True
            self._worklist.image_loaded.connect(self.marks.keep_copy)
        self.cases.show_video(path.absolute(), reader.index)
        self._show_predicted()
        self.go_to(0)

    def _on_open_failed(self, error: Exception) -> None:
        self.close_video()
        show_problem(str(error))

    def _choose_task(self, reader: VideoReader) -> None:
        """Show the task that the first frame is for, as a dropped image does."""
        found = find_video_task(reader, self._worklist.task, self._workspace.tasks)
        if found.name != self._worklist.task.name:
            show_notice(f"By its look: task set to {found.title}. If this is wrong, press U to choose another one.")
            self._worklist.choose_task(found.name)

    def _on_cancel(self) -> None:
        if self.opening.is_running:
            self.close_video()
        else:
            self.work.cancel()

    def _on_moved(self, number: int) -> None:
        self.player.stop()
        self.go_to(number)

    def _on_play(self) -> None:
        if self.player.is_playing or self.shown is None:
            self.player.stop()
            return
        if self._case_controller.work.refuse_while_saving():  # once, not with each picture
            return
        self.player.play(self.shown.loader.reader.index, self.strip.number.value())
        self.strip.set_playing(playing=True)

    def _on_mark(self, number: int) -> None:
        if (found := self.marks.find_case(number)) is not None:
            self.player.stop()
            with show_errors():
                self._worklist.open(found.case)

    def _on_decided(self, case: Case) -> None:
        self.marks.update_case(case)
        if self.shown is not None and get_frames(case) is not None:
            self.work.find_accepted()
            self._show_predicted()

    def _on_state_changed(self) -> None:
        current = self._case_controller.current
        self.marks.update_case(None if current is None else current.case)

    def _on_case_opened(self) -> None:
        """Show the case instead of the video; the time axis shows where it is."""
        current = self._case_controller.current
        if current is None or self.shown is None:
            return
        self.player.stop()
        self.shown.hide()
        self._follow_case()

    def _follow_case(self, _event: object = None) -> None:
        """Show on the time axis which frame of the open case is seen: of a series, that of its slice."""
        current = self._case_controller.current
        if current is not None and (number := self.marks.find_seen_frame(self._viewer, current)) is not None:
            self.strip.set_number(number)

    def _on_task_changed(self) -> None:
        if self.shown is not None:
            self.shown.set_task(self._worklist.task)
            self.work.open_video(self.shown.loader.reader, self._worklist.task, self._worklist.chosen_model)
            self._show_predicted()
            self.shown.reload()

    def _show_predicted(self) -> None:
        self.strip.timeline.set_predicted(self.work.numbers)
        if self.shown is not None:
            self.shown.show_labels(shown=self.work.has_labels)

    def _on_frames_predicted(self, newest: int) -> None:
        self._show_predicted()
        if self.shown is not None and 0 <= self.shown.wanted - newest < self.work.reach and not self.player.is_playing:
            self.shown.reload()

    def _ask(self, question: Question) -> None:
        """Show the form of a button; the range on the time axis, else the whole video, is its first value."""
        if self.shown is not None:
            self.player.stop()
            index, marked = self.shown.loader.reader.index, self.strip.timeline.range
            show_form(self, question, index, FrameRange(*(marked or (0, index.n_frames - 1))), self._dock)
