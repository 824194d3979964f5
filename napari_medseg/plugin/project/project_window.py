"""A window of its own for the open project: disk use, clearing of caches, and the report.

All of it works in a thread on files; the rows that it needs are read before, in the main thread.
"""

from collections.abc import Generator
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QFileDialog,
    QHeaderView,
    QLabel,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.notifications import show_problem, show_result
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel
from napari_medseg.workflow.report.write import ReportOptions, write_project_report
from napari_medseg.workflow.storage.disk_use import (
    Cleared,
    DiskUse,
    clear_files,
    describe_kinds,
    list_clearable_files,
    list_ended_runs,
    measure_disk_use,
)
from napari_medseg.workflow.storage.file_kinds import ProjectFile
from napari_medseg.workflow.storage.pack import Progress
from napari_medseg.workflow.workspace import Workspace

CLOSING_S = 0.5
WIDTH_PX, HEIGHT_PX = 420, 460


class ProjectWindow(QDialog):
    """Shows the disk use of the open project, clears caches, and writes the report.

    Parameters
    ----------
    workspace
        The open project; the window is closed with it, by `close_down`.
    parent
        Qt parent.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._folder = workspace.project.folder
        self._worker: Worker | None = None
        self._clearable: list[ProjectFile] = []
        self.setWindowTitle(f"Project {self._folder.name}")
        self.resize(WIDTH_PX, HEIGHT_PX)
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["what", "size", "files"])
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.total = QLabel("Counting files…")
        self.total.setWordWrap(True)
        self.clear_button = theme.make_button(
            "Clear caches", "Remove what can be made again. Images, labels, strokes, corrections and models always stay"
        )
        self.clear_button.clicked.connect(self.clear_caches)
        self.clear_button.setEnabled(False)
        self.names_box = QCheckBox("Show clear names")
        self.names_box.setToolTip("Names of patients, files and readers instead of numbers; the page says so")
        self.report_button = theme.make_button("Write report…", "One HTML page: work, models, scores, hold-out, data")
        self.report_button.clicked.connect(self.ask_for_report)
        self.bar = QProgressBar()
        self.bar.hide()
        self.said = WrappedLabel()
        self.said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.said.hide()
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, stretch=1)
        layout.addWidget(self.total)
        layout.addWidget(make_row(self.clear_button, QLabel(""), stretch=1))
        layout.addWidget(make_row(self.report_button, self.names_box, QLabel(""), stretch=2))
        layout.addWidget(self.bar)
        layout.addWidget(self.said)
        self.measure()

    def measure(self) -> None:
        """Count the files of the project in a thread."""
        ended = list_ended_runs(self._workspace.project)
        self._start(_measure(self._folder, ended))

    def clear_caches(self) -> None:
        """Clear what the window shows as clearable, as far as it still is, then count again."""
        self._start(_clear(self._folder, list_ended_runs(self._workspace.project)))

    def ask_for_report(self) -> None:
        """Ask for a folder and write the report there."""
        start = str(self._folder / "exports")
        if folder := QFileDialog.getExistingDirectory(self, "Folder of the report", start):
            self.write_report(Path(folder))

    def write_report(self, folder: Path) -> None:
        """Write the report in a thread, and open it in the browser."""
        options = ReportOptions(clear_names=self.names_box.isChecked())
        registry = ModelRegistry(self._workspace.registry.user_dir, self._workspace.registry.bundled_dir)
        self._start(_write(self._folder, registry, folder, options))

    def close_down(self) -> None:
        """Stop the work and close the window; the thread is waited for at most half a second."""
        if self._worker is not None:
            self._worker.stop()
            self._worker.wait(CLOSING_S)
        if isalive(self):  # else Qt deleted it with the window
            self.close()

    def _start(self, work: Generator[object, None, None]) -> None:
        if self._worker is not None:
            work.close()
            return
        self._set_busy(True)
        self._worker = Worker(work, self)
        self._worker.yielded.connect(self._on_step)
        self._worker.failed.connect(self._on_failed)
        self._worker.ended.connect(self._on_ended)
        self._worker.start()

    def _set_busy(self, busy: bool) -> None:
        if busy:
            self.said.hide()
        self.bar.setRange(0, 0)
        self.bar.setVisible(busy)
        self.report_button.setEnabled(not busy)
        self.clear_button.setEnabled(not busy and bool(self._clearable))

    def _on_step(self, step: object) -> None:
        match step:
            case Progress(done=done, total=total):
                self.bar.setRange(0, total)
                self.bar.setValue(done)
            case (DiskUse() as use, list() as clearable):
                self._show_use(use, clearable)
            case Cleared(text=text):
                self._say(text)
            case Path() as page:
                self._say(f"The report is in {page}")
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(page)))

    def _say(self, text: str) -> None:
        """Say how work ended: here, where the user looks, or in the dock if this window was closed meanwhile."""
        self.said.setText(text)
        self.said.show()
        if not self.isVisible():
            show_result(text)

    def _show_use(self, use: DiskUse, clearable: list[ProjectFile]) -> None:
        self._clearable = clearable
        rows = describe_kinds(use)
        self.table.setRowCount(len(rows))
        for place, (kind, n_bytes, n_files) in enumerate(rows):
            for column, text in enumerate((kind, format_bytes(n_bytes), f"{n_files:,}")):
                item = QTableWidgetItem(text)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(place, column, item)
        n_bytes = sum(file.n_bytes for file in clearable)
        self.total.setText(
            f"{format_bytes(use.total_bytes)} in all; {format_bytes(n_bytes)} can be cleared. "
            f"{format_bytes(use.free_bytes)} are free on this disk."
        )

    def _on_failed(self, error: MedSegError) -> None:
        if str(error):
            show_problem(error)

    def _on_ended(self) -> None:
        self._worker = None
        self._set_busy(False)


def _measure(folder: Path, ended_runs: frozenset[str]) -> Generator[object, None, None]:
    yield measure_disk_use(folder), list_clearable_files(folder, ended_runs)


def _clear(folder: Path, ended_runs: frozenset[str]) -> Generator[object, None, None]:
    yield clear_files(folder, list_clearable_files(folder, ended_runs))
    yield from _measure(folder, ended_runs)


def _write(folder: Path, registry: ModelRegistry, out: Path, options: ReportOptions) -> Generator[object, None, None]:
    yield (yield from write_project_report(folder, registry, out, options))
