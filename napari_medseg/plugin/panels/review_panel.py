"""The review section: progress of the review, review region, and decision."""

import time

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_medseg.core.readings.records import SECOND
from napari_medseg.plugin.controllers.added_labels import AddedLabels
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.controllers.review_region import POLYGON_TOOL, RECTANGLE_TOOL, ReviewRegionController
from napari_medseg.plugin.keymap import UNDO_KEY, get_key_title
from napari_medseg.plugin.panels.decision_bar import DecisionBar
from napari_medseg.plugin.panels.reject_button import RejectButton
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.back_off import BackOff
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection, make_row
from napari_medseg.plugin.widgets.idle_timer import IdleTimer
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.workflow.case_list.columns import FLAG_MARK
from napari_medseg.workflow.workspace import Workspace

TICK_MS = 1000
NOTE_MARK = "✎"
WRITE_INTERVAL_S = 5
SAVED = "saved"
MAX_PARTS = 3
"""Of the header; more of them would be cut off in a dock of the usual width."""
STATUS_TOOLTIP = (
    "Minutes and seconds of work, voxels that differ from the prediction. Every stroke is saved within a second.\n"
    "2nd: a second reading; you see nothing of the first one"
)


class ReviewPanel(CollapsibleSection):
    """Buttons to set the review region, and to accept, reject, reset and export.

    Notes
    -----
    `decision` has the buttons that end a review; the dock shows it below everything that can change its height.
    `export_requested` is emitted by the export button; `note_changed` carries the case whose note, flag or reason for
    rejection changed.
    """

    export_requested = Signal()
    note_changed = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        case_controller: CaseController,
        activity: IdleTimer,
        review_region: ReviewRegionController,
        added_labels: AddedLabels,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Review", parent)
        self._case_controller = case_controller
        self._activity = activity
        self._review_region = review_region
        self._added_labels = added_labels
        self._saving = BackOff()
        self._unwritten_s = 0.0
        self._accept = theme.make_button("Accept && next", "", main=True)
        self.prompt = InlinePrompt()
        self._reject = RejectButton(workspace, case_controller, self.prompt)
        self._reset = theme.make_button("Reset", "")
        self._export = theme.make_button("Export…", "Write accepted labels with geometry, provenance and measurements")
        self.add_row(ReviewRegionButton(review_region), QWidget(), self._export, stretch=1)
        self.decision = DecisionBar(self.prompt, make_row(self._accept, self._reject, self._reset))
        self._accept.clicked.connect(self.accept)
        self._reject.rejected.connect(self.reject)
        self._reject.note_changed.connect(self.note_changed)
        self._reject.note_changed.connect(self.refresh)
        self._reset.clicked.connect(self._case_controller.reset)
        self._export.clicked.connect(self.export_requested)
        case_controller.leaving.connect(self._on_leaving)
        case_controller.opened.connect(self._on_opened)
        case_controller.labels_changed.connect(self.refresh)
        case_controller.state_changed.connect(self.refresh)
        review_region.changed.connect(self.refresh)
        self._tick = QTimer(self)
        self._tick.timeout.connect(self._on_tick)
        self._tick.start(TICK_MS)
        self.refresh()

    def refresh(self) -> None:
        """Update the buttons and the status line."""
        current = self._case_controller.current
        why_not = _get_review_blocker(current)
        again = "Already accepted; change a label or the review region to accept it again" * (
            _is_accepted_unchanged(current)
        )
        theme.set_enabled(
            self._accept,
            not (why_not or again),
            f"Make these labels a correction, open the next case (A); reviewed: {self._review_region.summary}",
            why_not or again,
        )
        self._reject.set_blocked(why_not, current is not None)
        changed = current is not None and current.is_edited
        nothing = why_not or ("" if changed else "Nothing was changed: these are the labels of the model")
        theme.set_enabled(
            self._reset,
            not nothing,
            f"Restore the labels that the model predicted; {get_key_title(UNDO_KEY)} undoes it",
            nothing,
        )
        self._show_progress()

    def _show_progress(self) -> None:
        """Show the work on the case in the header, and marks if it is flagged or has a note."""
        marks = FLAG_MARK * self._reject.note.is_flagged + NOTE_MARK * bool(self._reject.note.note)
        current = self._case_controller.current
        parts = [*filter(None, [marks]), *_describe_progress(current, self._unwritten_s)]
        shown = [part for part in parts if part != SAVED] if len(parts) > MAX_PARTS else parts
        tooltip = "\n".join(filter(None, (self._reject.describes, STATUS_TOOLTIP, _describe_saving(current))))
        self.set_status(" · ".join(shown), tooltip)

    def read_note(self) -> None:
        """Read the note of the open case again, as it may have changed elsewhere."""
        self._reject.read_note()
        self._show_progress()

    def accept(self) -> None:
        """Accept the case, or say why not; ask before about labels layers that the user added."""
        if self._is_refused():
            return
        if self._accept.isEnabled():
            self._added_labels.call_when_settled(self._accept_labels)
        else:
            show_notice(f"{self._accept.toolTip()}.")

    def reject(self, reason: str = "") -> None:
        """Reject the case if that is possible, and keep the reason; else say why not."""
        current = self._case_controller.current
        if self._is_refused():
            return
        if current is None or self._reject.why_not:
            show_notice(f"{self._reject.why_not}.")
            return
        with show_errors():
            self._write_seconds()
            self._reject.keep_reason(current.case, reason)
            self._case_controller.reject()

    def _is_refused(self) -> bool:
        """Tell a user who pressed a key or a button why nothing is done now, if that passes by itself."""
        return self._case_controller.current is not None and self._case_controller.work.refuse_while_busy()

    def _accept_labels(self) -> None:
        if not self._is_refused() and self._accept.isEnabled():
            with show_errors():
                self._write_seconds()
            self._case_controller.accept()

    def set_exportable_count(self, n_accepted: int) -> None:
        """Set the number of accepted cases that can be exported."""
        tooltip = (
            f"Write the labels of {n_accepted} accepted case{'s' * (n_accepted != 1)} with geometry and provenance"
        )
        theme.set_enabled(self._export, n_accepted > 0, tooltip, "Accept a case first; accepted labels are exported")

    def _on_leaving(self) -> None:
        with show_errors():
            self._write_seconds()

    def _on_opened(self) -> None:
        self.prompt.leave()
        self._unwritten_s = 0.0
        self._activity.take_active_s()
        self.refresh()

    def _on_tick(self) -> None:
        current = self._case_controller.current
        worked_s = self._activity.take_active_s()
        if current is None or current.edit_session is None:
            return
        self._unwritten_s += worked_s
        self._saving.call(self._save_now)
        self._show_progress()

    def _save_now(self) -> None:
        current = self._case_controller.current
        if current is not None and current.edit_session is not None:
            current.edit_session.recorder.record_external_changes_if_refreshed()
            if self._unwritten_s >= WRITE_INTERVAL_S:
                self._write_seconds()

    def _write_seconds(self) -> None:
        current = self._case_controller.current
        self._unwritten_s += self._activity.take_active_s()
        if current is not None and current.edit_session is not None and self._unwritten_s > 0:
            current.edit_session.draft.add_seconds(self._unwritten_s)
            self._unwritten_s = 0.0


