"""Makes cases of fields: they are read in a thread, added to the project, and predicted like any case."""

from collections.abc import Sequence

from qtpy.QtCore import QObject, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.tasks.detection import detect_task
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker, wait_for_window
from napari_medseg.workflow import cases
from napari_medseg.workflow.slides.slide_fields import FieldFailure, read_fields
from napari_medseg.workflow.workspace import Workspace


class AddedFields(QObject):
    """Adds fields to the project; `ended` is emitted when all of a call are there."""

    ended = Signal()

    def __init__(self, workspace: Workspace, worklist: Worklist, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worklist = worklist
        self._workers: list[Worker] = []

    @property
    def is_reading(self) -> bool:
        """Whether fields are being read."""
        return bool(self._workers)

    def add(self, fields: Sequence[Field]) -> None:
        """Read fields of one slide in a thread, and add them one by one."""
        added: list[bool] = []
        failures: list[str] = []
        worker = Worker(wait_for_window(read_fields(list(fields)), lambda: worker), self)

        def deliver(item: object) -> None:
            match item:
                case Image():
                    with show_errors():
                        added.append(self._add(item))
                case FieldFailure(text=text):
                    failures.append(text)

        def ended() -> None:
            if worker in self._workers:
                self._workers.remove(worker)
                _report(added, failures)
                self.ended.emit()

        worker.yielded.connect(deliver)
        worker.failed.connect(show_problem)
        worker.ended.connect(ended)
        self._workers.append(worker)
        worker.start()

    def stop(self) -> None:
        """Read no more fields; those that were added stay."""
        while self._workers:
            self._workers.pop().stop()

    def _add(self, image: Image) -> bool:
        """Make a case of a field; return whether it is new."""
        book = self._workspace.tasks
        task = detect_task(image, self._worklist.task, book)
        is_new = cases.find_case(self._workspace, image.content_hash, task.name) is None
        (case,) = cases.add_cases(self._workspace, [image], task.name)
        if task.name != self._worklist.task.name:
            self._worklist.switch_task(task)
        self._worklist.image_loaded.emit(case, image)
        self._worklist.update_case(case)
        return is_new


def _report(added: Sequence[bool], failures: Sequence[str]) -> None:
    if failures:
        more = f" {len(failures) - 1} more fields cannot be read." if len(failures) > 1 else ""
        show_problem(f"{failures[0]}{more}")
    n_new = sum(added)
    if added:
        same = len(added) - n_new
        known = f"; {same} have the pixels of cases that are there already" if same else ""
        noun = "field was" if n_new == 1 else "fields were"
        show_notice(f"{n_new} {noun} added to the list{known}. Click one on the slide to correct it.")
