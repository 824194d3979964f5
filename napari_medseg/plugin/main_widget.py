"""The dock widget `MedSeg`: opens, shows, switches and closes the project."""

import gc
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMenu,
    QMessageBox,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.gl_context import CanvasContext
from napari_medseg.plugin.learning.learning_at_accept import add_switch
from napari_medseg.plugin.project.project_window import ProjectWindow
from napari_medseg.plugin.reader_preference import prefer_our_reader
from napari_medseg.plugin.views.load_ahead import load_for_first_layers
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.kept_width import keep_width
from napari_medseg.plugin.widgets.key_forwarder import KeyForwarder
from napari_medseg.plugin.widgets.message_line import MessageLine
from napari_medseg.plugin.widgets.notifications import DamageNotifier, show_notice, show_problem
from napari_medseg.workflow.preferences import read_preferences
from napari_medseg.workflow.workspace import Workspace, get_user_data_dir

if TYPE_CHECKING:
    import napari.viewer

WIDTH_PX = 340
HEIGHT_PX = 600
LOAD_AFTER_MS = 200  # between the steps of loading after the start: the window answers meanwhile


class CloseChoice(Enum):
    """What to do with a training run when the window closes."""

    LEAVE_RUNNING = "Keep it running"
    PAUSE_RUN = "Pause it, resume later"
    CANCEL_RUN = "Stop it, keep the best version"
    STAY = "Do not close"


def ask_close_choice(parent: QWidget) -> CloseChoice:
    """Ask the user in a modal dialog."""
    box = QMessageBox(parent)
    box.setWindowTitle("MedSeg is training")
    box.setText("A model is being trained on your corrections. Training can continue without this window.")
    buttons = {box.addButton(choice.value, QMessageBox.ButtonRole.ActionRole): choice for choice in CloseChoice}
    box.exec()
    return buttons.get(box.clickedButton(), CloseChoice.STAY)


