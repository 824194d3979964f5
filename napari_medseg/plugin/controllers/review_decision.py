"""Accepting and rejecting the open case: a decision that has begun is always recorded, or it is refused."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.plugin.controllers import open_case
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow import review
from napari_medseg.workflow.accepted_files import AcceptedFiles
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace


class CaseWork(SingleWork):
    """The thread that reads a case, or saves the labels of one; and what cannot be done meanwhile.

    `opens_case` is to be set before work is started that opens another case, and cleared before other work.
    """

    opens_case = False

    @property
    def is_opening(self) -> bool:
        """Whether another case is being opened."""
        return self.is_running and self.opens_case

    @property
    def busy_reason(self) -> str:
        """Why the open case can be neither accepted nor rejected now; empty if it can."""
        if self.must_finish:
            return "The labels are being saved"
        return "An image or its labels are being read" if self.is_running else ""

    def refuse_while_busy(self) -> bool:
        """Tell the user `busy_reason`; return whether there is one."""
        if reason := self.busy_reason:
            show_notice(f"{reason}. Nothing was changed; try again in a moment.")
        return bool(reason)

    def refuse_while_saving(self) -> bool:
        """Refuse to change labels that are being saved, because the correction would not contain the change."""
        return self.must_finish and self.refuse_while_busy()


class ReviewDecision(QObject):
    """Accepts or rejects a case.

    Parameters
    ----------
    workspace, work
        The project, and what runs the thread.
    remember_tools
        Called with the case before its labels become read-only.

    Notes
    -----
    `state_changed` is emitted when saving began, and with a decision; `decided` carries the case.
    """

    state_changed = Signal()
    decided = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        work: CaseWork,
        remember_tools: Callable[[OpenCase], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._work = work
        self._remember_tools = remember_tools

    def accept(self, current: OpenCase | None) -> None:
        """Save the labels as a correction; if a check refuses them, nothing changes and the draft stays.

        It is refused while another case is being opened, because the user may mean that one. Once it has begun, the
        correction is recorded whatever happens to the case and its layers.
        """
        if current is None or (session := current.edit_session) is None or self._work.refuse_while_busy():
            return
        with show_errors():
            session.recorder.record_external_changes()
            shown = np.asarray(session.layer.data)  # copied in the thread: they are read-only until it ends
            self._remember_tools(current)
            current.begin_saving(session)
            writing = open_case.write_accepted(self._workspace, current, shown, session.draft)
            record = partial(self._record_accepted, current, session.draft, self._workspace.reader.key())
            self._work.opens_case = False
            self._work.run(writing, record, current.unlock, must_finish=True)
            self.state_changed.emit()

    def reject(self, current: OpenCase | None) -> None:
        """Close the review without a correction; refused as in `accept`."""
        if current is None or self._work.refuse_while_busy():
            return
        with show_errors():
            if (session := current.edit_session) is None:
                review.reject_unopened(self._workspace, current.case)
            else:
                session.recorder.record_external_changes()
                self._remember_tools(current)
                review.reject(self._workspace, session.draft)
            self._finish(current, "rejected")

    def _record_accepted(
        self, current: OpenCase, draft: Draft, who: str, written: tuple[NDArray[Any], AcceptedFiles]
    ) -> None:
        """Record the correction, also if the case was closed, or its layers removed, meanwhile; `who` accepted it."""
        labels, accepted = written
        with show_errors(), ExitStack() as on_failure:
            on_failure.callback(current.unlock)
            review.record_correction(self._workspace, draft, labels, accepted, who)
            on_failure.pop_all()
            self._finish(current, "accepted")

    def _finish(self, current: OpenCase, state: str) -> None:
        current.finish_review(state)
        self.state_changed.emit()
        self.decided.emit(current.case)
