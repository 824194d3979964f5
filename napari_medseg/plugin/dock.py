"""The content of the dock for one open project: sections in the order of the work, and what ties them together."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import Desk
from napari_medseg.plugin.controllers.exporter import Exporter
from napari_medseg.plugin.controllers.idle_timer import Activity
from napari_medseg.plugin.controllers.overlays import Comparing, Doubt, Guests
from napari_medseg.plugin.controllers.prediction_queue import Predictions
from napari_medseg.plugin.controllers.review_region import ReviewedArea
from napari_medseg.plugin.controllers.run_monitor import RunWatch
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.keymap import N_LABEL_KEYS, Key, KeyMap, KeyPage
from napari_medseg.plugin.panels.case_panel import NO_MODEL, CasePanel
from napari_medseg.plugin.panels.labels_panel import LabelsPanel
from napari_medseg.plugin.panels.retrain_panel import ImprovePanel
from napari_medseg.plugin.panels.review_panel import ReviewPanel
from napari_medseg.plugin.widgets.inline_prompt import Question
from napari_medseg.plugin.widgets.notifications import told
from napari_medseg.workflow import review, run_control
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

SPACING_PX = 6


class Dock(QWidget):
    """Everything that one open project shows.

    Parameters
    ----------
    viewer, workspace
        What is shown, and what is worked with; `close_down` closes neither.
    parent
        Qt parent.
    """

    def __init__(self, viewer: "Viewer", workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self.desk = Desk(viewer, workspace)
        self.area = ReviewedArea(viewer, self.desk)
        self.predictions = Predictions(workspace)
        self.worklist = Worklist(viewer, workspace, self.desk, self.predictions)
        self.watch = RunWatch(workspace)
        self.activity = Activity()
        self._guests = Guests(viewer, self.desk)
        self._doubt = Doubt(viewer, workspace, self.desk, self._guests)
        self._comparing = Comparing(viewer, workspace, self.desk, self._guests)
        self._make_sections()
        self._connect()
        self._keys = KeyMap(viewer, self._key_list())
        self.setAcceptDrops(True)
        self._on_task()
        workspace.engine.start()
        layers.remove(viewer, *layers.left_behind(viewer))
        self.worklist.arrivals.adopt_existing()
        self._offer_drafts()
        self._tell_paused()

    def close_down(self) -> None:
        """Save, stop and let go of everything; a training run goes on."""
        self._keys.close()
        self.watch.close()
        self.improve.findings.close_down()
        self._guests.leave()
        self.predictions.close()
        self.worklist.close()
        self.area.close()
        self.desk.close()

    def set_theme(self, theme_name: str) -> None:
        """Take the colours of one of napari's themes."""
        self.improve.progress.curve.set_theme(theme_name)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Read the files that were dropped on the dock, as on the canvas."""
        self.worklist.arrivals.take_drop(event)

    def ask_to_predict(self) -> None:
        """Predict; where a person has edited labels, ask first, and keep what they edited."""
        current = self.desk.current
        if current is None or current.work is None or not current.edited:
            self.worklist.predict()
            return
        n_edited = f"{current.work.draft.edited.size:,}"
        text = f"Predict {current.case.name} again? The {n_edited} voxels that you edited keep your labels."
        self.question.ask(text, [("Predict", self.worklist.predict), ("Leave it", lambda: None)])

    def _make_sections(self) -> None:
        workspace, desk = self._workspace, self.desk
        self.question = Question()
        self.case = CasePanel(workspace, self.worklist, desk, self.predictions)
        self.labels = LabelsPanel(self._viewer, desk, self.worklist.task)
        self.review = ReviewPanel(desk, self.activity, self.area)
        self.improve = ImprovePanel(workspace, self.watch, self._viewer.theme)
        self.exporter = Exporter(workspace, self)
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(4, 2, 4, 2)
        rows.setSpacing(SPACING_PX)
        for widget in (self.question, self.case, self.labels, self.review, self.improve):
            rows.addWidget(widget)
        rows.addStretch(1)
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)

    def _connect(self) -> None:
        self.case.asked_to_predict.connect(self.ask_to_predict)
        self.case.task_chosen.connect(self._on_task)
        self.review.asked_to_export.connect(lambda: self.exporter.ask(self.worklist.task.name))
        self.labels.doubt_asked.connect(self._on_doubt)
        self._guests.changed.connect(
            lambda: self.labels.set_doubt(
                self._guests.present and self.labels.doubt_shown, self.desk.current is not None
            )
        )
        self.improve.live_changed.connect(self._on_live_changed)
        self.improve.row_chosen.connect(self._comparing.show_row)
        self.improve.findings.chosen.connect(self.worklist.open)
        self.desk.decided.connect(self.improve.refresh)
        self.worklist.changed.connect(self._on_list_changed)
        self._viewer.layers.selection.events.active.connect(self.case.refresh_predict)

    def _on_task(self) -> None:
        task = self.worklist.task
        self.labels.set_task(task)
        self.improve.set_task(task.name)
        self._on_list_changed()

    def _on_list_changed(self) -> None:
        with told():
            self.review.set_exportable(sum(row.correction is not None for row in self.worklist.rows))

    def _on_live_changed(self) -> None:
        self.worklist.use_live_model()
        self.case.refresh_models()

    def _on_doubt(self, shown: bool) -> None:
        if shown and not self.worklist.chosen_model:
            show_info(NO_MODEL)
            self.labels.set_doubt(shown=False, possible=True)
        elif shown:
            self._doubt.show(self.worklist.chosen_model)
        else:
            self._guests.leave()

    def _offer_drafts(self) -> None:
        """Offer the draft that was worked on last, and otherwise to go on with the list."""
        drafts = review.drafts_waiting(self._workspace)
        waiting = [row for row in self.worklist.rows if not row.done]
        if self.desk.current is not None or not (drafts or waiting):
            return
        if drafts:
            more = f" and {len(drafts) - 1} more" if len(drafts) > 1 else ""
            text = f"A draft waits: {drafts[0].name}{more}. Every stroke is there."
            answers = [("Go on with it", lambda: self.worklist.open(drafts[0]))]
        else:
            text = f"{len(waiting)} cases of last time are still to be done."
            answers = [("Go on", self.worklist.open_next)]
        self.question.ask(text, [*answers, ("Not now", lambda: None)])

    def _tell_paused(self) -> None:
        """Say where a run of another task waits; that of this task is offered in its section."""
        waiting = run_control.paused(self._workspace)
        if waiting is not None and waiting.task != self.worklist.task.name:
            title = self._workspace.tasks.named(waiting.task).title
            show_info(f"A training run is paused: choose the task {title} to go on with it.")

    def _hide_while_held(self) -> Generator[None]:
        current = self.desk.current
        if current is not None and current.labels_layer is not None:
            yield from labels_tools.hidden_while_held(current.labels_layer)

    def _toggle_contour(self) -> None:
        if self.desk.current is not None and self.desk.current.labels_layer is not None:
            labels_tools.toggle_contour(self.desk.current.labels_layer)

    def _key_list(self) -> list[Key]:
        return [
            Key("G", "predict this case", self.ask_to_predict),
            Key("A", "accept, and open the next case", self.review.accept),
            Key("R", "reject, and open the next case", self.review.reject),
            Key("S", "case before", lambda: self.worklist.step(-1)),
            Key("D", "next case", lambda: self.worklist.step(+1)),
            Key("Q", "hide the labels while held", self._hide_while_held),
            Key("W", "labels filled or as contours", self._toggle_contour),
            Key("C", "mark a rectangle as reviewed: the rest of the image teaches nothing", self.area.draw),
            Key("T", "show where the model is unsure", self.labels.toggle_doubt),
            Key("Ctrl-Z", "undo: unlimited, on every slice, also after a restart", self.desk.undo),
            Key("Ctrl-Shift-Z", "redo", self.desk.redo),
            Key("F1", "this page", self.show_keys),
        ]

    def show_keys(self) -> None:
        """Show the page of keys."""
        label_keys = Key(f"1 to {N_LABEL_KEYS}", "paint with this label (on the labels layer)", lambda: None)
        KeyPage([*self._keys.keys, label_keys], self.window()).show()
