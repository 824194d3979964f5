"""Follow a training run by its folder: whoever opens the dock sees the run that is under way, with its whole curve."""

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import NO_OVERRIDES, RecipeOverrides

POLL_MS = 400
UNDECIDED_STATES = (RunState.RUNNING, RunState.FINISHED, RunState.CANCELLED)


class RunMonitor(QObject):
    """At most one run.

    Notes
    -----
    `began` says that a run is followed, from its first event on; `said` carries each `training.run_folder.Event`;
    `ended` says that it has finished, failed, was cancelled or has paused, and `run` in which state. `polled` comes a
    few times a second while it is under way.
    """

    began = Signal()
    event_received = Signal(object)
    polled = Signal()
    ended = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.run: Run | None = None
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
        """Watch no longer; the run goes on."""
        self._timer.stop()

    def attach(self, task: str) -> None:
        """Follow the run that is under way, or show the last one of a task on which nobody has decided."""
        ws = self._workspace
        run = (
            run_control.find_running_run(ws)
            or run_control.find_paused_run(ws, task)
            or run_control.get_last_run(ws, task)
        )
        if run is not None and (run.state in UNDECIDED_STATES or run_control.can_resume(ws, run)):
            self._follow(run)

    def start(
        self, task: str, budget_s: float, seed: int = 0, base: str = "", changes: RecipeOverrides = NO_OVERRIDES
    ) -> None:
        """Start a run and follow it; takes and raises what `retrain.start_run` does."""
        self._follow(retrain.start_run(self._workspace, task, budget_s, seed, base, changes))

    def cancel(self) -> None:
        """Ask the run to stop and keep its best."""
        if self.run is not None:
            run_control.cancel(self._workspace, self.run)

    def pause(self) -> None:
        """Ask the run to end its process, so that it can go on later."""
        self._wants_pause = True
        if self.run is not None:
            run_control.pause(self._workspace, self.run)

    @property
    def can_resume(self) -> bool:
        """Whether the run that was followed last was paused or interrupted."""
        return self.run is not None and run_control.can_resume(self._workspace, self.run)

    def resume(self) -> None:
        """Take the run up again; raises `MedSegError` as `runs.resume` does."""
        if self.run is not None:
            self._follow(run_control.resume(self._workspace, self.run))

    def discard(self) -> None:
        """Give the paused or interrupted run up; raises `MedSegError` as `runs.discard` does."""
        if self.run is not None:
            run_control.discard(self._workspace, self.run)
            self.run = None

    def poll(self) -> None:
        """Read what the run said since the last time."""
        if (run := self.run) is None:
            return
        try:
            if self._wants_pause:  # again: a process forgets at its beginning what was wished before it
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
        self._timer.start()
        self.began.emit()
        self.poll()
