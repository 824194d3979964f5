"""The button "Export": labels of the whole slide, with corrected fields, into a folder."""

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QToolButton, QWidget

from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.plugin.widgets.notifications import show_notice, show_result
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.output.export import export_corrections, read_export_items
from napari_medseg.workflow.whole_slide.export import SLIDE_FORMATS, export_slide
from napari_medseg.workflow.whole_slide.manifest import read_manifest
from napari_medseg.workflow.whole_slide.project_slides import FieldRow, list_corrected_fields, read_corrected_fields
from napari_medseg.workflow.workspace import Workspace

TOOLTIP = (
    "Write the labels of the whole slide: GeoJSON for QuPath, OME-Zarr, the density map, and each corrected field as "
    "an image with its labels. Corrected fields win over the prediction."
)
FIELDS_FOLDER = "fields"


def ask_folder(parent: QWidget, start: Path) -> Path | None:
    """Ask for a folder; `None` if the person chose none."""
    chosen = QFileDialog.getExistingDirectory(parent, "Folder for the labels of the slide", str(start))
    return Path(chosen) if chosen else None


class SlideExport(QToolButton):
    """Writes the prediction that `set_source` named; hidden while there is none.

    Parameters
    ----------
    workspace
        Its project has the corrected fields.
    ask
        Asks for the folder.
    """

    def __init__(self, workspace: Workspace, ask: Callable[[QWidget, Path], Path | None] = ask_folder) -> None:
        super().__init__()
        self._workspace, self._ask = workspace, ask
        self._source: tuple[Path, Path] | None = None
        self._work = SingleWork(self)
        self._work.ended.connect(lambda: self.setEnabled(True))
        self.setObjectName("medseg-tool")
        self.setText("Export…")
        self.setToolTip(TOOLTIP)
        self.clicked.connect(self._on_clicked)
        self.hide()

    def set_source(self, prediction: Path | None, slide: Path | None) -> None:
        """Offer to write a prediction of a slide, or nothing."""
        self._source = None if prediction is None or slide is None else (prediction, slide)
        self.setVisible(self._source is not None)

    def _on_clicked(self) -> None:
        if self._source is None:
            return
        exports = self._workspace.project.folder / "exports"
        folder = self._ask(self, exports if exports.is_dir() else self._workspace.project.folder)
        if folder is None:
            return
        prediction, slide = self._source
        rows = list_corrected_fields(self._workspace, slide, read_manifest(prediction).task)
        self.setEnabled(False)
        show_notice("Writing the labels of the slide …")
        work = _export(self._workspace, prediction, slide, rows, folder)
        self._work.run(work, self._on_written, lambda: None)

    def _on_written(self, result: tuple[Path, int, int]) -> None:
        folder, n_fields, n_files = result
        fields = (
            f"; {n_fields} corrected field{'' if n_fields == 1 else 's'} in place of the prediction" if n_fields else ""
        )
        show_result(f"{n_files} files of the slide were written to {folder}{fields}.")


def _export(
    workspace: Workspace, prediction: Path, slide: Path, rows: list[FieldRow], folder: Path
) -> Generator[tuple[Path, int, int]]:
    """Yield the folder, how many fields were corrected, and how many files were written."""
    with contextlib.closing(open_slide(slide)) as opened:
        fields = read_corrected_fields(workspace, opened, rows)
    written = export_slide(prediction, folder, list(SLIDE_FORMATS), fields)
    if rows:
        items = read_export_items(workspace, [(case, correction, "") for _, case, correction in rows])
        written += export_corrections(items, folder / FIELDS_FOLDER, ".tif", with_images=True)
    yield folder, len(fields), len(written)
