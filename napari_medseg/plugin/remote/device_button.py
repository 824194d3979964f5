"""The button beside the task: which device predicts, how it is, and its menu."""

import queue

from qtpy.QtCore import QTimer
from qtpy.QtGui import QAction, QActionGroup
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_medseg.inference.engine.absent import AbsentEngine
from napari_medseg.inference.engine.interface import PredictionEngine
from napari_medseg.inference.remote.fallback import FallbackEngine
from napari_medseg.plugin.remote.server_form import ServerForm
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.workflow.preferences import change_preferences, read_preferences
from napari_medseg.workflow.remote.run_place import switch_engine
from napari_medseg.workflow.remote.server_settings import read_server, switch_server
from napari_medseg.workflow.workspace import Workspace

POLL_MS = 400
MAX_HOST_CHARS = 12
SERVER_DOES = "It predicts, retrains and learns at Accept"
SERVER_PREDICTS = "It predicts. Retraining and learning at Accept run on this computer"
FASTEST = "This computer: the fastest device"


class DeviceButton(QToolButton):
    """Shows the device and its state, and lets a person choose this computer's devices or a server.

    Parameters
    ----------
    workspace
        Its engine is followed and replaced.
    """

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._followed: PredictionEngine | None = None
        self._told: queue.SimpleQueue[tuple[PredictionEngine, str]] = queue.SimpleQueue()  # by the thread of the link
        self.setObjectName("medseg-plain")
        self.setMinimumWidth(70)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu(self)
        self._menu.setToolTipsVisible(True)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.setMenu(self._menu)
        self._poll = QTimer(self)
        self._poll.timeout.connect(self.refresh)
        self._poll.start(POLL_MS)

    def refresh(self) -> None:
        """Show the device and its state, and what the link to a server said since the last call."""
        engine = self._workspace.engine
        self._follow(engine)
        self.setText(f"{describe_engine(engine)} ▾")
        self.setToolTip(explain_engine(engine))
        while not self._told.empty():
            told_by, text = self._told.get()
            if told_by is engine:  # else another server was chosen since
                show_notice(text)

    def show_form(self) -> None:
        """Show the form of the server."""
        form = ServerForm(read_server(self._workspace.registry.user_dir, {}), self._workspace.registry.user_dir, self)
        form.accepted.connect(self._use_settings)
        form.show()

    def _follow(self, engine: PredictionEngine) -> None:
        if engine is self._followed:
            return
        self._followed = engine
        if isinstance(engine, FallbackEngine):
            told = self._told  # not the button, which may be deleted while the thread runs
            engine.link_changed.connect(lambda _, text: told.put((engine, text)))

    def _fill_menu(self) -> None:
        """List the devices of this computer, and the server; the one that is used is ticked."""
        self._menu.clear()
        group = QActionGroup(self._menu)
        engine, server = self._workspace.engine, read_server(self._workspace.registry.user_dir, {})
        is_remote = isinstance(engine, FallbackEngine)
        local = engine.local if isinstance(engine, FallbackEngine) else engine
        chosen = read_preferences(self._workspace.registry).device
        if local is None or isinstance(local, AbsentEngine):
            self._add(group, "This computer: torch is not installed", is_used=False).setEnabled(False)
        else:
            self._add(group, FASTEST, not is_remote and not chosen).triggered.connect(lambda: self._use_device(""))
            for device in local.devices:
                action = self._add(group, device.title, not is_remote and chosen == device.name)
                action.setToolTip(device.problem)
                action.setEnabled(not device.problem)
                action.triggered.connect(lambda _=False, name=device.name: self._use_device(name))
        self._menu.addSeparator()
        if server is not None:
            self._add(group, f"Server {server.name}", is_remote).triggered.connect(self._use_server)
        self._menu.addAction("Remote…", self.show_form)

    def _add(self, group: QActionGroup, text: str, is_used: bool) -> QAction:
        action = self._menu.addAction(text)
        action.setCheckable(True)
        action.setChecked(is_used)
        group.addAction(action)
        return action

    def _use_device(self, name: str) -> None:
        with show_errors():
            switch_server(self._workspace.registry.user_dir, is_used=False)
            change_preferences(self._workspace.registry, {"device": name})
            if isinstance(self._workspace.engine, FallbackEngine):
                switch_engine(self._workspace)
            else:
                self._workspace.engine.use_device(name)
        self.refresh()

    def _use_server(self) -> None:
        with show_errors():
            switch_server(self._workspace.registry.user_dir, is_used=True)
        self._use_settings()

    def _use_settings(self) -> None:
        with show_errors():
            switch_engine(self._workspace)
        self.refresh()


def describe_engine(engine: PredictionEngine) -> str:
    """Return the device and its state in about 16 characters."""
    if isinstance(engine, AbsentEngine):
        return "no engine"
    state = {"starting": "loading", "crashed": "restarting"}.get(engine.state, engine.state)
    if not isinstance(engine, FallbackEngine):
        return f"{engine.device.split(':')[0].strip()} {state}".strip()
    host = engine.host if len(engine.host) <= MAX_HOST_CHARS else f"{engine.host[: MAX_HOST_CHARS - 1]}…"
    if engine.remote.is_connected:
        return f"{host} {state}"
    if not engine.remote.problem:
        return "connecting"
    if engine.local is None:
        return "no link"
    return f"no link: {engine.local.device.split(':')[0].strip() or 'CPU'}"


def explain_engine(engine: PredictionEngine) -> str:
    """Return the tooltip: the whole name of the device, its state, and why it is this one."""
    state = {"starting": "loading", "crashed": "restarting"}.get(engine.state, engine.state)
    if isinstance(engine, AbsentEngine):
        lines = ["No device predicts here", engine.cpu_reason]
    elif isinstance(engine, FallbackEngine) and engine.remote.is_connected:
        lines = [
            f"Connected to {engine.device}, {state}",
            SERVER_DOES if engine.remote.takes_trainings else SERVER_PREDICTS,
            engine.cpu_reason,
        ]
    elif isinstance(engine, FallbackEngine) and not engine.remote.problem:
        lines = [f"Connecting to {engine.host}"]
    elif isinstance(engine, FallbackEngine):
        lines = [f"No link to {engine.host}; it is tried again by itself", engine.cpu_reason]
    else:
        lines = [f"The prediction process: {engine.device or 'device not known yet'}, {state}", engine.cpu_reason]
    return "\n".join([*filter(None, lines), "Click to choose a device, or a server (Remote)"])
