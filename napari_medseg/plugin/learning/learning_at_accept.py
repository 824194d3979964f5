"""Starts an adaptation after each accepted case, and lets it wait while a person waits for a prediction."""

from collections.abc import Callable, Generator
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QMenu

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.panels.model_card_view import summarise_card
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.learning.learner import AcceptLearner
from napari_medseg.workflow.learning.lesson import Lesson, plan_lesson, write_lesson
from napari_medseg.workflow.learning.next_draft import find_state
from napari_medseg.workflow.learning.states import remove_folder
from napari_medseg.workflow.preferences import change_preferences, read_preferences
from napari_medseg.workflow.run_control import find_running_run
from napari_medseg.workflow.workspace import Workspace

POLL_MS = 300


class LearningAtAccept(QObject):
    """Adapts the live version of a task to its accepted cases, for the next drafts only.

    Parameters
    ----------
    workspace, worklist, case_controller, prediction_queue
        The open project, and what is followed.

    Notes
    -----
    `changed` is emitted when another state, or none, makes the next drafts.
    """

    changed = Signal()

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        case_controller: CaseController,
        prediction_queue: PredictionQueue,
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._worklist = worklist
        self._case_controller = case_controller
        self._queue = prediction_queue
        self.learner = AcceptLearner(workspace)
        self._closed = False
        self._due: list[str] = []
        self._writer: Worker | None = None
        self._announced: tuple[str, str] = ("", "")
        workspace.adapted.is_on = read_preferences(workspace.registry).learns_at_accept
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self.poll)
        case_controller.decided.connect(self._on_decided)
        case_controller.opened.connect(self._on_opened)
        prediction_queue.changed.connect(self._on_predictions)
        self.changed.connect(lambda: worklist.update_cases([]))

    @property
    def is_on(self) -> bool:
        """Whether drafts learn from accepted cases."""
        return self._workspace.adapted.is_on

    def set_on(self, on: bool) -> None:
        """Switch it on or off, also for the next start. Off, the live version predicts again at once."""
        self._workspace.adapted.is_on = on
        with show_errors():
            change_preferences(self._workspace.registry, {"learns_at_accept": on})
        if not on:
            self._due.clear()
            self.learner.stop()
        self._announce()

    def poll(self) -> None:
        """Use a new state if there is one, show messages, and start what is due."""
        self.learner.poll()
        self._on_predictions()
        self._announce()
        if not self.learner.is_running and self._writer is None:
            self._begin()

    def close(self) -> None:
        """End the process, and follow nothing any more. A second call has no effect."""
        if self._closed:
            return
        self._closed = True
        self._timer.stop()
        self._due.clear()
        self._case_controller.decided.disconnect(self._on_decided)
        self._case_controller.opened.disconnect(self._on_opened)
        self._queue.changed.disconnect(self._on_predictions)
        if (writer := self._writer) is not None:
            self._writer = None
            writer.stop()
            writer.wait(timeout_s=1.0)
        self.learner.stop()

    def _on_decided(self, case: Case) -> None:
        """Learn from an accepted case; `plan_lesson` drops a state if its case was rejected or corrected again."""
        if self.is_on:
            self._due = [*(task for task in self._due if task != case.task), case.task]
            self._timer.start()

    def _on_opened(self) -> None:
        if (current := self._case_controller.current) is not None and current.saved_state != "new":
            self._queue.leave_open_case(current.case)

    def _on_predictions(self) -> None:
        """Let the process wait while a person waits, or while the case that comes next is predicted."""
        if self.learner.is_running:
            running = self._queue.running_request
            next_ids = {row.case.id for row in self._worklist.list_ahead(1)} if running is not None else set()
            self.learner.set_paused(running is not None and (running.urgent or running.case.id in next_ids))
        if self.is_on:
            self._announce()

    def _begin(self) -> None:
        if not self._due:
            self._timer.stop()
        elif find_running_run(self._workspace) is None:  # they would share the processor cores
            lesson = None
            task = self._due.pop(0)
            with show_errors():
                lesson = plan_lesson(self._workspace, task)
            if lesson is not None:
                self._write(lesson)

    def _write(self, lesson: Lesson) -> None:
        """Write the folder in a thread: copies of held-out images are looked for in files."""
        folder: Path | None = None
        with show_errors():
            folder = self._workspace.adapted.make_folder()
        if folder is None:
            return
        writer = self._writer = Worker(_write_lesson(lesson, folder), self)
        writer.yielded.connect(lambda is_written: self._on_written(lesson, folder) if is_written else None)
        writer.failed.connect(lambda error: self._on_failed(error, folder))
        writer.ended.connect(lambda: self._on_writer_ended(writer))
        writer.start()

    def _on_written(self, lesson: Lesson, folder: Path) -> None:
        if not self.is_on:  # switched off meanwhile
            remove_folder(folder)
            return
        with show_errors():
            self.learner.start(lesson.task, folder)
        self._on_predictions()

    def _on_failed(self, error: MedSegError, folder: Path) -> None:
        remove_folder(folder)
        if str(error):
            show_notice(f"The next drafts do not learn from the last case: {error}")

    def _on_writer_ended(self, writer: Worker) -> None:
        if self._writer is writer:
            self._writer = None

    def _announce(self) -> None:
        """Show messages, and say if another state makes the next drafts."""
        task = self._worklist.task.name
        state = find_state(self._workspace, task, self._workspace.registry.get_live_id(task))
        made_by = task, "" if state is None else state.sha256
        for text in self._workspace.adapted.take_notices():
            show_notice(text)
        if made_by != self._announced:
            self._announced = made_by
            self.changed.emit()


def add_switch(menu: QMenu, get_learning: Callable[[], LearningAtAccept | None]) -> None:
    """Add a switch to a menu; `get_learning` returns what it switches, `None` without an open project."""
    action = menu.addAction("Next drafts learn from each accepted case")
    action.setCheckable(True)
    menu.aboutToShow.connect(lambda: action.setChecked((learning := get_learning()) is not None and learning.is_on))

    def switch(on: bool) -> None:
        if (learning := get_learning()) is not None:
            learning.set_on(on)

    action.triggered.connect(switch)


def name_version(workspace: Workspace, card: ModelCard, live: str) -> str:
    """Return how the dock names a version: ``lungs-unet@4 live``, or ``lungs-unet@4 + 6 cases`` if it is adapted."""
    if card.id != live:
        return card.id
    state = find_state(workspace, card.task, live)
    return f"{card.id} live" if state is None else state.title


def explain_version(workspace: Workspace, card: ModelCard) -> str:
    """Return the tooltip of a version: its card in short, and what the next drafts have learnt since."""
    state = find_state(workspace, card.task, card.id)
    if state is None:
        return summarise_card(card)
    n_cases = len(state.corrections)
    learnt = f"The next drafts have learnt from {n_cases} accepted case{'' if n_cases == 1 else 's'} since."
    return f"{summarise_card(card)}\n{learnt} {card.id} itself changes only by Retrain.\nSwitch: Project menu, below"


def _write_lesson(lesson: Lesson, folder: Path) -> Generator[bool]:
    is_written = write_lesson(lesson, folder)
    if not is_written:
        remove_folder(folder)
    yield is_written