class MedSegWidget(QWidget):
    """The widget that napari docks.

    Parameters
    ----------
    viewer
        napari's viewer. napari injects it only if the annotation is written exactly like this.
    workspace
        Open project, registry and engine; `None` opens those in the user's data folder. Closed with the widget.
    ask
        Called when the window closes during training; returns what to do with the run.
    """

    def __init__(
        self,
        viewer: "napari.viewer.Viewer",
        workspace: Workspace | None = None,
        ask: Callable[[QWidget], CloseChoice] = ask_close_choice,
    ) -> None:
        super().__init__()
        self.setObjectName("MedSeg")
        # Expanding; otherwise napari adds a stretch below, which takes up to half of the height.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        # napari passes a proxy that returns new layer objects on each access. Only public names are used.
        self._viewer: napari.viewer.Viewer = getattr(viewer, "__wrapped__", viewer)
        self._ask = ask
        self._is_closing = self._is_closed = False
        self._window: QMainWindow | None = None
        self._canvas_context: CanvasContext | None = None
        self._key_forwarder: KeyForwarder | None = None
        self.workspace: Workspace | None = None
        self.dock: Dock | None = None
        self.project_window: ProjectWindow | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self.messages = MessageLine()
        self._layout.addWidget(self.messages)
        self._project_button = theme.make_tool_button("", "", "medseg-plain")
        self._make_project_row()
        self._damage_notifier = DamageNotifier()
        self._damage_notifier.start()
        self._viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._open(Workspace.open_default if workspace is None else lambda: workspace)

    def sizeHint(self) -> QSize:
        """Preferred size; the height fits a small screen."""
        return QSize(WIDTH_PX, HEIGHT_PX)

    def open_project(self, folder: Path) -> None:
        """Open another project, or create one if the folder has none; the registry stays the same."""
        registry = get_user_data_dir() / "registry" if self.workspace is None else self.workspace.registry.user_dir
        self._open(lambda: Workspace.open(folder, registry))

    def close_down(self) -> None:
        """Save the draft, stop the engine, and close the project. A second call has no effect."""
        self._is_closed = True
        window, self._window = self._window, None
        canvas, self._canvas_context = self._canvas_context, None
        keys, self._key_forwarder = self._key_forwarder, None
        with ExitStack() as steps:  # in reverse order; one that fails stops no other
            if keys is not None:
                steps.callback(keys.close_down)
            if canvas is not None:
                steps.callback(canvas.close)
            if window is not None and isalive(window):
                steps.callback(window.removeEventFilter, self)
            steps.callback(gc.unfreeze)
            steps.callback(self._damage_notifier.stop)
            steps.callback(self.messages.close_down)
            steps.callback(self._close_project)

    def event(self, event: QEvent) -> bool:
        """Close down when napari removes the widget from its dock, which happens when a dock is closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._window is not None:
            self.close_down()
        is_new = self._window is None and not self._is_closed
        if event.type() == QEvent.Type.Show and is_new and isinstance(self.window(), QMainWindow):
            self._attach_to_window(self.window())
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before the window closes during training; save everything once the window has closed.

        napari may ask too, and its answer may be that the window stays. So napari handles the event first: until it has
        accepted the event, nothing is closed and no run is paused.
        """
        if watched is not self._window or event.type() != QEvent.Type.Close or self._is_closing:
            return False
        monitor = None if self.dock is None else self.dock.run_monitor
        is_training = monitor is not None and monitor.is_running
        choice = self._ask(self) if is_training else CloseChoice.LEAVE_RUNNING
        if choice is CloseChoice.STAY:
            event.ignore()
            return True
        self._is_closing = True  # so that this filter lets the event through
        QApplication.instance().notify(watched, event)  # unlike `sendEvent`, it keeps what napari's question depends on
        self._is_closing = self._is_closed = False
        if event.isAccepted():
            if monitor is not None and choice is CloseChoice.PAUSE_RUN:
                monitor.pause()
            if monitor is not None and choice is CloseChoice.CANCEL_RUN:
                monitor.cancel()
            self.close_down()
        return True

    def _make_project_row(self) -> None:
        self._project_button.setPopupMode(self._project_button.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._project_button)
        menu.addAction("Open or create another project…", self._on_open_project)
        menu.addAction("Disk use and report…", self._on_project_window)
        menu.addAction("Preferences…", self._on_preferences)
        add_switch(menu, lambda: None if self.dock is None else self.dock.learning)
        self._project_button.setMenu(menu)
        keys = theme.make_tool_button("Keys (F1)", "All keys on one page", "medseg-plain")
        keys.clicked.connect(self._on_keys)
        self._layout.addWidget(make_row(self._project_button, QLabel(""), keys, stretch=1))

    def _open(self, open_workspace: Callable[[], Workspace]) -> None:
        """Open a project instead of the current one. If this fails, the current one stays open."""
        try:
            workspace = open_workspace()
        except MedSegError as error:
            show_problem(error)
            if self.dock is None:
                self._project_button.setText("no project is open")
            return
        self._close_project()
        self.workspace = workspace
        self.dock = Dock(self._viewer, workspace, self)
        self.dock.set_theme(self._viewer.theme)
        self._layout.insertWidget(0, self.dock, stretch=1)
        self.dock.review_panel.decision.insert_first(self.messages)
        folder = workspace.project.folder
        self._project_button.setText(f"Project: {folder.name} ▾")
        self._project_button.setToolTip(f"{folder}\nOpen or create another project")
        if self._window is not None:
            self._watch_window(self._window)

    def _close_project(self) -> None:
        window, self.project_window = self.project_window, None
        dock, self.dock = self.dock, None
        workspace, self.workspace = self.workspace, None
        with ExitStack() as steps:  # in reverse order; the files are closed whatever fails before
            if workspace is not None:
                steps.callback(workspace.close)
            if dock is not None:
                steps.callback(dock.deleteLater)
                steps.callback(self._layout.insertWidget, 0, self.messages)  # it outlives the project
                steps.callback(self._layout.removeWidget, dock)
                steps.callback(dock.close_down)
            if window is not None:
                steps.callback(window.close_down)
            steps.callback(self.messages.forget_project)

    def _attach_to_window(self, window: QMainWindow) -> None:
        self._window = window
        window.installEventFilter(self)
        keep_width(window, self.parent(), WIDTH_PX)
        self._canvas_context = CanvasContext(self._viewer, window)
        self._key_forwarder = KeyForwarder(window, self._find_canvas)
        self._watch_window(window)
        self._loading = load_for_first_layers()
        QTimer.singleShot(LOAD_AFTER_MS, self._begin_to_load)
        read_files = self.workspace is None or read_preferences(self.workspace.registry).read_medical_files
        if read_files and prefer_our_reader():
            show_notice("DICOM and NIfTI files now open with MedSeg (change it in Preferences > Plugins)")

    def _find_canvas(self) -> QWidget | None:
        """Return the widget of the canvas, which handles napari's keys."""
        centre = None if self._window is None else self._window.centralWidget()
        inside = [] if centre is None else centre.findChildren(QOpenGLWidget)
        return inside[0] if inside else None

    def _begin_to_load(self) -> None:
        """Prepare for the first case when the list is there: of thousands, it would come seconds later otherwise.

        What exists then lives as long as the window and is exempt from garbage collection: napari collects at each
        removal of a layer, so at each change of case; that took half a second.
        """
        if self._window is None:
            return
        if self.dock is not None and not self.dock.worklist.case_list.is_complete:
            QTimer.singleShot(LOAD_AFTER_MS, self._begin_to_load)
        else:
            gc.collect()
            gc.freeze()
            self._load_for_first_layers()

    def _load_for_first_layers(self) -> None:
        """Take a step of `load_for_first_layers`, until it has ended or the window is closed."""
        if self._window is None:
            return
        for _step in self._loading:
            QTimer.singleShot(LOAD_AFTER_MS, self._load_for_first_layers)
            return
        gc.freeze()

    def _watch_window(self, window: QMainWindow) -> None:
        """Handle drops on the canvas and watch for user activity."""
        if self.dock is not None and (centre := window.centralWidget()) is not None:
            inside = [centre, *centre.findChildren(QWidget)]
            self.dock.worklist.importer.watch_drops([widget for widget in inside if widget.acceptDrops()])
            self.dock.views.attach(window)
            self.dock.case_panel.list_place.attach(window)
            self.dock.correction.watch(inside)
            self.dock.guidance.watch(inside)
            self.dock.idle_timer.watch([window, *inside, *self.findChildren(QWidget)])

    def _on_theme(self) -> None:
        self.setStyleSheet(theme.make_style_sheet(self._viewer.theme))
        if self.dock is not None:
            self.dock.set_theme(self._viewer.theme)

    def _on_keys(self) -> None:
        if self.dock is not None:
            self.dock.show_keys()

    def _on_project_window(self) -> None:
        if self.workspace is not None:
            if self.project_window is not None:
                self.project_window.close_down()
            self.project_window = ProjectWindow(self.workspace, self)
            self.project_window.show()

    def _on_preferences(self) -> None:
        if self.dock is not None:
            self.dock.show_preferences_form()

    def _on_open_project(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Open a project, or choose an empty folder for a new one"):
            self.open_project(Path(folder))
