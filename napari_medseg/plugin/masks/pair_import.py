"""Import of dropped images with their masks: one question, then one pair after the other in a thread."""

import queue
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QWidget

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import detect_task
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.masks import second_reading
from napari_medseg.plugin.masks.import_result import show_outcomes
from napari_medseg.plugin.masks.import_row import ImportRow
from napari_medseg.plugin.masks.mask_question import MaskAnswer, MaskQuery, MaskQuestion
from napari_medseg.plugin.masks.pair_worker import (
    FirstPair,
    OtherGrid,
    ReadPair,
    WrittenPair,
    import_in_thread,
    read_first_pair,
)
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.masks.import_masks import (
    ImportOutcome,
    ImportStart,
    begin_import,
    end_import,
)
from napari_medseg.workflow.masks.meaning import (
    AS_THE_TASK,
    MaskMeaning,
    ProposedMeaning,
    propose_meaning,
    recall_meaning,
    remember_meaning,
)
from napari_medseg.workflow.masks.pairs import MaskPair
from napari_medseg.workflow.masks.read_pair import MaskSettings
from napari_medseg.workflow.workspace import Workspace

BUSY = "Other masks are being imported. Drop these again when that has ended, or press Stop."


class PairImport(ImportRow):
    """Imports pairs as drafts or corrections.

    Parameters
    ----------
    workspace, worklist
        The project, and the list that shows the cases and opens the first one.
    question
        Where it asks.
    leave_case_of
        Closes the open case if it is that of an image: two drafts of one review would overwrite each other.
    """

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        question: MaskQuestion,
        leave_case_of: Callable[[Image], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(workspace, "Stop after this pair; what is imported stays. Drop them again to go on", parent)
        self._leave_case_of = leave_case_of
        self._worklist = worklist
        self._question = question
        self._first: Worker | None = None
        self._other_grid: list[OtherGrid] = []
        self._to_remember: tuple[str, Path, MaskMeaning] | None = None

    def ask_about(self, pairs: Sequence[MaskPair], images_only: Callable[[], None], n_left_out: int = 0) -> None:
        """Read the first pair, then ask whether and how to import all; `images_only` opens the images without masks.

        `n_left_out` other images of the drop have no mask, and are opened by `images_only` alone.
        """
        if self._worker is not None:
            show_notice(BUSY)
            return
        worker = self._first = Worker(read_first_pair(pairs[0]), self)
        worker.yielded.connect(lambda first: self._ask(pairs, images_only, first, n_left_out))
        worker.failed.connect(show_problem)
        worker.failed.connect(lambda _error: images_only())
        worker.start()

    def close_down(self) -> None:
        """Stop, because the window closes, also reading the first pair."""
        if self._first is not None:
            self._first.stop()
        super().close_down()

    def _ask(
        self, pairs: Sequence[MaskPair], images_only: Callable[[], None], first: FirstPair, n_left_out: int
    ) -> None:
        with show_errors():
            task = detect_task(first.image, self._worklist.task, self._workspace.tasks)
            remembered = recall_meaning(self._workspace, task.name, _get_source(pairs[0]))
            proposed = ProposedMeaning(AS_THE_TASK, "names", True, {})
            if not first.is_certain:
                proposed = propose_meaning(task, first.counts, first.names, remembered)
            count = f"{len(pairs)} images with masks" if len(pairs) > 1 else f"{pairs[0].image.name} with its mask"
            text = f"{count} for {task.title}."
            text += f" {n_left_out} other images of the drop have no mask, and stay closed." * bool(n_left_out)
            text += "" if proposed.is_certain else f" What do the values of {pairs[0].mask.title} mean?"
            run = partial(self._start, pairs, task, proposed)
            several = "s" * (len(pairs) > 1)
            answers: list[MaskAnswer] = [
                (f"As draft{several}", "Import the masks as labels to correct", partial(run, False, "")),
                ("Accept", "Import the masks as accepted corrections: they train models", partial(run, True, "")),
                (f"Image{several} only", f"Open without the mask{several}", lambda _meaning: images_only()),
                ("Cancel", "Do nothing", lambda _meaning: None),
            ]
            if second_reading.can_be_second(self._workspace, first.image, task):
                answers.insert(2, second_reading.make_answer(partial(run, True), self._ask_who))
            self._question.ask(MaskQuery(text, task, first.counts, proposed), answers)

    def import_open_case(self, pair: MaskPair, task: Task, meaning: MaskMeaning) -> None:
        """Ask whose second reading a mask of the open case is, and import it."""
        certain = ProposedMeaning(meaning, "names", is_certain=False, names={})
        self._ask_who(lambda name: self._start([pair], task, certain, True, name, meaning))

    def _ask_who(self, take: Callable[[str], None]) -> None:
        self.who_dialog = second_reading.ask_who(self, self._workspace, take)

    def _start(
        self,
        pairs: Sequence[MaskPair],
        task: Task,
        proposed: ProposedMeaning,
        accepts: bool,
        second_reader: str,
        meaning: MaskMeaning,
    ) -> None:
        with show_errors():
            said: MaskMeaning | None = meaning
            if proposed.origin == "names" and proposed.is_certain:
                said = None  # each file may have names of its own
            self._to_remember = None
            if said is not None and not proposed.is_certain:
                self._to_remember = task.name, _get_source(pairs[0]), said
            self._outcomes = []
            self._run(pairs, MaskSettings(task, said, second_reader=second_reader), accepts)

    def _run(self, pairs: Sequence[MaskPair], settings: MaskSettings, accepts: bool) -> None:
        if self._worker is not None:  # begun since the question was asked; its thread waits for replies
            show_notice(BUSY)
            return
        self._other_grid = []
        self._replies = queue.SimpleQueue()
        folder = self._workspace.project.folder
        worker = Worker(import_in_thread(pairs, settings, folder, self._replies, accepts=accepts), self)
        worker.yielded.connect(lambda item: self._on_item(item, settings, accepts))
        worker.failed.connect(show_problem)
        worker.ended.connect(lambda: self._on_ended(settings, accepts) if worker is self._worker else None)
        self._show_progress(len(pairs), "importing masks")
        self._worker = worker.start()

    def _on_item(self, item: object, settings: MaskSettings, accepts: bool) -> None:
        match item:
            case ReadPair():
                self._replies.put(self._begin(item, settings, accepts))
            case WrittenPair():
                self._replies.put(self._end(item))
            case OtherGrid():
                self._other_grid.append(item)
                self._bar.setValue(self._bar.value() + 1)
            case ImportOutcome():
                self._add(item)

    def _begin(self, item: ReadPair, settings: MaskSettings, accepts: bool) -> ImportStart | None:
        self._withdraw_unfinished()
        try:
            with translate_errors():
                self._leave_case_of(item.image)
                begun = begin_import(
                    self._workspace,
                    item.image,
                    settings.task,
                    item.read.labels,
                    accepts=accepts,
                    second_reader=settings.second_reader,
                )
        except MedSegError as error:
            self._add(ImportOutcome(item.pair.name, "refused", str(error)))
            return None
        if begun.start is None:
            self._add(ImportOutcome(item.pair.name, "already there", case=begun.case))
            return None
        self._begun = begun
        return begun

    def _end(self, item: WrittenPair) -> bool:
        draft = item.imported.draft
        try:
            with translate_errors():
                state = end_import(self._workspace, draft, item.read.labels, item.read, item.sha256, item.written)
        except MedSegError as error:
            self._add(ImportOutcome(item.pair.name, "refused", str(error)))
            return False
        self._begun = None
        self._add(ImportOutcome(item.pair.name, state, "", item.read.notes, draft.case))
        return True

    def _add(self, outcome: ImportOutcome) -> None:
        if self._to_remember is not None and outcome.state != "refused":  # what fits no mask is a slip
            with show_errors():
                remember_meaning(self._workspace, *self._to_remember)
            self._to_remember = None
        self._outcomes.append(outcome)
        self._bar.setValue(self._bar.value() + 1)

    def _on_ended(self, settings: MaskSettings, accepts: bool) -> None:
        self._worker = None
        self._withdraw_unfinished()
        self.hide()
        self._worklist.choose_task(settings.task.name)
        self._worklist.reload_cases()
        if self._other_grid:
            self._ask_to_resample(settings, accepts)
        else:
            self._finish()

    def _ask_to_resample(self, settings: MaskSettings, accepts: bool) -> None:
        pairs = [one.pair for one in self._other_grid]
        count = f"{len(pairs)} masks have" if len(pairs) > 1 else f"{pairs[0].mask.title} has"
        again = partial(self._run, pairs, replace(settings, resamples=True), accepts)
        self._question.ask_again(
            f"{count} another grid than the image: {self._other_grid[0].text} Bring them to the grid of their image "
            "(nearest neighbour)?",
            [
                ("Resample", "By the places in the patient that both files state, else by the field of view", again),
                ("Leave them out", "Import only the others", self._finish),
            ],
        )

    def _finish(self) -> None:
        """Say what became of the pairs, and open the first one."""
        show_outcomes(self._outcomes, self._worklist)


def _get_source(pair: MaskPair) -> Path:
    """Return the folder or archive for which a meaning is remembered, as `medseg import` does."""
    archive = next((each for each in reversed(pair.kept) if each is not None), None)
    return pair.mask.path.parent if archive is None else archive.path
