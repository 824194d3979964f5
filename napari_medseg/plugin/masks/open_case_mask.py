"""A mask for the open case: it replaces the draft, or is compared with it."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.project.strokes import PreparedStroke
from napari_medseg.core.records import ImportedMask, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.drafts.closer import EditSession
from napari_medseg.plugin.keymap import UNDO_KEY, get_key_title
from napari_medseg.plugin.masks.mask_comparison import MaskComparison
from napari_medseg.plugin.masks.mask_question import MaskAnswer, MaskQuery, MaskQuestion
from napari_medseg.plugin.masks.second_reading import TITLE, TOOLTIP, can_be_second
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_result
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.masks.import_masks import hash_labels
from napari_medseg.workflow.masks.meaning import MaskMeaning, propose_meaning, recall_meaning, remember_meaning
from napari_medseg.workflow.masks.pairs import MaskPair
from napari_medseg.workflow.masks.read_pair import MaskSettings, ReadMask, count_values, read_mask_of
from napari_medseg.workflow.masks.value_names import read_value_names
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.mask_files import MaskFile

if TYPE_CHECKING:
    from napari import Viewer


@dataclass(frozen=True, eq=False)
class _FoundValues:
    counts: dict[int, int]
    names: dict[int, str]


@dataclass(frozen=True, eq=False)
class _Replacement:
    """What makes a mask the draft, computed in a thread from labels of a version of the draft."""

    edit: Edit
    prepared: PreparedStroke | None
    source: ImportedMask
    version: int


class OpenCaseMask(QObject):
    """Asks what a dropped mask means, and makes it the draft of the open case, or compares both.

    Parameters
    ----------
    viewer, workspace, case_controller, prediction_queue
        The window, the project, the controller of the open case, and what predicts: a running prediction is stopped
        when a mask becomes the draft.
    get_task
        Returns the task of the open case.
    question
        Where it asks.
    """

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        case_controller: CaseController,
        prediction_queue: PredictionQueue,
        get_task: Callable[[], Task],
        question: MaskQuestion,
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._case_controller = case_controller
        self._prediction_queue = prediction_queue
        self._get_task = get_task
        self._question = question
        self.comparison = MaskComparison(viewer, case_controller, question, get_task, self._use)
        self.import_second: Callable[[MaskPair, Task, MaskMeaning], None] | None = None
        self._asked = ""
        self._work = SingleWork(self)
        case_controller.opened.connect(self._on_opened)

    def ask_about(self, path: Path, as_image: Callable[[], None] | None = None) -> None:
        """Read the values of a mask, then ask what to do with it. `as_image` opens it as an image instead."""
        current = self._case_controller.current
        if current is not None:
            ask = partial(self._ask, current, path, as_image)
            self._work.run(_find_values(path), ask, lambda: None)

    def close(self) -> None:
        """Stop reading, and remove the differences."""
        self._work.stop()
        self.comparison.end()

    def _on_opened(self) -> None:
        self._work.stop()
        if self._question.text == self._asked:  # not a question about other images
            self._question.hide()

    def _ask(self, current: OpenCase, path: Path, as_image: Callable[[], None] | None, found: _FoundValues) -> None:
        if current is not self._case_controller.current:
            return
        task = self._get_task()
        remembered = recall_meaning(self._workspace, task.name, path.parent)
        proposed = propose_meaning(task, found.counts, found.names, remembered)
        text = f"{path.name} is a mask for {current.case.name}."
        meaning = proposed.meaning.describe(task)
        text += f" {meaning[0].upper()}{meaning[1:]}." if proposed.is_certain else " What do its values mean?"
        answers: list[MaskAnswer] = [
            (
                "As draft",
                f"Replace the labels by the mask; {get_key_title(UNDO_KEY)} takes it back",
                partial(self._read, path, self._use),
            ),
            (
                "Compare",
                "Show where labels and mask differ; nothing is changed",
                partial(self._read, path, self.comparison.begin),
            ),
            ("Cancel", "Do nothing with this mask", lambda _meaning: None),
        ]
        if self.import_second is not None and can_be_second(self._workspace, current.image, task):
            answers.insert(2, (TITLE, TOOLTIP, partial(self._import_second, current, path)))
        if as_image is not None:
            answers.insert(2, ("Image", "It is no mask: open it as an image", lambda _meaning: as_image()))
        self._question.ask(MaskQuery(text, task, found.counts, proposed), answers)
        self._asked = self._question.text

    def _import_second(self, current: OpenCase, path: Path, meaning: MaskMeaning) -> None:
        if self.import_second is not None and current is self._case_controller.current:
            image = current.image
            pair = MaskPair(path.name, image.sources[0] if image.sources else path, MaskFile(path), loaded=image)
            self.import_second(pair, self._get_task(), meaning)

    def _read(self, path: Path, then: Callable[[OpenCase, Path, ReadMask], None], meaning: MaskMeaning) -> None:
        """Read the mask with the meaning of an answer; it is remembered for the folder if it fits the mask."""
        self._read_with(path, MaskSettings(self._get_task(), meaning), then)

    def _read_with(self, path: Path, settings: MaskSettings, then: Callable[[OpenCase, Path, ReadMask], None]) -> None:
        current = self._case_controller.current
        if current is None:
            return

        def read(outcome: ReadMask | MedSegError) -> None:
            if current is not self._case_controller.current:
                return
            if isinstance(outcome, MedSegError):
                self._ask_to_resample(path, settings, then, outcome)
            else:
                if settings.meaning is not None:
                    with show_errors():
                        remember_meaning(self._workspace, settings.task.name, path.parent, settings.meaning)
                then(current, path, outcome)

        self._work.run(_read_mask(current.image, path, settings), read, lambda: None)

    def _ask_to_resample(
        self,
        path: Path,
        settings: MaskSettings,
        then: Callable[[OpenCase, Path, ReadMask], None],
        error: MedSegError,
    ) -> None:
        again = partial(self._read_with, path, replace(settings, resamples=True), then)
        self._question.ask_again(
            f"{error} Bring the mask to the grid of the image (nearest neighbour)?",
            [
                ("Resample", "By the places in the patient that both files state, else by the field of view", again),
                ("Cancel", "Do nothing with this mask", lambda: None),
            ],
        )
        self._asked = self._question.text

    def _use(self, current: OpenCase, path: Path, read: ReadMask) -> None:
        if self._case_controller.work.refuse_while_busy():
            return
        self._stop_prediction(current)
        if current.edit_session is None:
            self._case_controller.restart_review()
        session = current.edit_session
        if session is None:
            return
        self.comparison.end()
        with show_errors():
            session.recorder.record_external_changes()
            canvas = Canvas(session.draft.labels, self._get_task())
            work = _prepare_replacement(session, canvas, path, read, session.draft.version)
            self._work.run(work, partial(self._replace, current, session, path, read), lambda: None)

    def _replace(
        self, current: OpenCase, session: EditSession, path: Path, read: ReadMask, replacement: "_Replacement | None"
    ) -> None:
        """Make the labels of the mask those of the draft: one stroke, which Ctrl+Z undoes."""
        if current is not self._case_controller.current or session is not current.edit_session:
            return
        if replacement is None:
            show_notice(f"{path.name} has the same labels as the draft; nothing was changed.")
        elif replacement.version != session.draft.version:
            self._use(current, path, read)  # painted on meanwhile
        else:
            with show_errors():
                session.recorder.apply_edit(replacement.edit, replacement.prepared)
                labels_tools.select_free_object(session.layer, self._get_task())
                self._workspace.project.insert(replacement.source)
                notes = "; ".join((read.meaning, *read.notes))
                text = f"The draft is {path.name} now ({notes}). {get_key_title(UNDO_KEY)} takes it back."
                show_result(text, topic=current.case.name)  # until the case is decided

    def _stop_prediction(self, current: OpenCase) -> None:
        request = self._prediction_queue.running_request
        if request is not None and request.case.id == current.case.id:
            self._prediction_queue.cancel()  # its labels would be merged into the mask


def _find_values(path: Path) -> Generator[_FoundValues]:
    yield _FoundValues(count_values(path), read_value_names(path))


def _read_mask(image: Image, path: Path, settings: MaskSettings) -> Generator[ReadMask | MedSegError]:
    """Yield the labels of a mask, or the error if it has another grid: then a person may want to resample it."""
    try:
        with translate_errors():
            read: ReadMask | MedSegError = read_mask_of(image, MaskFile(path), settings)
    except (GridMismatchError, HeaderMismatchError) as error:
        if settings.resamples:
            raise
        read = error
    yield read


def _prepare_replacement(
    session: EditSession, canvas: Canvas, path: Path, read: ReadMask, version: int
) -> Generator[_Replacement | None]:
    """Yield what makes a mask the draft; `None` if it is that already."""
    differs = canvas.labels != read.labels
    if not differs.any():
        yield None
        return
    whole = tuple(slice(0, length) for length in canvas.shape)
    edit = canvas.make_edit(f"replaced the labels by {path.name}", [Change(whole, differs, read.labels)])
    review = session.draft.review
    source = ImportedMask(
        id=0,
        case_id=session.draft.case.id,
        review_id=review.id,
        source_sha256=compute_file_sha256(path),
        labels_sha256=hash_labels(read.labels),
        meaning=read.meaning,
        how=read.how,
        who=review.who,
        created=now(),
    )
    yield _Replacement(edit, session.recorder.prepare_edit(edit, version), source, version)
