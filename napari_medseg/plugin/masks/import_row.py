"""The row of an import in a thread: its progress, *Stop*, and the review that is taken back if it ends too early."""

import queue
from typing import Any

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.masks.import_masks import ImportOutcome, ImportStart, withdraw_import
from napari_medseg.workflow.workspace import Workspace

CLOSE_S = 2.0
"""Of waiting for the case at work when the window closes."""


class ImportRow(QWidget):
    """A row with progress and a button that stops an import, hidden while there is none.

    Parameters
    ----------
    workspace
        The project.
    stop_tip
        What *Stop* does.
    """

    def __init__(self, workspace: Workspace, stop_tip: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worker: Worker | None = None
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._begun: ImportStart | None = None
        self._outcomes: list[ImportOutcome] = []
        self._bar = QProgressBar()
        self.stop_button = theme.make_button("Stop", stop_tip)
        self.stop_button.clicked.connect(self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(make_row(self._bar, self.stop_button))
        self.hide()

    def stop(self) -> None:
        """Stop after the case at work."""
        if self._worker is not None:
            self._worker.stop()
            self._replies.put(self._make_stop_reply())

    def close_down(self) -> None:
        """Stop, because the window closes: nothing arrives any more, and a case at work leaves no open review."""
        self.stop()
        worker, self._worker = self._worker, None
        if worker is not None and worker.wait(timeout_s=CLOSE_S):
            self._withdraw_unfinished()

    def _make_stop_reply(self) -> object:
        """Return what the thread gets in place of the reply that it waits for, when the import is stopped."""
        return None

    def _show_progress(self, n_items: int, text: str) -> None:
        self._bar.setRange(0, n_items)
        self._bar.setValue(0)
        self._bar.setFormat(f"{text}: %v of %m")
        self.show()

    def _withdraw_unfinished(self) -> None:
        """Remove the review of the last case if its labels were not written: the thread has closed its draft now."""
        begun, self._begun = self._begun, None
        if begun is not None:
            with show_errors():
                withdraw_import(self._workspace, begun)
