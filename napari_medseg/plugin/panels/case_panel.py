"""The case section: case, task, model, engine state, and prediction."""

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QMenu, QProgressBar, QStackedWidget, QWidget
from superqt import QElidingLabel

from napari_medseg.core.formats import ReadProgress
from napari_medseg.core.grouping.keyed_groups import get_group_noun
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.records import UNLIKE, Case, Prediction
from napari_medseg.inference.events import PredictionProgress
from napari_medseg.plugin.case_table.list_panel import ListPanel
from napari_medseg.plugin.case_table.list_window import ListPlace
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.learning.learning_at_accept import explain_version, name_version
from napari_medseg.plugin.panels.model_card_view import ModelCardDialog
from napari_medseg.plugin.panels.task_selector import TaskSelector
from napari_medseg.plugin.remote.device_button import DeviceButton
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection, make_row
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.case_list.columns import explain_hold_out
from napari_medseg.workflow.remote.engine_choice import explain_no_engine
from napari_medseg.workflow.workspace import Workspace

INFO_TOOLTIP = "Model card: data, hold-out scores, parent, licence"
NO_MODEL_HINT = "No model yet: paint, accept, train below."
NO_MODEL_TOOLTIP = "This task has no live model: paint labels, accept a few cases, then train the first model below."
BLIND_TOOLTIP = "A second reading begins as the first one did: a newer model may have learnt from the first labels."
WARNINGS_TOOLTIP = "The labels may be wrong everywhere, also where the model is sure. Check the whole image."
USE_TOOLTIP = "The open image is a case of another task. Put it on this list, too; you can undo this (U)"
DROP_HINT = (
    "Drop CT slices, a series, X-rays, H&E or endoscopy images, or a folder, here or on the canvas, "
    "or try File > Open Sample > MedSeg."
)


