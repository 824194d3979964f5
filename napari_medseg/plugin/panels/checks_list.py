"""Findings to check before training, shown above the retrain button; a click goes to the place."""

from collections.abc import Callable

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel
from napari_medseg.workflow.data_checks import (
    CheckedCorrections,
    CorrectionToCheck,
    iter_findings,
    list_corrections_to_check,
)
from napari_medseg.workflow.findings.case_finding import (
    CaseFinding,
    dismiss,
    hide_blind,
    read_dismissed,
    select_findings,
)
from napari_medseg.workflow.findings.fixes import make_fix
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.workspace import Workspace

ROW_HEIGHT_PX = 20
ROW_MARGIN_PX = 3
ROWS_SHOWN = 3


class FindingsList(QWidget):
    """The findings in the corrections of a task, computed in a thread; hidden if there are none.

    Notes
    -----
    `changed` is emitted when the findings changed. `place_chosen` carries the case and the place to look at, which may
    be `None`; each click on the same finding carries its next place. `fix_requested` carries a finding to mend.
    """

    changed = Signal()
    place_chosen = Signal(object, object)
    fix_requested = Signal(object)

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._checked: tuple[CorrectionToCheck, ...] = ()
        self._worker: Worker | None = None
        self._found: list[CaseFinding] = []
        self._task_name = ""
        self._waiting: Callable[[], None] | None = None
        self._display_allowed = True
        self.rows: list[CaseFinding] = []
        self._title = QLabel("")
        self._title.setObjectName("medseg-title")
        self._list = QListWidget()
        self._list.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setUniformItemSizes(True)
        self._blocking_colour = theme.get_state_colours("dark")["bad"]
        self._list.itemClicked.connect(lambda item: self._go_to_next_place(self._list.row(item)))
        self._list.currentRowChanged.connect(lambda row: self._show_buttons(row))
        self._whole_text = WrappedLabel()
        self._n_visits: dict[int, int] = {}
        self._go = theme.make_button("Go to", "")
        self._right = theme.make_button("It is right", "")
        self._fix = theme.make_button("Fix", "")
        self._go.clicked.connect(lambda: self._go_to_next_place(self._list.currentRow()))
        self._right.clicked.connect(lambda: self._dismiss(self._list.currentRow()))
        self._fix.clicked.connect(lambda: self.fix_requested.emit(self.rows[self._list.currentRow()]))
        self._buttons = make_row(self._go, self._right, self._fix)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._title)
        layout.addWidget(self._list)
        layout.addWidget(self._whole_text)
        layout.addWidget(self._buttons)
        self.hide()

    @property
    def blocking_reason(self) -> str:
        """Why training on these corrections is blocked; empty if it is allowed."""
        return "; ".join(row.text for row in self.rows if row.finding.blocking)

    @property
    def checked(self) -> CheckedCorrections | None:
        """The check that is shown; `None` while it is made."""
        return None if self._worker is not None else CheckedCorrections(self._checked, tuple(self._found))

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        self._blocking_colour = theme.get_state_colours(theme_name)["bad"]
        for number, row in enumerate(self.rows):
            if row.finding.blocking:
                self._list.item(number).setForeground(QColor(self._blocking_colour))

    def set_display_allowed(self, allowed: bool) -> None:
        """Allow or forbid showing the list; it is shown only if it has rows."""
        self._display_allowed = allowed
        self.setVisible(bool(self.rows) and allowed)

    def check(self, task: str) -> None:
        """Check the corrections of a task, unless the same corrections were checked last."""
        pieces = list_corrections_to_check(self._workspace, task)
        if pieces == self._checked:
            if self._worker is None and self._found:
                self._select()  # another person may work now
            return
        self.cancel_check()
        self._checked, self._found, self._task_name = pieces, [], task
        replayed = list_replayed_images(self._workspace, task)
        worker = Worker(iter_findings(self._workspace.project.folder, pieces, replayed), self)
        worker.yielded.connect(self._found.extend)
        worker.failed.connect(show_problem)
        worker.ended.connect(lambda: self._on_ended(worker))
        self._worker = worker.start()

    def call_when_checked(self, then: Callable[[], None]) -> None:
        """Call `then` when all corrections are checked: immediately or after the running check."""
        if self._worker is None:
            then()
        else:
            self._waiting = then

    def cancel_check(self) -> None:
        """Stop the check and drop the pending `call_when_checked` call."""
        self._waiting = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _go_to_next_place(self, row: int) -> None:
        """Go to the first place of a finding, at the next call to the next one, and so on."""
        spots = self.rows[row].spots if 0 <= row < len(self.rows) else ()
        visit = self._n_visits.get(row, 0)
        self._n_visits[row] = visit + bool(spots)
        self._show_buttons(row)
        if spots:
            self.place_chosen.emit(*spots[visit % len(spots)])

    def _dismiss(self, row: int) -> None:
        with show_errors():
            dismiss(self._workspace, self.rows[row])
            self._select()

    def _show_buttons(self, row: int) -> None:
        """Show what can be done about the chosen finding; each button's tooltip says why it is grey."""
        self._buttons.setVisible(0 <= row < len(self.rows))
        self._show_whole_text(self._list.item(row))
        if not 0 <= row < len(self.rows):
            return
        found, n_visits = self.rows[row], self._n_visits.get(row, 0)
        n_spots = len(found.spots)
        next_one = n_visits % n_spots + 1 if n_spots else 0
        self._go.setText(f"Go to {next_one} of {n_spots}" if n_spots > 1 else "Go to")
        theme.set_enabled(self._go, n_spots > 0, "Open the case at this place", "This is about all cases")
        tooltip = "Remember that these labels are right; this comes back only if they change"
        why_not = "This stops training, so it cannot be right" if found.finding.blocking else "This is about all cases"
        theme.set_enabled(self._right, found.can_dismiss, tooltip, why_not)
        fix = None if found.case is None else make_fix(found.finding, self._workspace.tasks.get_task(self._task_name))
        self._fix.setText("Fix" if fix is None else fix[0])
        tooltip = "Mend it in its case, which opens. It is one step of undo; accept the case to make it a correction"
        theme.set_enabled(self._fix, fix is not None, tooltip, "No tool can mend this: open the case and correct it")

    def _show_whole_text(self, item: QListWidgetItem | None) -> None:
        """Show the whole text of the chosen finding below the list, if its row is too narrow for it."""
        text = "" if item is None else item.text()
        is_cut = self._list.fontMetrics().horizontalAdvance(text) > self._list.viewport().width() - 2 * ROW_MARGIN_PX
        self._whole_text.setText(text)
        self._whole_text.setVisible(is_cut)

    def _on_ended(self, worker: Worker) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        self._select()
        if not self.rows:
            self.changed.emit()  # that the check has ended is news, too
        if self._waiting is not None:
            then, self._waiting = self._waiting, None
            then()

    def _select(self) -> None:
        """Show the findings that no one said to be right."""
        with show_errors():
            found = hide_blind(self._workspace, self._found)
            rows = select_findings(found, read_dismissed(self._workspace), len(self._checked))
            if rows != self.rows:  # `changed` lets the panel check again: without this, nothing to show would not end
                self._show_findings(rows)

    def _show_findings(self, rows: list[CaseFinding]) -> None:
        self.rows = rows
        self._n_visits.clear()
        self._list.clear()
        self._show_buttons(-1)
        for row in rows:
            name = "" if row.case is None else f" ({row.case.name})"
            item = QListWidgetItem(f"{row.finding.text}{name}")  # the reason first: the end of a long text is cut
            item.setSizeHint(QSize(0, ROW_HEIGHT_PX))
            item.setToolTip(
                f"{row.text}\nClick to go to the place; click again for the next one" * bool(row.spots) or row.text
            )
            if row.finding.blocking:
                item.setForeground(QColor(self._blocking_colour))
            self._list.addItem(item)
        self._list.setFixedHeight(max(1, min(len(rows), ROWS_SHOWN)) * ROW_HEIGHT_PX + 2 * self._list.frameWidth())
        self._title.setText(f"Check before training: {len(rows)} finding{'s' * (len(rows) != 1)}")
        self.setVisible(bool(rows) and self._display_allowed)
        self.changed.emit()
