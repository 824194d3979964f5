"""Export of accepted cases: which format, where to, and the work in a thread."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from napari_medseg.core.records import Case, Correction
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import export
from napari_medseg.workflow.export import ExportItem
from napari_medseg.workflow.workspace import Workspace

FORMATS = ((".nii.gz", "NIfTI"), (".tif", "TIFF"), (".png", "PNG (single slices)"))


class Exporter(QObject):
    """Ask for a format and a folder, then write the accepted cases of a task there."""

    def __init__(self, workspace: Workspace, parent: QWidget) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._window = parent
        self._worker: Worker | None = None
        self.with_images = False

    def show_format_menu(self, task: str) -> None:
        """Show the menu of formats at the pointer."""
        menu = QMenu(self._window)
        for suffix, name in FORMATS:
            menu.addAction(f"Labels as {name}…", partial(self._ask_folder, task, suffix))
        menu.addSeparator()
        beside = menu.addAction("Write the images beside them, too")
        beside.setCheckable(True)
        beside.setChecked(self.with_images)
        beside.toggled.connect(self._set_with_images)
        menu.popup(QCursor.pos())

    def write(self, task: str, suffix: str, folder: Path) -> None:
        """Write the accepted cases of a task to a folder, in a thread."""
        with show_errors():
            accepted = export.list_accepted_rows(self._workspace, task)
            write = partial(export.export_corrections, folder=folder, suffix=suffix, with_images=self.with_images)
            self._worker = Worker(_write_items(self._workspace, accepted, write), self)
            self._worker.yielded.connect(lambda files: show_info(f"Exported {len(files)} files to {folder}"))
            self._worker.failed.connect(show_problem)
            self._worker.start()

    def _ask_folder(self, task: str, suffix: str) -> None:
        start = str(self._workspace.project.folder / "exports")
        if folder := QFileDialog.getExistingDirectory(self._window, "Export accepted labels to", start):
            self.write(task, suffix, Path(folder))

    def _set_with_images(self, wanted: bool) -> None:
        self.with_images = wanted


def _write_items(
    workspace: Workspace,
    accepted: Sequence[tuple[Case, Correction, str]],
    write: Callable[[list[ExportItem]], list[Path]],
) -> Generator[list[Path]]:
    yield write(export.read_export_items(workspace, accepted))
