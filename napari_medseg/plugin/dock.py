"""The content of the dock for one open project: its sections, and the connections between them."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_medseg.core.decoded_size.limit import set_max_memory
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.case_table.case_commands import CaseCommands
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.added_labels import AddedLabels
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.group_editor import GroupEditor
from napari_medseg.plugin.controllers.hold_out_guide import HoldOutGuide
from napari_medseg.plugin.controllers.overlays import ComparisonOverlay, OverlayLayers, UncertaintyOverlay
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.review_region import ReviewRegionController
from napari_medseg.plugin.controllers.run_monitor import RunMonitor
from napari_medseg.plugin.controllers.task_assigner import TaskAssigner
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.correction.correction_tools import CorrectionTools
from napari_medseg.plugin.drafts.first_parts import FirstParts
from napari_medseg.plugin.drafts.kept_layer import KeptLayer
from napari_medseg.plugin.drafts.offer_to_continue import offer_to_continue
from napari_medseg.plugin.findings.finding_actions import FindingActions
from napari_medseg.plugin.forms.export_form import ExportChoice, make_export_form
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.new_task import show_new_task_form
from napari_medseg.plugin.forms.preferences_form import make_preferences_form
from napari_medseg.plugin.guidance.guidance import Guidance
from napari_medseg.plugin.keymap import N_LABEL_KEYS, KeyBinding, KeyHelpDialog, KeyMap, make_key_bindings
from napari_medseg.plugin.learning.learning_at_accept import LearningAtAccept
from napari_medseg.plugin.masks.dropped_masks import DroppedMasks
from napari_medseg.plugin.meter.meter import Meter
from napari_medseg.plugin.panels.case_panel import BLIND_TOOLTIP, NO_MODEL_TOOLTIP, CasePanel
from napari_medseg.plugin.panels.export_progress import ExportProgress
from napari_medseg.plugin.panels.labels_panel import LabelsPanel
from napari_medseg.plugin.panels.retrain_panel import RetrainPanel
from napari_medseg.plugin.panels.review_panel import ReviewPanel
from napari_medseg.plugin.reader_preference import prefer_our_reader
from napari_medseg.plugin.video.video_desk import VideoDesk
from napari_medseg.plugin.views.case_views import CaseViews
from napari_medseg.plugin.views.flat_view import FlatView
from napari_medseg.plugin.views.slide_or_video import SlideOrVideo
from napari_medseg.plugin.whole_slide.slides_in_window import make_slide_view
from napari_medseg.plugin.widgets.collapsible_section import make_vertical_scroll_area, stack_widgets
from napari_medseg.plugin.widgets.idle_timer import IdleTimer
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import settle_messages, show_errors, show_notice
from napari_medseg.workflow.preferences import SET_BY_THE_WINDOW, Preferences, read_preferences, write_preferences
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

SPACING_PX = 3


class Dock(QWidget):
    """Widget with all sections for one open project; `close_down` closes neither viewer nor workspace."""

    def __init__(self, viewer: "Viewer", workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self.case_controller = CaseController(viewer, workspace)
        self.review_region = ReviewRegionController(viewer, self.case_controller)
        self.prediction_queue = PredictionQueue(workspace)
        self.worklist = Worklist(viewer, workspace, self.case_controller, self.prediction_queue)
        self.run_monitor = RunMonitor(workspace)
        self.learning = LearningAtAccept(workspace, self.worklist, self.case_controller, self.prediction_queue)
        self.idle_timer = IdleTimer()
        self.views = CaseViews(viewer, workspace, self.case_controller)
        self._overlays = OverlayLayers(viewer, self.case_controller)
        self._uncertainty_overlay = UncertaintyOverlay(viewer, workspace, self.case_controller, self._overlays)
        self._comparison_overlay = ComparisonOverlay(viewer, workspace, self.case_controller, self._overlays)
        self._make_sections()
        self._connect()
        self._apply_preferences(read_preferences(workspace.registry))
        self._keys = KeyMap(viewer, make_key_bindings(self))
        self.setAcceptDrops(True)
        self._on_task_changed()
        workspace.engine.start()
        layers.remove(viewer, *layers.find_released_labels(viewer))
        self.worklist.importer.import_existing_layers()
        desk, prompt = self.case_controller, self.prompt
        self.worklist.reader.call_when_read(lambda: offer_to_continue(workspace, self.worklist, desk, prompt))
        self.retrain_panel.announce_waiting_runs()
        self.meter.ask_name(self.prompt)

    def close_down(self) -> None:
        """Save the draft, stop all work and disconnect; a training run continues.

        The open case comes first, and a step that fails, as one whose widget Qt has deleted, stops no other.
        """
        open_case = (self.guidance.close, self.correction.close, self.review_region.close, self.case_controller.close)
        windows = (self.views.close_down, self.masks.close_down, self.meter.close_down, self._overlays.clear)
        work = (self.run_monitor.close, self.retrain_panel.findings.cancel_check, self.exporter.close_down)
        cases = (self.case_commands.close, self.case_panel.close_down, self.prediction_queue.close, self.worklist.close)
        first = (self._keys.close, self._kept_layer.close, self.learning.close, self.flat_view.close)
        with ExitStack() as steps:
            for step in reversed(
                (self.slides.close_down, self.video.close_down, *first, *open_case, *windows, *work, *cases)
            ):
                steps.callback(step)

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        curve, row, table = self.retrain_panel.progress.curve, self.correction.row, self.case_panel.list_panel.model
        checks, compared = self.retrain_panel.findings, self.retrain_panel.decision.table
        for themed in (curve, row, table, checks, compared, self.meter):
            themed.set_theme(theme_name)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept dragged files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Read files dropped on the dock, as on the canvas."""
        self.worklist.importer.accept_drop(event)

    def confirm_and_predict(self) -> None:
        """Predict. If the user has edited labels, ask first and keep the edited voxels."""
        current = self.case_controller.current
        if self.worklist.is_open_blind:
            show_notice(BLIND_TOOLTIP)
            return
        if current is None or current.edit_session is None or not current.is_edited:
            self.worklist.predict()
            return
        n_edited = f"{current.edit_session.draft.edited.n_voxels:,}"
        text = f"Predict {current.case.name} again? The {n_edited} voxels that you edited keep your labels."
        self.prompt.ask_of_case(text, [("Predict", self.worklist.predict), ("Cancel", lambda: None)])

    def show_export_form(self, chosen: Sequence[Case] = ()) -> None:
        """Ask for format and folder; then export accepted cases: some, or all of the current task."""
        task, preferences = self.worklist.task, read_preferences(self._workspace.registry)

        def write(choice: ExportChoice) -> None:
            self.exporter.ask_and_write(self.prompt, task.name, choice, chosen)

        start = self._workspace.project.folder / "exports"
        form = make_export_form(write, preferences.export_suffix, start, preferences.export_with_images)
        FormDialog(f"Export accepted labels of {task.title}", "Export", form, self).show()

    def show_preferences_form(self) -> None:
        """Show the preferences form; changes apply immediately and are stored."""
        preferences, devices = read_preferences(self._workspace.registry), self._workspace.engine.devices
        form = make_preferences_form(self._save_preferences, preferences, devices)
        FormDialog("Preferences of MedSeg", "Save", form, self).show()

    def _save_preferences(self, preferences: Preferences) -> None:
        self.meter.follow_preferences(preferences)
        now = read_preferences(self._workspace.registry)  # the window can change these while the form is open
        kept = {name: getattr(now, name) for name in SET_BY_THE_WINDOW}
        write_preferences(self._workspace.registry, preferences.model_copy(update=kept))
        self._apply_preferences(preferences)
        self._workspace.engine.use_device(preferences.device)
        if preferences.read_medical_files:
            prefer_our_reader()

    def _apply_preferences(self, preferences: Preferences) -> None:
        self.case_panel.set_predicts_automatically(preferences.predict_automatically)
        self.retrain_panel.set_budget(preferences.budget_s)
        set_max_memory(preferences.max_memory_bytes)

    def _make_sections(self) -> None:
        workspace, desk = self._workspace, self.case_controller
        self.prompt = InlinePrompt()
        self.task_assigner = TaskAssigner(workspace, self.worklist, desk, self.prompt.ask_lasting)
        self.case_panel = CasePanel(workspace, self.worklist, desk, self.prediction_queue)
        self.labels_panel = LabelsPanel(self._viewer, desk, self.worklist.task, self._workspace.registry)
        self.views.add_to(self.labels_panel)
        self.correction = CorrectionTools(self._viewer, desk, self._get_open_task)
        self.labels_panel.add_tools(self.correction.row)
        self.guidance = Guidance(self._viewer, workspace, desk, self.prediction_queue, self.correction)
        self.labels_panel.add_to_model_row(self.guidance.threshold_row)
        self.first_parts = FirstParts(self._viewer, desk, self.prediction_queue)
        self._kept_layer = KeptLayer(self._viewer, desk, self._get_open_task)
        self.added_labels = AddedLabels(self._viewer, desk, self._get_open_task, self.prompt.ask_of_case)
        self.review_panel = ReviewPanel(workspace, desk, self.idle_timer, self.review_region, self.added_labels)
        self.meter = Meter(self._viewer, workspace, desk, self.worklist)
        self.review_panel.add_to_header(self.meter.button)
        self.retrain_panel = RetrainPanel(workspace, self.run_monitor, self._viewer.theme)
        self.review_panel.insert_first(self.guidance.places_row)
        findings, open_case = self.retrain_panel.findings, self.worklist.open
        self.finding_actions = FindingActions(findings, self._viewer, desk, self.correction.editor, open_case)
        self.exporter = ExportProgress(workspace)
        self.review_panel.add(self.exporter)
        self.masks = DroppedMasks(self._viewer, workspace, desk, self.worklist, self.prediction_queue)
        self.video = VideoDesk(self._viewer, workspace, desk, self.worklist, self.prediction_queue, self)
        self.slides = make_slide_view(self._viewer, workspace, desk, self.worklist, self.prediction_queue, self)
        self.slide_or_video = SlideOrVideo(self.slides, self.video, desk)
        self.flat_view = FlatView(self._viewer, self.slides, self.video, desk)
        self.group_editor = GroupEditor(workspace, self.worklist, self)
        self.hold_out = HoldOutGuide(workspace, self.worklist, desk, self.prompt.ask_of_case, self)
        self.case_commands = CaseCommands(workspace, self.worklist, desk, self.task_assigner, self.prompt.ask_lasting)
        self._lay_out()

    def _lay_out(self) -> None:
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(4, 2, 4, 2)
        rows.setSpacing(SPACING_PX)
        sections = (self.case_panel, self.labels_panel, self.review_panel, self.retrain_panel)
        for widget in (self.prompt, self.masks, *sections):
            rows.addWidget(widget)
        rows.addStretch(1)
        self.review_panel.decision.insert_first(self.correction.row.message)
        stack_widgets(self, make_vertical_scroll_area(inner), self.review_panel.decision)

    def _connect(self) -> None:
        self.case_panel.predict_requested.connect(self.confirm_and_predict)
        self.case_panel.task_chosen.connect(self._on_task_changed)
        self.case_panel.task_selector.new_task_requested.connect(self.show_new_task_form)
        self.case_panel.use_requested.connect(self.task_assigner.use_open_image)
        self.case_panel.commands_requested.connect(self.show_list_commands)
        self.case_panel.hold_out_requested.connect(self.hold_out.explain)
        self.case_commands.connect_list(self.case_panel.list_panel)
        self.case_commands.groups_requested.connect(self.group_editor.show_form)
        self.case_commands.share_requested.connect(self.hold_out.show_form)
        self.case_commands.notes_changed.connect(self.review_panel.read_note)
        self.review_panel.note_changed.connect(self.worklist.update_case)
        self.case_commands.export_requested.connect(self.show_export_form)
        self.case_controller.opened.connect(lambda: self.labels_panel.show_task(self.worklist.open_task))
        self.case_controller.opened.connect(self.prompt.forget_case)
        self.review_panel.export_requested.connect(lambda: self.show_export_form())
        self.labels_panel.uncertainty_toggled.connect(self._on_uncertainty_toggled)
        self._overlays.changed.connect(
            lambda: self.labels_panel.set_uncertainty_checkbox(
                self._overlays.is_active and self.labels_panel.is_uncertainty_shown,
                self.case_controller.current is not None,
            )
        )
        self.learning.changed.connect(self.case_panel.refresh_models)
        self.retrain_panel.live_changed.connect(self.worklist.use_live_model)
        self.retrain_panel.live_changed.connect(self.case_panel.refresh_models)
        self.retrain_panel.row_chosen.connect(self._comparison_overlay.show_row)
        self.retrain_panel.run_requested.connect(self.worklist.choose_task)
        for react in (self.retrain_panel.refresh, lambda case: settle_messages(case.name), self.prompt.forget_undo):
            self.case_controller.decided.connect(react)
        self.worklist.changed.connect(self._on_list_changed)
        self.worklist.drops.sorted_by_task.connect(self.prompt.ask_lasting)
        self.worklist.drops.question_settled.connect(self.prompt.withdraw)
        self._viewer.layers.selection.events.active.connect(self.case_panel.refresh_predict)

    def _on_task_changed(self) -> None:
        self.labels_panel.set_task(self.worklist.open_task)
        self.retrain_panel.set_task(self.worklist.task.name)
        self.prompt.show_for(self.worklist.task.name)
        self._on_list_changed()

    def _get_open_task(self) -> Task:
        return self.worklist.open_task

    def _on_list_changed(self) -> None:
        with show_errors():
            self.review_panel.set_exportable_count(self.worklist.case_list.counts.n_corrected)

    def _on_uncertainty_toggled(self, shown: bool) -> None:
        if shown and not self.worklist.open_case_model:
            show_notice(BLIND_TOOLTIP if self.worklist.is_open_blind else NO_MODEL_TOOLTIP)
            self.labels_panel.set_uncertainty_checkbox(shown=False, possible=True)
        elif shown:
            model = self.worklist.open_case_model
            self._uncertainty_overlay.show(model, self.guidance.maps.get_uncertainty_by(model))
        else:
            self._overlays.clear()

    def show_new_task_form(self) -> None:
        """Ask for a new task; the images that are there already can be used for it."""
        make, use = self.case_panel.task_selector.make_task, self.task_assigner.use_cases
        current, dropped = self.case_controller.current, self.worklist.drops.cases
        show_new_task_form(self, self._workspace, current, dropped, self.worklist.task, make, use)

    def hide_labels_while_held(self) -> Generator[None]:
        """Hide the labels until the key is released; napari runs the second half then."""
        current = self.case_controller.current
        if current is not None and current.labels_layer is not None:
            yield from labels_tools.hide_while_held(current.labels_layer)

    def toggle_contour(self) -> None:
        """Show the labels filled or as contours."""
        if self.case_controller.current is not None and self.case_controller.current.labels_layer is not None:
            labels_tools.toggle_contour(self.case_controller.current.labels_layer, self._get_open_task())

    def show_list_commands(self, case: Case | None = None) -> None:
        """Show a menu: use a case, the open one by default, or the last drop for another task, remove it, undo."""
        self.case_panel.task_selector.show_commands(self.task_assigner.list_commands(case))

    def show_keys(self) -> None:
        """Show the page of keys."""
        label_keys = KeyBinding(f"1 to {N_LABEL_KEYS}", "paint with this label; does nothing without one", lambda: None)
        KeyHelpDialog([*self._keys.keys, label_keys], self.window()).show()
