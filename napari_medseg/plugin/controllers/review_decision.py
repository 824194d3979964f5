"""Accepting, rejecting, resetting, undo: a decision that has begun is always recorded, or it is refused aloud."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.project.strokes import Stroke
from napari_medseg.core.records import Case
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import open_case
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.plugin.drafts.save_queue import SaveQueue
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow import review
from napari_medseg.workflow.accepted_files import AcceptedFiles
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


OPENS_WHEN_SAVED = "The case that you chose opens when its labels are saved"


class CaseWork(SingleWork):
    """The thread that reads a case; and what cannot be done with the open case meanwhile, or while it is saved.

    `opens_case` is to be set before work is started that opens another case, and cleared before other work.
    """

    opens_case = False

    def __init__(self, parent: QObject, get_open: Callable[[], OpenCase | None]) -> None:
        super().__init__(parent)
        self._get_open = get_open

    @property
    def is_opening(self) -> bool:
        """Whether another case is being opened."""
        return self.is_running and self.opens_case

    def is_open(self, case: OpenCase) -> bool:
        """Whether a case is the open one."""
        return case is self._get_open()

    @property
    def is_saving(self) -> bool:
        """Whether the open case was accepted and its labels are not saved yet."""
        current = self._get_open()
        return current is not None and current.accepted_session is not None

    @property
    def busy_reason(self) -> str:
        """Why the open case can be neither accepted nor rejected now; empty if it can."""
        if self.is_saving:
            return SaveQueue.busy_reason
        if self.is_opening:
            return "The next case is being read"
        return "New labels of this case are being read" if self.is_running else ""

    def refuse_while_busy(self) -> bool:
        """Tell the user `busy_reason`; return whether there is one."""
        if reason := self.busy_reason:
            again = "try again in a moment" if self.is_saving else "press again when you see it"
            show_notice(f"{reason}. Nothing was changed: {again}.")
        return bool(reason)

    def refuse_while_saving(self) -> bool:
        """Refuse to change labels that are being saved, because the correction would not contain the change."""
        return self.is_saving and self.refuse_while_busy()


class ReviewDecision(QObject):
    """Accepts or rejects a case, or changes its labels back.

    Parameters
    ----------
    workspace, work, saver
        The project, what is done with the open case meanwhile, and what saves accepted labels.
    remember_tools
        Called with the case before its labels become read-only.
    reopen
        Opens a case again.
    parent
        Qt parent.

    Notes
    -----
    `state_changed` is emitted when saving began, and with a decision. `saving_began` carries a case that was accepted,
    `decided` one whose decision is recorded, and `save_failed` one that is a draft again.
    """

    state_changed = Signal()
    saving_began = Signal(object)
    save_failed = Signal(object)
    decided = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        work: CaseWork,
        saver: SaveQueue,
        remember_tools: Callable[[OpenCase], None],
        reopen: Callable[[Case], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._work = work
        self._saver = saver
        self._remember_tools = remember_tools
        self._reopen = reopen

    def accept(self, current: OpenCase | None) -> None:
        """Save the labels as a correction; if a check refuses them, nothing changes and the draft stays.

        It is refused while another case is being opened, because the user may mean that one, and while new labels are
        read, because nobody has seen them. Once it has begun, the correction is recorded whatever happens to the case
        and its layers; the next case can be opened meanwhile.
        """
        if self._refuse_while_busy():
            return
        if current is None or (session := current.edit_session) is None:
            show_notice("There are no labels to accept: predict, or choose a label and paint.")
            return
        with show_errors():
            session.recorder.record_external_changes()
            shown = np.asarray(session.layer.data)  # copied in the thread: they are read-only until it ends
            self._remember_tools(current)
            current.begin_saving(session)
            writing = open_case.write_accepted(self._workspace, current, shown, session.draft)
            record = partial(self._record_accepted, current, session.draft, self._workspace.reader.key())
            self._saver.add(current.case, writing, record, partial(self._give_back, current))
            self.state_changed.emit()
            self.saving_began.emit(current.case)

    def reject(self, current: OpenCase | None) -> None:
        """Close the review without a correction; refused as in `accept`."""
        if current is None or self._refuse_while_busy():
            return
        with show_errors():
            if (session := current.edit_session) is None:
                review.reject_unopened(self._workspace, current.case)
            else:
                session.recorder.record_external_changes()
                self._remember_tools(current)
                review.reject(self._workspace, session.draft)
            self._finish(current, "rejected")

    def reset(self, current: OpenCase | None) -> None:
        """Restore the prediction, if the labels can be changed now."""
        if current is not None and (work := current.edit_session) is not None and not self._work.refuse_while_saving():
            with show_errors():
                review.reset(self._workspace, work.draft)
                work.recorder.show_draft()

    def step_in_journal(
        self, viewer: "Viewer", current: OpenCase | None, step: Callable[[StrokeRecorder], Stroke | None]
    ) -> None:
        """Undo or redo a stroke, if the labels can be changed now, and show its slice."""
        if current is not None and (work := current.edit_session) is not None and not self._work.refuse_while_saving():
            with show_errors():
                if (stroke := step(work.recorder)) is not None:
                    layers.show_voxels(viewer, current.image_layer, stroke.spans)

    def _refuse_while_busy(self) -> bool:
        if self._saver.has_call:  # the open case is no longer the one that the user wants to see
            show_notice(f"{OPENS_WHEN_SAVED}. Nothing was changed: press again when you see it.")
            return True
        return self._work.refuse_while_busy()

    def _record_accepted(
        self, current: OpenCase, draft: Draft, who: str, written: tuple[NDArray[Any], AcceptedFiles]
    ) -> None:
        """Record the correction, also if the case was closed, or its layers removed, meanwhile; `who` accepted it."""
        labels, accepted = written
        try:
            with translate_errors():
                review.record_correction(self._workspace, draft, labels, accepted, who)
        except MedSegError as error:
            self._give_back(current, error)
            return
        self._finish(current, "accepted")

    def _give_back(self, current: OpenCase, error: MedSegError) -> None:
        """Make the labels that could not be saved a draft again, and say why, with the way back to their case."""
        is_open = self._work.is_open(current)
        current.unlock()
        back = [] if is_open else [(f"Open {current.case.name}", partial(self._reopen, current.case))]
        text = str(error) if is_open else f"{current.case.name} was not accepted and is a draft again: {error}"
        show_problem(text if str(error) else error, actions=back)
        self.state_changed.emit()
        self.save_failed.emit(current.case)

    def _finish(self, current: OpenCase, state: str) -> None:
        current.finish_review(state)
        self.state_changed.emit()
        self.decided.emit(current.case)
