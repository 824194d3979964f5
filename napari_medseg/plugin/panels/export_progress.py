"""The running export of accepted cases: it works in a thread, and its row has a button that cancels it."""

import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_medseg.core.dicom_sharing.pseudonyms import Pseudonyms
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.records import Case, Correction
from napari_medseg.plugin.forms.export_form import ExportChoice
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import (
    settle_messages,
    show_errors,
    show_notice,
    show_problem,
    show_result,
)
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.output import export
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.output.image_names import make_namer
from napari_medseg.workflow.output.notes import list_rejected_cases, read_notes_to_export
from napari_medseg.workflow.output.staged_files import ExportCancelled
from napari_medseg.workflow.output.stored_items import StoredItems
from napari_medseg.workflow.second_reader.hidden import describe_left_out, leave_out_unread
from napari_medseg.workflow.sharing.share_dicom import share_cases
from napari_medseg.workflow.sharing.uid_map import keep_pseudonyms, make_pseudonyms
from napari_medseg.workflow.sharing.written_cases import WrittenCases
from napari_medseg.workflow.workspace import Workspace

CLOSING_S = 0.5
TOPIC = "export"


class ExportProgress(QWidget):
    """Writes the accepted cases of a task to a folder, one export at a time; hidden while none runs."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worker: Worker | None = None
        self._keep_names: Callable[[], None] | None = None
        self._cancelled = threading.Event()
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self.cancel_button = theme.make_button(
            "Cancel", "Stop this export: cases that are complete stay, the one that is being written is dropped"
        )
        self.cancel_button.clicked.connect(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(make_row(self._bar, self.cancel_button))
        self.hide()

    def ask_and_write(self, prompt: InlinePrompt, task: str, choice: ExportChoice, chosen: Sequence[Case] = ()) -> None:
        """As `write`; where files name the patient, a person is asked first, and may share without names instead."""
        if choice.layout:
            self.write_data_set(task, choice, chosen)
            return
        if not find_label_format(choice.suffix).names_patient:
            self.write(task, choice, chosen)
            return
        prompt.ask(
            "These files will hold the name and ID of the patient, so that a PACS places them on their series.",
            [
                ("Write them", lambda: self.write(task, choice, chosen)),
                ("Images and labels without names", lambda: self.share(task, choice, chosen)),
                ("Cancel", lambda: None),
            ],
        )

    def write(self, task: str, choice: ExportChoice, chosen: Sequence[Case] = ()) -> None:
        """Start the export of the accepted cases, or of some of them; a notification shows the result or the error."""
        with show_errors():
            accepted = self._begin(task, chosen)
            notes = read_notes_to_export(self._workspace, task, with_texts=choice.with_notes)
            write = partial(
                export.export_corrections,
                folder=choice.folder,
                suffix=choice.suffix,
                with_images=choice.with_images,
                namer=make_namer(choice.names, self._workspace.registry.user_dir),
                straighten=choice.straighten,
                is_cancelled=self._cancelled.is_set,
            )
            read = partial(export.read_export_items, self._workspace, accepted, self._cancelled.is_set, notes)
            self._start(
                _write_items(read, write, partial(list_rejected_cases, choice.folder, notes)),
                choice.folder,
                len(accepted),
            )

    def write_data_set(self, task: str, choice: ExportChoice, chosen: Sequence[Case] = ()) -> None:
        """Start to write the accepted cases, or some of them, as a data set; as `write`."""
        with show_errors():
            accepted = self._begin(task, chosen)
            write = partial(
                write_data_set,
                accepted,
                partial(export.read_export_item, self._workspace),
                self._workspace.project.folder,
                choice.folder,
                choice.layout,
                is_cancelled=self._cancelled.is_set,
            )
            self._start(_write_cases(write), choice.folder, len(accepted))

    def share(self, task: str, choice: ExportChoice, chosen: Sequence[Case] = ()) -> None:
        """Start to write DICOM images and labels of accepted cases without identity; as `write`."""
        with show_errors():
            accepted = self._begin(task, chosen)
            pseudonyms = make_pseudonyms(self._workspace)
            read = partial(export.read_export_items, self._workspace, accepted, self._cancelled.is_set)
            is_cancelled, labels_as = self._cancelled.is_set, find_label_format(choice.suffix).name
            share = partial(_share, read, choice.folder, pseudonyms, is_cancelled, labels_as)
            self._start(_write_cases(share), choice.folder, len(accepted))
            self._keep_names = partial(keep_pseudonyms, self._workspace, pseudonyms)

    def _begin(self, task: str, chosen: Sequence[Case]) -> list[tuple[Case, Correction, str]]:
        """Return the accepted cases of a task, or some of them; refuse while an export runs.

        Cases that the person is to read blind are left out, with a notice.
        """
        if self._worker is not None:
            raise MedSegError("another export is still being written. Cancel it, or export again when it has ended.")
        self._cancelled = threading.Event()
        ids = {case.id for case in chosen}
        accepted, hidden = leave_out_unread(self._workspace, export.list_accepted_rows(self._workspace, task))
        if hidden:
            show_notice(describe_left_out(len(hidden)))
        return [row for row in accepted if not chosen or row[0].id in ids]

    def cancel(self) -> None:
        """Cancel the export. The window never waits for the file that is being written; the thread drops it."""
        self._cancelled.set()
        if isalive(self):  # else Qt deleted it with the window
            self.hide()

    def close_down(self) -> None:
        """Cancel the export and wait at most half a second for its thread; the project is closed next."""
        self.cancel()
        if self._worker is not None:
            self._worker.wait(CLOSING_S)
        self._keep_shared_names()

    def _start(self, work: Generator[list[Path]], folder: Path, n_cases: int) -> None:
        settle_messages(TOPIC)
        self._worker = Worker(work, self)
        self._worker.yielded.connect(partial(_show_written, folder))
        self._worker.failed.connect(_show_end)
        self._worker.ended.connect(self._on_ended)
        self._bar.setFormat(f"exporting {n_cases} case{'s' * (n_cases != 1)}")
        self.show()
        self._worker.start()

    def _on_ended(self) -> None:
        self._worker = None
        self._keep_shared_names()
        self.hide()

    def _keep_shared_names(self) -> None:
        """Keep once what shared files call patients and series, also if not all were written."""
        keep, self._keep_names = self._keep_names, None
        if keep is not None:
            with show_errors():
                keep()


def _show_written(folder: Path, files: Sequence[Path]) -> None:
    def open_folder() -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    show_result(f"Exported {len(files)} files to {folder}", [("Open folder", open_folder)], TOPIC)


def _show_end(error: MedSegError) -> None:
    show_notice(str(error)) if isinstance(error, ExportCancelled) else show_problem(error, TOPIC)


def _write_items(
    read: Callable[[], StoredItems],
    write: Callable[[Sequence[ExportItem]], list[Path]],
    list_rejected: Callable[[], None],
) -> Generator[list[Path]]:
    items = read()
    written = write(items)
    list_rejected()
    yield written
    if items.left_out:
        raise MedSegError(items.left_out_text)


def _share(
    read: Callable[[], Sequence[ExportItem]],
    folder: Path,
    pseudonyms: Pseudonyms,
    is_cancelled: Callable[[], bool],
    labels_as: str,
) -> WrittenCases:
    return share_cases(read(), folder, pseudonyms, is_cancelled, labels_as)


def _write_cases(write: Callable[[], WrittenCases]) -> Generator[list[Path]]:
    written = write()
    yield written.files
    if remarks := [*written.remarks, *written.refused]:
        raise MedSegError("\n".join(remarks))
