"""Follow a training run through its run folder, so that a reopened dock shows the run with its complete curve."""

from dataclasses import replace

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.data_checks import CheckedCorrections
from napari_medseg.workflow.preferences import read_preferences
from napari_medseg.workflow.run_plan import RunRequest
from napari_medseg.workflow.workspace import Workspace
from training.recipe_keys import find_keys, merge_keys

POLL_MS = 400
UNDECIDED_STATES = (RunState.RUNNING, RunState.FINISHED, RunState.CANCELLED)


class RunMonitor(QObject):
    """Follows at most one run.

    Notes
    -----
    `began` is emitted when a run is followed, before its first event. `event_received` carries each
    `training.run_folder.Event`. `ended` is emitted when the run finished, failed, paused or was cancelled; `run` holds
    its state. `polled` is emitted a few times per second while the run is active. `saw_end` tells whether the run was
    active when it was first followed, so that its end is news.
    """

    began = Signal()
    event_received = Signal(object)
    polled = Signal()
    ended = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.run: Run | None = None
        self.saw_end = False
        self._offset = 0
        self._wants_pause = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._timer.isActive()

    def close(self) -> None:
        """Stop following; the run continues."""
        self._timer.stop()

    def attach(self, task: str) -> None:
        """Follow the active run, or show the last run of a task if it still needs a decision."""
        ws = self._workspace
        run = (
            run_control.find_running_run(ws)
            or run_control.find_paused_run(ws, task)
            or run_control.get_last_run(ws, task)
        )
        if run is not None and (run.state in UNDECIDED_STATES or run_control.can_resume(ws, run)):
            self._follow(run)

    def start(self, task: str, request: RunRequest, checked: CheckedCorrections | None = None) -> None:
        """Start a run on the preferred device and follow it; see `retrain.start_checked_run`."""
        changes = request.changes
        device = read_preferences(self._workspace.registry).device
        if device and not find_keys(changes.recipe, {("run", "device")}):
            changes = changes.model_copy(update={"recipe": merge_keys(changes.recipe, {"run": {"device": device}})})
            request = replace(request, changes=changes)
        self._follow(retrain.start_checked_run(self._workspace, task, request, checked))

    def cancel(self) -> None:
        """Ask the run to stop and keep its best version."""
        if self.run is not None:
            run_control.cancel(self._workspace, self.run)

    def pause(self) -> None:
        """Ask the run to end its process, so that it can be resumed later."""
        self._wants_pause = True
        if self.run is not None:
            run_control.pause(self._workspace, self.run)

    @property
    def can_resume(self) -> bool:
        """Whether the last followed run was paused or interrupted."""
        return self.run is not None and run_control.can_resume(self._workspace, self.run)

    def resume(self) -> None:
        """Resume the run; raises `MedSegError` as `run_control.resume` does."""
        if self.run is not None:
            self._follow(run_control.resume(self._workspace, self.run))

    def discard(self) -> None:
        """Discard the paused or interrupted run; raises `MedSegError` as `run_control.discard` does."""
        if self.run is not None:
            run_control.discard(self._workspace, self.run)
            self.run = None

    def poll(self) -> None:
        """Read the new events of the run."""
        if (run := self.run) is None:
            return
        try:
            with translate_errors():
                if self._wants_pause:  # repeated, because a starting process deletes earlier requests
                    run_control.pause(self._workspace, run)
                events, self._offset = run_control.poll_run(self._workspace, run, self._offset)
                run = self._workspace.project.get_record(Run, run.id)
        except MedSegError as error:
            self._timer.stop()
            show_problem(error)
            self.ended.emit()
            return
        for event in events:
            self.event_received.emit(event)
        self.polled.emit()
        if run.state is not RunState.RUNNING:
            self._timer.stop()
            self.run = run
            self.ended.emit()

    def _follow(self, run: Run) -> None:
        self.run, self._offset, self._wants_pause = run, 0, False
        self.saw_end = run.state is RunState.RUNNING
        self._timer.start()
        self.began.emit()
        self.poll()
