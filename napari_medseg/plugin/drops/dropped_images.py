"""Makes cases of the images that were dropped together, or of a selected layer."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.formats import ReadProgress
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import describe_import, detect_task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.drops.drop_questions import DropQuestions
from napari_medseg.plugin.widgets.inline_prompt import PromptAnswer
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases
from napari_medseg.workflow.tasks import assignment, drop_sorting
from napari_medseg.workflow.tasks.assignment import TaskAssignment
from napari_medseg.workflow.tasks.drop_sorting import SortedImage
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

    from napari_medseg.plugin.controllers.worklist import Worklist


HOLD_MS = 3000
"""How long the first prediction of a drop of many files waits, until it is known whether the drop is mixed."""


class DroppedImages(QObject):
    """Adds imported images to the project, each to the task that it is for, and opens the first one of a drop.

    Nothing of a drop of mixed kinds is predicted until a person has said that it is sorted well, or has opened another
    case of it. Before, each part of it, or all of it, can be redirected to any task that accepts its images.

    Parameters
    ----------
    viewer, workspace
        Viewer and project.
    case_controller, worklist
        The controller of the open case, and the list that shows the new ones; its importer reads them.

    Notes
    -----
    `sorted_by_task` carries a text about a drop of mixed kinds, answers with what they call, and the names of the tasks
    of the drop; `question_settled` carries that text when it needs no answer any more.
    `released` is emitted when predictions may begin.
    """

    sorted_by_task = Signal(str, list, list)
    question_settled = Signal(str)
    released = Signal()

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, worklist: "Worklist"
    ) -> None:
        super().__init__(worklist)
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._worklist = worklist
        self._batch: list[SortedImage] = []
        self._is_held = False
        self._question = ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(HOLD_MS)
        self._timer.timeout.connect(self._on_waited)
        self.questions = DropQuestions(workspace)
        worklist.importer.set_questions(self.questions.ask, self.questions.close)
        worklist.importer.began.connect(self._on_began)
        worklist.importer.progressed.connect(self._on_progressed)
        worklist.importer.image_imported.connect(self._on_image_imported)
        worklist.importer.failed.connect(show_problem)
        worklist.importer.finished.connect(self._on_batch_ended)
        case_controller.opened.connect(self._on_opened)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of the images that were dropped or opened last, together."""
        return tuple(image.case for image in self._batch)

    @property
    def is_held(self) -> bool:
        """Whether nothing is predicted automatically for now."""
        return self._is_held

    @property
    def is_mixed(self) -> bool:
        """Whether the last drop has images for several tasks."""
        return len({image.case.task for image in self._batch}) > 1

    def release(self) -> None:
        """Let predictions begin: the drop is sorted well."""
        self._timer.stop()
        if self._question:  # its answers are about this drop, and come too late
            question, self._question = self._question, ""
            self.question_settled.emit(question)
        if self._is_held:
            self._is_held = False
            self.released.emit()

    def redirect(self, chosen: Sequence[Case], task: str) -> None:
        """Use some cases of the last drop for another task, and ask again whether it is sorted well."""
        with show_errors():
            before = list(self._batch)
            assigned = drop_sorting.redirect_to_task(self._workspace, chosen, task)
            self._batch = drop_sorting.replace_cases(self._batch, assigned)
            self._show_first()
            left = drop_sorting.explain_redirection(self._workspace, chosen, assigned)
            self._ask(f" {left}".rstrip(), ("Undo", partial(self._take_back, before, chosen, assigned)))

    def add_selected_layer(self) -> None:
        """Make and open a case of the selected image layer if it belongs to the user or another plugin."""
        selected = self._viewer.layers.selection.active
        if layers.is_foreign_image(selected) and (image := layers.get_image(selected)) is not None:
            (case,) = cases.add_cases(self._workspace, [image], self._worklist.task.name)
            self._worklist.update_case(case)
            # Without a source file, the case can be opened again only from a copy in the project.
            worker = Worker(_write_copy(self._workspace, image), self)
            worker.failed.connect(show_problem)
            worker.start()
            self._worklist.open(case, image.give_name(case.name, case.group), selected)

    def _take_back(self, before: list[SortedImage], chosen: Sequence[Case], assigned: TaskAssignment) -> None:
        with show_errors():
            if assigned.added:
                assignment.remove_from_list(self._workspace, assigned.added)
            assignment.return_to_list(self._workspace, chosen)
            self._batch = before
            self._show_first()
            self._ask()

    def _show_first(self) -> None:
        """Show the list of the first image of the drop, which is open, as a case of its task of now."""
        current, case = self._case_controller.current, self._batch[0].case
        is_open = current is not None and current.case.content_hash == case.content_hash
        self._worklist.choose_task(case.task)
        self._worklist.reload_cases()
        self._worklist.open(case, current.image if current is not None and is_open else None)

    def _ask(self, remark: str = "", *more: PromptAnswer) -> None:
        """Ask whether the drop is sorted well; the menu has the tasks of each part, and of all images."""
        parts = drop_sorting.list_parts(self._batch)
        if self._question:
            self.question_settled.emit(self._question)  # another one takes its place
        whole = [(f"All {len(self._batch):,} images", self.cases)] if len(parts) > 1 else []
        groups = [(part.text, part.cases) for part in parts] + whole
        menu = [(f"{text} for", self._list_redirections(of)) for text, of in groups]
        answers: list[PromptAnswer] = [("Sorted well", self.release), ("Other task", menu), *more]
        self._question = f"{drop_sorting.describe_drop(self._workspace, self._batch)}.{remark}"
        self.sorted_by_task.emit(self._question, answers, [part.task for part in parts])

    def _list_redirections(self, chosen: Sequence[Case]) -> list[tuple[str, Callable[[], None]]]:
        tasks = drop_sorting.list_possible_tasks(self._workspace, chosen)
        return [(task.title, partial(self.redirect, chosen, task.name)) for task in tasks]

    def _on_began(self) -> None:
        self._batch.clear()
        self.release()

    def _on_progressed(self, progress: ReadProgress) -> None:
        """Hold predictions back while the first of several files are read."""
        if progress.total > 1 and not self._batch and not self._is_held:
            self._is_held = True
            self._timer.start()

    def _on_waited(self) -> None:
        if not self.is_mixed:
            self.release()

    def _on_opened(self) -> None:
        """Take it that the drop is sorted well when a person goes on to another case."""
        current = self._case_controller.current
        if current is None or not self._batch:
            return
        if (self._is_held or self._question) and current.case.content_hash != self._batch[0].case.content_hash:
            self.release()

    def _on_image_imported(self, image: Image, layer: ImageLayer | None) -> None:
        task = self._find_task(image, layers.get_requested_task(layer))
        try:
            with translate_errors():
                (case,) = cases.add_cases(self._workspace, [image], task.name)
        except MedSegError as error:
            layers.remove(self._viewer, layer)
            show_problem(error)
            return
        self._worklist.importer.add_notes(describe_import(image, task))
        self._batch.append(SortedImage(drop_sorting.describe_kind(image), case))
        self._is_held |= self.is_mixed
        self._worklist.image_loaded.emit(case, image)
        if len(self._batch) == 1:
            self._worklist.open(case, image.give_name(case.name, case.group), layer)  # no message names the patient
        elif self._case_controller.current is None or layer is not self._case_controller.current.image_layer:
            layers.remove(self._viewer, layer)
        self._worklist.update_case(case)

    def _find_task(self, image: Image, requested: str) -> Task:
        """Return the task of an image: the requested one, else the one of the list, else the first that it is for."""
        book = self._workspace.tasks
        task = book.get_task(requested) if requested else detect_task(image, self._worklist.task, book)
        if not self._batch and task.name != self._worklist.task.name:
            show_notice(f"By its look: task set to {task.title}. If this is wrong, press U to choose another one.")
            self._worklist.switch_task(task)
        return task

    def _on_batch_ended(self) -> None:
        if not self.is_mixed:
            self.release()
            if len(self._batch) > 1:
                show_notice(f"{len(self._batch)} images were added to the list (next case: D)")
            return
        self._ask()


def _write_copy(workspace: Workspace, image: Image) -> Generator[str]:
    yield case_files.write_image_copy(workspace.project.folder, image)
