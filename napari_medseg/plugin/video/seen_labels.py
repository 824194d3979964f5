"""Keeps the labels that are seen on a video, and its time axis, in step with what is predicted and decided."""

from qtpy.QtCore import QObject

from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.video.chosen_marks import ChosenMarks
from napari_medseg.plugin.video.shown_video import ShownVideo
from napari_medseg.plugin.video.timeline import Timeline
from napari_medseg.plugin.video.video_work import VideoWork
from napari_medseg.workflow.video.moved_videos import get_frames


class SeenLabels(QObject):
    """Reads the labels of the seen frame again when there are others.

    Parameters
    ----------
    timeline, work, marks
        The time axis, what predicts ranges, and the chosen frames.
    worklist, case_controller
        The task, and the open case.
    """

    def __init__(
        self,
        timeline: Timeline,
        work: VideoWork,
        marks: ChosenMarks,
        worklist: Worklist,
        case_controller: CaseController,
    ) -> None:
        super().__init__(work)
        self._timeline = timeline
        self._work = work
        self._marks = marks
        self._worklist = worklist
        self._case_controller = case_controller
        self._shown: ShownVideo | None = None
        work.predicted.connect(self._on_predicted)
        worklist.task_changed.connect(self._on_task_changed)
        case_controller.decided.connect(self._on_decided)
        case_controller.state_changed.connect(self._on_state_changed)

    def show_video(self, shown: ShownVideo | None) -> None:
        """Follow another video; `None` follows none."""
        self._shown = shown
        if shown is not None:
            self._show_predicted()

    def _show_predicted(self) -> None:
        self._timeline.set_predicted(self._work.numbers)
        if self._shown is not None:
            self._shown.show_labels(shown=self._work.has_labels)

    def _on_decided(self, case: Case) -> None:
        self._marks.update_case(case)
        if self._shown is not None and get_frames(case) is not None:
            self._work.find_accepted()
            self._show_predicted()
            self._shown.reload()

    def _on_state_changed(self) -> None:
        current = self._case_controller.current
        self._marks.update_case(None if current is None else current.case)

    def _on_task_changed(self) -> None:
        if self._shown is not None:
            self._shown.set_task(self._worklist.task)
            self._work.open_video(self._shown.loader.reader, self._worklist.task, self._worklist.chosen_model)
            self._show_predicted()
            self._shown.reload()

    def _on_predicted(self, newest: int) -> None:
        self._show_predicted()
        shown = self._shown
        if shown is not None and not shown.plays and 0 <= shown.wanted - newest < self._work.reach:
            shown.reload()
