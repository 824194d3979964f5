"""Follow a training run by its folder: whoever opens the dock sees the run that is under way, with its whole curve."""

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.notify import tell
from napari_medseg.workflow import improve
from napari_medseg.workflow.workspace import Workspace
from training.events import Event, Failed, Finished

POLL_MS = 400


class RunWatch(QObject):
    """At most one run.

    Notes
    -----
    `began` says that a run is followed, from its first event on; `said` carries each `training.events.Event`; `ended`
    says that it has finished, failed or was cancelled. `waited` comes a few times a second while it is under way.
    """

    began = Signal()
    said = Signal(object)
    waited = Signal()
    ended = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.run: Run | None = None
        self._offset = 0
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._timer.isActive()

    def close(self) -> None:
        """Watch no longer; the run goes on."""
        self._timer.stop()

    def attach(self, task: str) -> None:
        """Follow the run that is under way, or show the last one of a task on which nobody has decided."""
        run = improve.running(self._workspace) or improve.last_run(self._workspace, task)
        if run is not None and run.state in (RunState.RUNNING, RunState.FINISHED, RunState.CANCELLED):
            self._follow(run)

    def start(self, task: str, budget_s: float) -> None:
        """Start a run and follow it; raises `MedSegError` as `improve.start_run` does."""
        self._follow(improve.start_run(self._workspace, task, budget_s))

    def cancel(self) -> None:
        """Ask the run to stop and keep its best."""
        if self.run is not None:
            improve.cancel(self._workspace, self.run)

    def poll(self) -> None:
        """Read what the run said since the last time."""
        if (run := self.run) is None:
            return
        try:
            events, self._offset = improve.follow(self._workspace, run, self._offset)
        except MedSegError as error:
            self._timer.stop()
            tell(error)
            self.ended.emit()
            return
        for event in events:
            self.said.emit(event)
        self.waited.emit()
        if any(_is_last(event) for event in events):
            self._timer.stop()
            self.run = self._workspace.project.one(Run, run.id)
            self.ended.emit()

    def _follow(self, run: Run) -> None:
        self.run, self._offset = run, 0
        self._timer.start()
        self.began.emit()
        self.poll()


def _is_last(event: Event) -> bool:
    return isinstance(event, Finished | Failed)
