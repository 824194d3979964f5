"""Export of the labels of a whole slide, with corrected fields, into a folder that a person chooses."""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.plugin.widgets.notifications import show_notice, show_result
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.second_reader.hidden import describe_left_out
from napari_medseg.workflow.whole_slide.export import SLIDE_FORMATS, export_slide
from napari_medseg.workflow.whole_slide.manifest import read_manifest
from napari_medseg.workflow.whole_slide.project_slides import (
    FieldRow,
    list_corrected_fields,
    read_corrected_fields,
    write_fields,
)
from napari_medseg.workflow.workspace import Workspace

FIELDS_FOLDER = "fields"
AskFolder = Callable[[QWidget, Path], Path | None]


def ask_folder(parent: QWidget, start: Path) -> Path | None:
    """Ask for a folder; `None` if the person chose none."""
    chosen = QFileDialog.getExistingDirectory(parent, "Folder for the labels of the slide", str(start))
    return Path(chosen) if chosen else None


class SlideExport(QObject):
    """Writes predictions of slides, one at a time.

    Parameters
    ----------
    workspace
        Its project has the corrected fields.
    parent
        A widget of the window.
    ask
        Asks for the folder.
    """

    def __init__(self, workspace: Workspace, parent: QWidget, ask: AskFolder = ask_folder) -> None:
        super().__init__(parent)
        self._workspace, self._parent, self.ask = workspace, parent, ask
        self._work = SingleWork(self)

    @property
    def is_running(self) -> bool:
        """Whether files are being written."""
        return self._work.is_running

    def ask_and_write(self, prediction: Path, slide: Path) -> None:
        """Ask for a folder, and write a prediction of a slide into it, in a thread."""
        if self.is_running:
            show_notice("The labels of a slide are being written.")
            return
        exports = self._workspace.project.folder / "exports"
        folder = self.ask(self._parent, exports if exports.is_dir() else self._workspace.project.folder)
        if folder is None:
            return
        rows, n_left_out = list_corrected_fields(self._workspace, slide, read_manifest(prediction).task)
        show_notice(f"Writing the labels of the slide … {describe_left_out(n_left_out)}".rstrip())
        work = _export(self._workspace, prediction, slide, rows, folder)
        self._work.run(work, self._on_written, lambda: None)

    def _on_written(self, result: tuple[Path, int, int]) -> None:
        folder, n_fields, n_files = result
        noun = "field" if n_fields == 1 else "fields"
        fields = f"; {n_fields} corrected {noun} in place of the prediction" if n_fields else ""
        show_result(f"{n_files} files of the slide were written to {folder}{fields}.")


def _export(
    workspace: Workspace, prediction: Path, slide: Path, rows: list[FieldRow], folder: Path
) -> Generator[tuple[Path, int, int]]:
    """Yield the folder, how many fields were corrected, and how many files were written."""
    with contextlib.closing(open_slide(slide)) as opened:
        fields = read_corrected_fields(workspace, opened, rows)
    written = export_slide(prediction, folder, list(SLIDE_FORMATS), fields)
    of_fields, left_out = write_fields(workspace, rows, folder / FIELDS_FOLDER)
    yield folder, len(fields), len(written) + len(of_fields)
    if left_out:
        raise MedSegError(left_out)
