"""Import of a dropped data set of this program: one question, then one case after the other in a thread."""

import queue
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.masks.import_result import show_outcomes
from napari_medseg.plugin.masks.import_row import ImportRow
from napari_medseg.plugin.masks.mask_question import MaskQuestion
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import SingleWork, Worker
from napari_medseg.workflow.data_set.card import DataCard, read_data_card
from napari_medseg.workflow.data_set.read import DatabaseStep, adopt_task, import_in_steps
from napari_medseg.workflow.masks.import_masks import ImportOutcome, ImportStart
from napari_medseg.workflow.masks.packed_folders import OpenedFolder, open_folder
from napari_medseg.workflow.workspace import Workspace

_Answer = tuple[Any, MedSegError | None]


@dataclass(frozen=True, eq=False)
class _OpenedDataSet:
    opened: OpenedFolder
    card: DataCard


class DataSetImport(ImportRow):
    """Imports a data set with its task, groups and hold-out.

    Parameters
    ----------
    workspace, worklist
        The project, and the list that shows the cases and opens the first one.
    question
        Where it asks.
    leave_case_of
        Closes the open case if it is that of an image; it raises `MedSegError` while labels of it are being saved.
    """

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        question: MaskQuestion,
        leave_case_of: Callable[[Image], None],
        parent: QWidget | None = None,
    ) -> None:
        tip = "Stop after this case; what is imported stays. Drop it again to go on"
        super().__init__(workspace, tip, parent)
        self._worklist = worklist
        self._question, self._leave_case_of = question, leave_case_of
        self._opener = SingleWork(self)

    def ask_about(self, path: Path) -> None:
        """Read the card of a data set, a folder or an archive, then ask whether to import it."""
        if self._worker is not None:
            show_notice("A data set is being imported. Drop this one again when that has ended, or press Stop.")
            return
        self._opener.run(_open(path), partial(self._ask, path.name), lambda: None)

    def _make_stop_reply(self) -> _Answer:
        return None, MedSegError("the import was stopped.")

    def close_down(self) -> None:
        """Stop, because the window closes, also reading a card."""
        self._opener.stop()
        super().close_down()

    def _ask(self, name: str, found: _OpenedDataSet) -> None:
        with show_errors():
            card, task = found.card, found.card.task_definition
            held_out = sum(case.held_out for case in card.cases)
            self._question.ask_again(
                f"{name} is a data set for {task.title}: {len(card.cases)} images with accepted labels, {held_out} of "
                "them held out. They keep their groups and their side.",
                [
                    ("Import", "Add the images, and their labels as accepted corrections", lambda: self._start(found)),
                    ("Cancel", "Do nothing", lambda: None),
                ],
            )

    def _start(self, found: _OpenedDataSet) -> None:
        with show_errors():
            adopt_task(self._workspace, found.card.task_definition)
            self._outcomes, self._replies = [], queue.SimpleQueue()
            steps = import_in_steps(self._workspace, found.opened.path, found.card, archive=found.opened.archive)
            worker = Worker(_pass_steps(steps, self._replies), self)
            worker.yielded.connect(self._on_item)
            worker.failed.connect(show_problem)
            worker.ended.connect(lambda: self._on_ended() if worker is self._worker else None)
            self._show_progress(len(found.card.cases), "importing")
            self._worker = worker.start()

    def _on_item(self, item: DatabaseStep | ImportOutcome) -> None:
        if isinstance(item, ImportOutcome):
            self._begun = None
            self._outcomes.append(item)
            self._bar.setValue(len(self._outcomes))
            return
        answer: _Answer = None, MedSegError("it could not be written; the error is shown.")  # after a bug
        try:
            with translate_errors():
                if item.begins_with is not None:
                    self._leave_case_of(item.begins_with)
                answer = item.run(), None
        except MedSegError as error:
            answer = None, error
        finally:
            self._replies.put(answer)
        if isinstance(answer[0], ImportStart):
            self._begun = answer[0]

    def _on_ended(self) -> None:
        self._worker = None
        self.hide()
        self._withdraw_unfinished()
        self._worklist.reload_cases()
        show_outcomes(self._outcomes, self._worklist)


def _open(path: Path) -> Generator[_OpenedDataSet]:
    opened = open_folder(path)
    yield _OpenedDataSet(opened, read_data_card(opened.path))


def _pass_steps(
    steps: Generator[DatabaseStep | ImportOutcome, Any, None], replies: "queue.SimpleQueue[_Answer]"
) -> Generator[DatabaseStep | ImportOutcome]:
    """Yield the items of an import; after a step, wait for what the main thread made of it, and hand that back."""
    answer: _Answer = None, None
    try:
        while True:
            item = steps.send(answer[0]) if answer[1] is None else steps.throw(answer[1])
            yield item
            answer = replies.get() if isinstance(item, DatabaseStep) else (None, None)
    except StopIteration:
        return
    finally:
        steps.close()