def _get_review_blocker(current: OpenCase | None) -> str:
    """Return why the case can be neither accepted nor rejected, if that does not pass by itself."""
    if current is None:
        return "Open a case first: drop an image"
    if current.edit_session is None and current.saved_state in ("accepted", "rejected"):
        return f"This case is {current.saved_state}; choose a label to edit it again"
    has_labels = current.labels_layer is not None
    return "" if has_labels else "There are no labels yet: predict (G), or choose a label and paint"


def _is_accepted_unchanged(current: OpenCase | None) -> bool:
    """Whether the open review has no stroke; one that leads back to the labels of the model is a change, too."""
    if current is None or current.edit_session is None:
        return False
    draft = current.edit_session.draft
    return current.saved_state == "accepted" and not draft.can_undo and not draft.has_changed_review_region


def _describe_progress(current: OpenCase | None, unwritten_s: float = 0.0) -> list[str]:
    if current is None:
        return ["no case is open"]
    if current.edit_session is None:
        return [current.saved_state]
    draft = current.edit_session.draft
    minutes, seconds = divmod(round(draft.seconds + unwritten_s), 60)
    parts = [f"{minutes}:{seconds:02d}", f"{_format_count(draft.changed_voxels)} vox"]
    if current.is_edited and draft.saved_at is not None:
        parts.insert(0, SAVED)
    if draft.review.reading == SECOND:
        parts.insert(0, "2nd")  # first: the end is cut off in a narrow dock
    return parts


def _describe_saving(current: OpenCase | None) -> str:
    """Say when the last stroke was saved; empty if there is none."""
    saved_at = None if current is None or current.edit_session is None else current.edit_session.draft.saved_at
    return "" if saved_at is None else f"Last stroke saved {_format_elapsed(time.time() - saved_at)}"


def _format_count(number: int) -> str:
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def _format_elapsed(seconds: float) -> str:
    if seconds < 1.5:
        return "now"
    return f"{seconds:.0f} s ago" if seconds < 90 else f"{seconds / 60:.0f} min ago"


REVIEW_REGION_TOOLTIP = (
    "If you reviewed only a part of the image, mark it (C). Pixels outside are not used for training or evaluation.\n"
    "Their labels stay as they are."
)
NO_CASE_TOOLTIP = "Open a case first; then you can mark the part that you reviewed"


class ReviewRegionButton(QToolButton):
    """Button that shows the review region of the open case; its menu changes the region."""

    def __init__(self, review_region: ReviewRegionController, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._review_region = review_region
        self.setObjectName("medseg-plain")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Mark a rectangle as reviewed (C)", lambda: review_region.start_drawing(RECTANGLE_TOOL))
        menu.addAction("Mark a polygon as reviewed", lambda: review_region.start_drawing(POLYGON_TOOL))
        self._volume_actions = [
            menu.addAction("Add the slice in view", review_region.add_shown_plane),
            menu.addAction("Add the slices that I changed", review_region.add_edited_planes),
        ]
        menu.addSeparator()
        self._whole = menu.addAction("The whole image was reviewed", review_region.mark_whole_image)
        self.setMenu(menu)
        review_region.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Update the text and the menu."""
        self.setText(f"reviewed: {self._review_region.summary} ▾")
        for action in self._volume_actions:
            action.setVisible(self._review_region.is_volume)
        self._whole.setEnabled(not self._review_region.is_whole_image)
        theme.set_enabled(self, self._review_region.can_draw, REVIEW_REGION_TOOLTIP, NO_CASE_TOOLTIP)
