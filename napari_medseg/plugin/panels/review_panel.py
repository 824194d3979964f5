"""The review section: what was done on this case, and the decision on it."""

import time

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_medseg.plugin.controllers.case_controller import Desk
from napari_medseg.plugin.controllers.idle_timer import Activity
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.controllers.review_region import POLYGON, RECTANGLE, ReviewedArea
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import Section
from napari_medseg.plugin.widgets.notifications import told

TICK_MS = 1000
WRITE_SECONDS_EVERY = 5
STATUS_TOOLTIP = "When the draft was written, minutes at work, voxels that differ from what the model predicted"


class ReviewPanel(Section):
    """Say what was looked at; accept, reject, reset, export.

    Notes
    -----
    `asked_to_export` is emitted by its button.
    """

    asked_to_export = Signal()

    def __init__(self, desk: Desk, activity: Activity, area: ReviewedArea, parent: QWidget | None = None) -> None:
        super().__init__("Review", parent)
        self._desk = desk
        self._activity = activity
        self._area = area
        self._unwritten_s = 0.0
        self._accept = theme.button("Accept && next", "", main=True)
        self._reject = theme.button("Reject", "")
        self._reset = theme.button("Reset to prediction", "")
        self._export = theme.button("Export…", "Write accepted labels with geometry, provenance and measurements")
        self.add_row(AreaButton(area), QWidget(), stretch=1)
        self.add_row(self._accept, self._reject)
        self.add_row(self._reset, self._export)
        self._accept.clicked.connect(self.accept)
        self._reject.clicked.connect(self.reject)
        self._reset.clicked.connect(self._desk.reset)
        self._export.clicked.connect(self.asked_to_export)
        desk.opened.connect(self._on_opened)
        desk.labels_changed.connect(self.refresh)
        desk.state_changed.connect(self.refresh)
        area.changed.connect(self.refresh)
        self._tick = QTimer(self)
        self._tick.timeout.connect(self._on_tick)
        self._tick.start(TICK_MS)
        self.refresh()

    def refresh(self) -> None:
        """Show what can be done, and what was."""
        current = self._desk.current
        why_not = _why_not(current, self._desk.busy)
        again = "Accepted already; change a label, or what was reviewed, to accept it anew" * (_is_settled(current))
        theme.enable(
            self._accept,
            not (why_not or again),
            f"Make these labels a correction, open the next case (A); reviewed: {self._area.text}",
            why_not or again,
        )
        theme.enable(self._reject, not why_not, "Of no use: close this case without a correction (R)", why_not)
        changed = current is not None and current.edited
        nothing = why_not or ("" if changed else "Nothing was changed: these are the labels of the model")
        theme.enable(self._reset, not nothing, "Bring the labels of the model back; Ctrl+Z undoes it", nothing)
        self.set_status(_done_so_far(current), STATUS_TOOLTIP)

    def accept(self) -> None:
        """Accept, if that can be done now."""
        if self._accept.isEnabled():
            self._write_seconds()
            self._desk.accept()

    def reject(self) -> None:
        """Reject, if that can be done now."""
        if self._reject.isEnabled():
            self._write_seconds()
            self._desk.reject()

    def set_exportable(self, n_accepted: int) -> None:
        """Tell how many accepted cases there are to export."""
        tooltip = (
            f"Write the labels of {n_accepted} accepted case{'s' * (n_accepted != 1)} with geometry and provenance"
        )
        theme.enable(self._export, n_accepted > 0, tooltip, "Accept a case first; accepted labels are exported")

    def _on_opened(self) -> None:
        self._unwritten_s = 0.0
        self._activity.worked_s()
        self.refresh()

    def _on_tick(self) -> None:
        current = self._desk.current
        worked_s = self._activity.worked_s()
        if current is None or current.work is None:
            return
        self._unwritten_s += worked_s
        with told():
            current.work.recorder.catch_up_if_refreshed()
            if self._unwritten_s >= WRITE_SECONDS_EVERY:
                self._write_seconds()
        self.set_status(_done_so_far(current, self._unwritten_s), STATUS_TOOLTIP)

    def _write_seconds(self) -> None:
        current = self._desk.current
        if current is not None and current.work is not None and self._unwritten_s > 0:
            current.work.draft.add_seconds(self._unwritten_s)
            self._unwritten_s = 0.0


def _why_not(current: OpenCase | None, busy: bool) -> str:
    if current is None:
        return "Open a case first: drop an image"
    if busy:
        return "The labels are being written"
    if current.work is None and current.decided in ("accepted", "rejected"):
        return f"This case is {current.decided}; choose a label to change it once more"
    return "" if current.labels_layer is not None else "There are no labels yet: predict, or choose a label and paint"


def _is_settled(current: OpenCase | None) -> bool:
    if current is None or current.work is None:
        return False
    return current.decided == "accepted" and not current.edited and not current.work.draft.area_changed


def _done_so_far(current: OpenCase | None, unwritten_s: float = 0.0) -> str:
    if current is None:
        return "waits for a case"
    if current.work is None:
        return current.decided
    draft = current.work.draft
    minutes, seconds = divmod(round(draft.seconds + unwritten_s), 60)
    parts = [f"{minutes}:{seconds:02d} min", f"{_compact(draft.changed_voxels)} vox"]
    if current.edited and draft.saved_at is not None:
        parts.insert(0, f"saved {_ago(time.time() - draft.saved_at)}")
    return " · ".join(parts)


def _compact(number: int) -> str:
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def _ago(seconds: float) -> str:
    if seconds < 1.5:
        return "now"
    return f"{seconds:.0f} s ago" if seconds < 90 else f"{seconds / 60:.0f} min ago"


TOOLTIP = (
    "Looked at a part of the image only? Mark it (C): what lies outside is in no lesson and in no comparison.\n"
    "Its labels stay as they are."
)
NO_CASE = "Open a case first; then a part of it can be marked as the one that was reviewed"


class AreaButton(QToolButton):
    """Names the reviewed part of the open case; its menu marks another one."""

    def __init__(self, area: ReviewedArea, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._area = area
        self.setObjectName("medseg-plain")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Mark a rectangle as reviewed (C)", lambda: area.draw(RECTANGLE))
        menu.addAction("Mark a polygon as reviewed", lambda: area.draw(POLYGON))
        self._of_volumes = [
            menu.addAction("Add the slice in view", area.add_plane_shown),
            menu.addAction("Add the slices that I changed", area.add_edited_planes),
        ]
        menu.addSeparator()
        self._whole = menu.addAction("The whole image was reviewed", area.take_whole)
        self.setMenu(menu)
        area.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Say what counts now, and offer what can be done with it."""
        self.setText(f"reviewed: {self._area.text} ▾")
        for action in self._of_volumes:
            action.setVisible(self._area.in_volume)
        self._whole.setEnabled(not self._area.is_everything)
        theme.enable(self, self._area.possible, TOOLTIP, NO_CASE)
