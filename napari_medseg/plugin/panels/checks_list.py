"""Findings to check before training, shown above the retrain button; a click opens the case."""

from collections.abc import Callable

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.data_checks import (
    CaseFinding,
    CorrectionToCheck,
    iter_findings,
    list_corrections_to_check,
    sort_blocking_first,
)
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.workspace import Workspace

ROW_HEIGHT_PX = 20
ROWS_SHOWN = 3


class FindingsList(QWidget):
    """The findings in the corrections of a task, computed in a thread; hidden if there are none.

    Notes
    -----
    `changed` is emitted when the findings changed; `chosen` carries the case of the clicked finding.
    """

    changed = Signal()
    chosen = Signal(object)

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._checked: tuple[CorrectionToCheck, ...] = ()
        self._worker: Worker | None = None
        self._found: list[CaseFinding] = []
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
        self._list.itemClicked.connect(lambda item: self._choose(self.rows[self._list.row(item)]))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._title)
        layout.addWidget(self._list)
        self.hide()

    @property
    def blocking_reason(self) -> str:
        """Why training on these corrections is blocked; empty if it is allowed."""
        return "; ".join(row.text for row in self.rows if row.finding.blocking)

    def set_display_allowed(self, allowed: bool) -> None:
        """Allow or forbid showing the list; it is shown only if it has rows."""
        self._display_allowed = allowed
        self.setVisible(bool(self.rows) and allowed)

    def check(self, task: str) -> None:
        """Check the corrections of a task, unless the same corrections were checked last."""
        pieces = list_corrections_to_check(self._workspace, task)
        if pieces == self._checked:
            return
        self.cancel_check()
        self._checked, self._found = pieces, []
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

    def _choose(self, row: CaseFinding) -> None:
        if row.case is not None:
            self.chosen.emit(row.case)

    def _on_ended(self, worker: Worker) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        self._show_findings(sort_blocking_first(self._found))
        if self._waiting is not None:
            then, self._waiting = self._waiting, None
            then()

    def _show_findings(self, rows: list[CaseFinding]) -> None:
        self.rows = rows
        self._list.clear()
        for row in rows:
            item = QListWidgetItem(row.text)
            item.setSizeHint(QSize(0, ROW_HEIGHT_PX))
            item.setToolTip(f"{row.text}\nClick to open the case" if row.case is not None else row.text)
            if row.finding.blocking:
                item.setForeground(QColor(theme.BAD))
            self._list.addItem(item)
        self._list.setFixedHeight(max(1, min(len(rows), ROWS_SHOWN)) * ROW_HEIGHT_PX + 2 * self._list.frameWidth())
        self._title.setText(f"Check before training: {len(rows)} finding{'s' * (len(rows) != 1)}")
        self.setVisible(bool(rows) and self._display_allowed)
        self.changed.emit()