class CasePanel(CollapsibleSection):
    """Shows and selects the case, task and model.

    Notes
    -----
    `predict_requested` is emitted by the button; the dock decides whether to ask first. `task_chosen` is emitted when
    another task was selected. `use_requested` carries the name of a task for which the open image shall be used,
    `hold_out_requested` the open case whose badge was clicked; `commands_requested` asks for the commands of the open
    case.
    """

    predict_requested = Signal()
    task_chosen = Signal()
    use_requested = Signal(str)
    commands_requested = Signal()
    hold_out_requested = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        case_controller: CaseController,
        predictions: PredictionQueue,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Case", parent)
        self._workspace = workspace
        self._worklist = worklist
        self._case_controller = case_controller
        self._predictions = predictions
        self._cards: list[ModelCard] = []
        self._make_case_rows()
        self._make_model_rows()
        self._make_predict_rows()
        self._connect()
        self.refresh_models()
        self.refresh()

    def refresh(self) -> None:
        """Update the list and the display of the open case."""
        current, case_list = self._case_controller.current, self._worklist.case_list
        row = None if current is None else case_list.get_row(current.case.id)
        if current is not None and row is not None:
            self._name.setText(current.case.name)
        else:
            empty = "reading ..." if self._case_controller.is_busy else "No case is open"
            self._name.setText(empty if current is None else f"{current.case.name} ({self._worklist.open_task.title})")
        self._name.setToolTip("" if current is None else _describe_case(current.case))
        self._show_warnings(None if row is None else row.prediction)
        self._held_out.setVisible(row is not None and row.case.held_out)
        self._held_out.setToolTip("" if row is None else explain_hold_out(get_group_noun(row.case.group)))
        progress, has_badge = case_list.counts.progress, not self._held_out.isHidden()
        self.set_status(progress.shortest_text if has_badge else progress.short_text, progress.text)
        self._use.setVisible(current is not None and current.case.task != self._worklist.task.name)
        self._use.setText(theme.escape_mnemonic(f"Use this image for {self._worklist.task.title}"))
        self._hint.setVisible(current is None and not case_list.n_cases)
        n_shown = len(case_list.shown_ids)
        several = n_shown > 1 or (n_shown == 1 and row is None)
        for way, (text, key) in ((self._previous, ("previous", "S")), (self._next, ("next", "D"))):
            theme.set_enabled(
                way, several, f"Open the {text} case of the list ({key})", "There is no other case in the list"
            )
        self.refresh_predict()

    def _show_warnings(self, prediction: Prediction | None) -> None:
        """Say that the image is unlike the training images, and what is suspicious about the prediction."""
        unlike, remark = (False, "") if prediction is None else (prediction.is_unlike, prediction.remark)
        lines = [f"! {text}" for text in (UNLIKE * bool(unlike), remark) if text]
        self._warnings.setText("\n".join(lines))
        self._warnings.setToolTip(WARNINGS_TOOLTIP if lines else "")
        self._warnings.setVisible(bool(lines))

    def close_down(self) -> None:
        """Stop what works in the background."""
        self.list_panel.close_down()
        self.list_place.close_down()

    def set_predicts_automatically(self, predicts: bool) -> None:
        """Choose whether cases are predicted automatically."""
        self._auto.setChecked(predicts)

    def refresh_models(self) -> None:
        """List the versions for the task and mark the live one."""
        with show_errors():
            self._cards = self._workspace.registry.list_versions(self._worklist.task.name)
            live = self._workspace.registry.get_live_id(self._worklist.task.name)
            self._model.blockSignals(True)
            self._model.clear()
            if not live:
                self._model.addItem("none is live: choose one" if self._cards else "no model yet", "")
                self._model.setItemData(0, NO_MODEL_TOOLTIP, Qt.ItemDataRole.ToolTipRole)
            for card in self._cards:
                self._model.addItem(name_version(self._workspace, card, live), card.id)
                tip = explain_version(self._workspace, card)
                self._model.setItemData(self._model.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
            self._model.setCurrentIndex(max(0, self._model.findData(self._worklist.chosen_model)))
            self._model.blockSignals(False)
            self._refresh_model_tooltip()

    def show_card(self) -> None:
        """Open the card of the selected version in a separate window."""
        if (card := self._get_chosen_card()) is not None:
            with show_errors():
                ModelCardDialog(card, self._workspace.registry.get_folder(card.id), self.window()).show()

    def _make_case_rows(self) -> None:
        self._name = QElidingLabel("No case is open")
        self._name.setElideMode(Qt.TextElideMode.ElideMiddle)  # patient and case, at both ends, tell which one it is
        self._name.setObjectName("medseg-title")
        self._previous = theme.make_tool_button("‹", "")
        self._next = theme.make_tool_button("›", "")
        self._open = theme.make_tool_button("Open ▾", "Open files or a folder: DICOM, NIfTI, TIFF, PNG, JPEG")
        self._open.setPopupMode(self._open.ToolButtonPopupMode.InstantPopup)
        self._open.setMenu(menu := QMenu(self._open))
        menu.addAction("Files…", self._on_open_files)
        menu.addAction("Folder…", self._on_open_folder)
        self._unfold = theme.make_tool_button("list", "Show or hide the list of cases")
        self._unfold.setCheckable(True)
        self._held_out = theme.make_tool_button("held out", "", "medseg-badge")
        self.list_panel = ListPanel(self._workspace, self._worklist, self._case_controller)
        self.list_place = ListPlace(self._workspace, self.list_panel, self._unfold)
        self._hint = QLabel(DROP_HINT)
        self._hint.setWordWrap(True)
        self._hint.setObjectName("medseg-muted")
        self.add_to_header(self._held_out)  # beside the name, it would leave no room for the name
        self.add_row(self._name, self._previous, self._next, self._unfold, self._open)
        self.add(self._hint)
        self.add(self.list_place)

    def _make_model_rows(self) -> None:
        self.task_selector = TaskSelector(self._workspace, self._worklist)
        self._model = theme.CompactComboBox()
        self._info = theme.make_tool_button("i", INFO_TOOLTIP)
        self._engine = DeviceButton(self._workspace)
        self.add_row(QLabel("Task"), self.task_selector, self._engine, stretch=1)
        self._use = theme.make_button("", USE_TOOLTIP)
        self.add(self._use)
        self.add_row(QLabel("Model"), self._model, self._info, stretch=1)
        self._no_model = QLabel(NO_MODEL_HINT)
        self._no_model.setWordWrap(True)
        self._no_model.setToolTip(NO_MODEL_TOOLTIP)
        self._no_model.setObjectName("medseg-muted")
        self.add(self._no_model)

    def _make_predict_rows(self) -> None:
        self._predict = theme.make_button("Predict", "", main=True)
        self._auto = QCheckBox("predict what I drop")
        self._auto.setChecked(self._worklist.predicts_automatically)
        self._auto.setToolTip("Predict new images automatically, and predict the next case while you correct this one")
        self._auto.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._progress = QProgressBar()
        self._cancel = theme.make_button("Cancel", "Stop reading, or this prediction; its partial result is discarded")
        self._pages = QStackedWidget()
        self._pages.addWidget(make_row(self._predict, self._auto))
        self._pages.addWidget(make_row(self._progress, self._cancel))
        self._pages.setFixedHeight(theme.BUTTON_HEIGHT_PX + 2)
        self.add(self._pages)
        self._warnings = QLabel()
        self._warnings.setWordWrap(True)
        self._warnings.setObjectName("medseg-warning")
        self._warnings.hide()
        self.add(self._warnings)

    def _connect(self) -> None:
        self._previous.clicked.connect(lambda: self._worklist.step(-1))
        self._next.clicked.connect(lambda: self._worklist.step(+1))
        self._held_out.clicked.connect(self._on_held_out)
        self.list_panel.chosen.connect(self._worklist.open)
        self._use.clicked.connect(lambda: self.use_requested.emit(self._worklist.task.name))
        self.task_selector.commands_requested.connect(self.commands_requested)
        self.task_selector.chosen.connect(self._worklist.choose_task)
        self.task_selector.versions_changed.connect(self.refresh_models)
        self._model.activated.connect(self._on_model)
        self._info.clicked.connect(self.show_card)
        self._predict.clicked.connect(self.predict_requested)
        self._cancel.clicked.connect(self._on_cancel)
        self._auto.toggled.connect(self._worklist.set_predicts_automatically)
        self._worklist.changed.connect(self.refresh)
        self._worklist.task_changed.connect(self._on_task_changed)
        self._worklist.importer.progressed.connect(self._on_reading)
        self._worklist.importer.began.connect(self.refresh_predict)
        self._worklist.importer.finished.connect(self.refresh)
        self._worklist.importer.finished.connect(self.refresh_predict)
        self._predictions.changed.connect(self.refresh_predict)
        self._predictions.progressed.connect(self._on_progress)

    def refresh_predict(self, _event: object = None) -> None:
        """Show the progress of a prediction, and whether one can be started."""
        is_reading = self._worklist.importer.is_reading
        busy = self._predictions.has_urgent_request or is_reading
        if busy and self._pages.currentIndex() == 0:
            self._progress.setRange(0, 1)
            self._progress.setValue(0)
            self._progress.setFormat("reading" if is_reading else "waiting for the engine")
        self._pages.setCurrentIndex(int(busy))
        why_not = "Open an image first: drop a file, or select an image layer"
        if not self._worklist.open_case_model:
            no_engine = explain_no_engine(self._workspace.engine)
            why_not = BLIND_TOOLTIP if self._worklist.is_open_blind else no_engine or NO_MODEL_TOOLTIP
        self._no_model.setVisible(not self._worklist.chosen_model)
        theme.set_enabled(self._predict, self._worklist.can_predict, "Predict the labels of this case (G)", why_not)
        self._engine.refresh()

    def _on_progress(self, progress: PredictionProgress) -> None:
        self._progress.setRange(0, max(1, progress.total))
        self._progress.setValue(progress.done)
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        self._progress.setFormat(f"{progress.text}{left}")

    def _on_held_out(self) -> None:
        if (current := self._case_controller.current) is not None:
            self.hold_out_requested.emit(current.case)

    def _on_cancel(self) -> None:
        self._worklist.importer.cancel()
        self._predictions.cancel()

    def _on_reading(self, reading: ReadProgress) -> None:
        if self._case_controller.current is None or reading.total > 1:
            self.set_status(f"reading {reading.number} of {reading.total}", reading.name)

    def _on_task_changed(self) -> None:
        self.task_selector.show_current_task()
        self.refresh_models()
        self.task_chosen.emit()

    def _on_model(self, _index: int) -> None:
        self._worklist.model_override = self._model.currentData() or None
        self._refresh_model_tooltip()
        self.refresh_predict()

    def _on_open_files(self) -> None:
        self._worklist.importer.read([Path(file) for file in QFileDialog.getOpenFileNames(self, "Open images")[0]])

    def _on_open_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Open a folder of images"):
            self._worklist.importer.read([Path(folder)])

    def _get_chosen_card(self) -> ModelCard | None:
        return next((card for card in self._cards if card.id == self._model.currentData()), None)

    def _refresh_model_tooltip(self) -> None:
        card = self._get_chosen_card()
        self._model.setToolTip(NO_MODEL_TOOLTIP if card is None else explain_version(self._workspace, card))
        theme.set_enabled(self._info, card is not None, INFO_TOOLTIP, NO_MODEL_TOOLTIP)


def _describe_case(case: Case) -> str:
    return "\n".join(line for line in (case.name, case.file_name, *case.sources[:1]) if line)
