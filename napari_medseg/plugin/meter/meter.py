"""The meter of a dock: its button in the Review section, its page, and the work in threads behind it."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QRect, QSize, Qt
from qtpy.QtWidgets import QDockWidget, QFileDialog, QMainWindow, QMenu, QToolButton

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.readings.records import VersionAgreement
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.meter.page import MeterPage
from napari_medseg.plugin.meter.reader_differences import ReaderDifferences
from napari_medseg.plugin.meter.readers_form import make_readers_form
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem, show_result
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.cases import get_case_row
from napari_medseg.workflow.meter.figures import (
    MeterFigures,
    MeterRecords,
    compute_figures,
    measure_missing,
    read_meter,
    store_measured,
)
from napari_medseg.workflow.meter.saturation import compare_versions, list_to_compare, store_version_agreement
from napari_medseg.workflow.meter.table import write_meter_csv
from napari_medseg.workflow.preferences import Preferences
from napari_medseg.workflow.second_reader.current_reader import clean_name
from napari_medseg.workflow.second_reader.hidden import describe_left_out
from napari_medseg.workflow.second_reader.readings import ReadTwice, use_reading
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

SIZE_PX = (930, 580)


class Meter(QObject):
    """Opens the page of the meter, keeps it current, and changes who reads.

    Parameters
    ----------
    viewer, workspace, case_controller, worklist
        The window, the project, the controller of the open case, and the list, whose task is shown.
    """

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, worklist: Worklist
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._worklist = worklist
        self._worker: Worker | None = None
        self._comparison: Worker | None = None
        self._is_stale = False
        self.page: MeterPage | None = None
        self._dock: QDockWidget | None = None
        self.differences = ReaderDifferences(viewer, workspace, case_controller, worklist)
        self.button = self._make_button()
        case_controller.decided.connect(self.refresh)
        worklist.task_changed.connect(self.refresh)

    def open(self) -> None:
        """Show the page in a dock of its own, which floats at first, with the figures of the task of the list."""
        if self._dock is None:
            self.page = MeterPage(self._viewer.theme)
            self.page.csv_requested.connect(self._on_csv)
            self.page.compare_requested.connect(self._on_compare)
            self.page.differences_requested.connect(self._on_differences)
            self.page.use_requested.connect(self._on_use)
            self.page.set_theme(self._viewer.theme)
            window = self.button.window()
            self._dock = QDockWidget("MedSeg meter", window)
            self._dock.setObjectName("MedSeg meter")
            self._dock.setWidget(self.page)
            if isinstance(window, QMainWindow):
                window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self._dock)
            self._dock.setFloating(True)
            corner = window.mapToGlobal(window.rect().topLeft())
            self._dock.setGeometry(QRect(corner, QSize(*SIZE_PX)))  # beside the dock, on a small screen, too
            self._dock.visibilityChanged.connect(lambda _shown: self.refresh())
        self._dock.show()
        self._dock.raise_()
        self.refresh()

    def refresh(self) -> None:
        """Read the figures again if the page is shown; what is not measured yet is measured in a thread."""
        if self.page is None or not self.page.isVisible():
            return
        self._is_stale = self._worker is not None
        if self._is_stale:
            return
        with show_errors():
            self._start(read_meter(self._workspace, self._worklist.task.name))

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        if self.page is not None:
            self.page.set_theme(theme_name)

    def ask_name(self, prompt: InlinePrompt) -> None:
        """Ask who corrects, once: if second readings are made in this project and no name was given."""
        reader = self._workspace.reader
        if self._workspace.second_readings.are_made and not reader.is_named:
            text = f"Second readings are made here. Who corrects now? (your account: {reader.name})"
            prompt.ask_lasting(text, [("Give a name…", self.show_readers_form), ("Later", lambda: None)])

    def change_reader(self, name: str) -> None:
        """Say who works from now on: the open case is closed, and the list shows what that person may see.

        Raises
        ------
        MedSegError
            If the name is none, or while labels are being saved: they are of the person before.
        """
        reader, saver = self._workspace.reader, self._case_controller.saver
        if saver.is_running and clean_name(name) != reader.name:
            raise MedSegError(f"{saver.busy_reason}, as those of {reader.name}. Change the person in a moment.")
        before = reader.name, reader.label
        reader.set_name(name)
        if (reader.name, reader.label) != before:
            self._show_for_reader()

    def follow_preferences(self, preferences: Preferences) -> None:
        """Use the name that was typed in the form of preferences; an empty one changes nothing."""
        if preferences.reader:
            self.change_reader(preferences.reader)

    def close_down(self) -> None:
        """Stop all work and remove the page."""
        self.differences.close()
        for worker in (self._worker, self._comparison):
            if worker is not None:
                worker.stop()
        self._worker = self._comparison = None
        dock, self._dock, self.page = self._dock, None, None
        if dock is not None and isalive(dock):  # else Qt deleted it with the window
            dock.hide()
            dock.deleteLater()

    def show_readers_form(self) -> None:
        """Ask who corrects now, and for the share of cases that a second person reads."""
        reader, readings = self._workspace.reader, self._workspace.second_readings
        shown = reader.name

        def save(name: str, share: float) -> None:
            if clean_name(name) != shown or not reader.is_named:  # else an old form would switch the person back
                self.change_reader(name)
            readings.set_share(share)
            self._worklist.reload_cases()

        form = make_readers_form(save, shown, reader.list_names(), readings.share)
        FormDialog("Readers", "Save", form, self.button).show()  # in the dock, whose style the main button takes

    def _show_for_reader(self) -> None:
        self._case_controller.leaving.emit()  # the last stroke and the time at work go into the draft
        self._case_controller.close_case()
        self._worklist.reload_cases()
        self.refresh()
        show_notice(f"{self._workspace.reader.name} corrects now. The list shows what this person has to read.")

    def _make_button(self) -> QToolButton:
        button = theme.make_tool_button("Meter ▾", "Time and edits of each version, second reader", "medseg-plain")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addAction("Show the meter: time, edits, forecast, readers", self.open)
        menu.addSeparator()
        self._readers_action = menu.addAction("Readers…", self.show_readers_form)
        self._second_action = menu.addAction("A second person reads this case", self._on_second)
        self._second_action.setCheckable(True)
        menu.aboutToShow.connect(self._fill_menu)
        button.setMenu(menu)
        return button

    def _fill_menu(self) -> None:
        with show_errors():
            current, readings = self._case_controller.current, self._workspace.second_readings
            share = f", second reader {100 * readings.share:.0f} %" if readings.share else ""
            name = theme.escape_mnemonic(self._workspace.reader.name)
            self._readers_action.setText(f"Readers… ({name} corrects now{share})")
            is_blind = current is not None and get_case_row(self._workspace, current.case).reading > 1
            self._second_action.setEnabled(current is not None and not is_blind)
            self._second_action.setChecked(current is not None and readings.is_selected(current.case))

    def _on_second(self) -> None:
        if (current := self._case_controller.current) is not None:
            with show_errors():
                chosen = self._second_action.isChecked()
                self._workspace.second_readings.choose(current.case, chosen)
                if chosen and not self._workspace.reader.is_named:
                    self.show_readers_form()

    def _start(self, records: MeterRecords) -> None:
        worker = self._worker = Worker(_measure_and_compute(records), self)
        worker.yielded.connect(lambda item: self._on_item(worker, item))
        worker.failed.connect(show_problem)
        worker.ended.connect(lambda: self._on_ended(worker, records.is_measured))
        worker.start()

    def _on_item(self, worker: Worker, item: Any) -> None:  # noqa: ANN401 -- a figure or a result to store
        if worker is not self._worker or self.page is None:
            return
        if isinstance(item, MeterFigures):
            self.page.show_figures(item)
        else:
            with show_errors():
                store_measured(self._workspace, item)

    def _on_ended(self, worker: Worker, was_measured: bool) -> None:
        if worker is self._worker:
            self._worker = None
            if self._is_stale or not was_measured:
                self._show_again(was_measured)

    def _show_again(self, was_measured: bool) -> None:
        """Compute the figures again after a measurement, or after a change meanwhile; do not measure twice."""
        if self.page is None or not self.page.isVisible():
            return
        self._is_stale = False
        with show_errors():
            records = read_meter(self._workspace, self._worklist.task.name)
            if was_measured:
                self._start(records)
            else:  # what could not be measured is not tried again before the page is opened again
                self.page.show_figures(compute_figures(records))

    def _on_csv(self) -> None:
        start = str(self._workspace.project.folder / "exports" / "meter.csv")
        path, _ = QFileDialog.getSaveFileName(self.page, "Export the meter", start, "Table (*.csv)")
        if path:
            with show_errors():
                records = read_meter(self._workspace, self._worklist.task.name)
                write_meter_csv(Path(path), records.shown_rows)
                text = f"The meter was written to {path}. {describe_left_out(len(records.unread))}"
                show_result(text.strip(), topic="meter as a table")

    def _on_compare(self) -> None:
        if self._comparison is not None:
            self._comparison.stop()
            return
        with show_errors():
            records = read_meter(self._workspace, self._worklist.task.name)
            if records.pair is None or self.page is None:
                return
            to_do = list_to_compare(self._workspace, records.pair, records.waiting)
            if not to_do:
                show_notice("All undecided cases that are compared at most have been compared already.")
                return
            worker = self._comparison = Worker(compare_versions(self._workspace, records.pair, to_do), self)
            worker.yielded.connect(lambda one: self._on_compared(worker, one, len(to_do)))
            worker.failed.connect(self._on_comparison_failed)
            worker.ended.connect(lambda: self._on_comparison_ended(worker))
            self._n_compared = 0
            self.page.compare_button.setText(f"Stop (0 of {len(to_do)})")
            worker.start()

    def _on_compared(self, worker: Worker, agreement: VersionAgreement, n_all: int) -> None:
        if worker is self._comparison and self.page is not None:
            with show_errors():
                store_version_agreement(self._workspace, agreement)
                self._n_compared += 1
                self.page.compare_button.setText(f"Stop ({self._n_compared} of {n_all})")

    def _on_comparison_failed(self, error: MedSegError) -> None:
        if isinstance(error, PredictionCancelled):
            show_notice("The comparison of the versions was stopped by another prediction. Press the button to go on.")
        else:
            show_problem(error)

    def _on_comparison_ended(self, worker: Worker) -> None:
        if worker is self._comparison and self.page is not None:
            self._comparison = None
            self.page.compare_button.setText("Compare versions")
            self.refresh()

    def _on_differences(self, read: ReadTwice) -> None:
        with show_errors():
            self.differences.show(read)

    def _on_use(self, read: ReadTwice, reading: int) -> None:
        with show_errors():
            use_reading(self._workspace, read.case, reading)
            self._worklist.reload_cases()
            self.refresh()


def _measure_and_compute(records: MeterRecords) -> Generator[Any]:
    yield from measure_missing(records)
    yield compute_figures(records)
