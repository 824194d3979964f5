"""A person's mouse, keyboard and drag from a file manager on a real napari window: events of the X server, by xdotool.

Needs an X server (Xvfb), xdotool and the window manager openbox.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QMimeData, QPoint, Qt, QTimer, QUrl
from qtpy.QtGui import QDrag, QMouseEvent
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QMenu, QScrollArea, QWidget

if TYPE_CHECKING:
    from napari import Viewer

Point = tuple[float, float]
SOURCE_PX = (50, 22)
TITLE_PX = 24
TURN_S = 0.004
MAX_TURNS = 20


class RealHands:
    """Mouse and keys on the window of a viewer.

    Parameters
    ----------
    viewer
        Its window is moved to the corner of the screen.
    folder
        Folder for screenshots, and for the list of files that are dragged.
    """

    def __init__(self, viewer: "Viewer", folder: Path) -> None:
        self.viewer, self.folder = viewer, folder
        self.window = viewer.window._qt_window
        self.scale = self.window.devicePixelRatioF()
        self._manager = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._xdotool = subprocess.Popen(["xdotool", "-"], stdin=subprocess.PIPE, text=True, bufsize=1)
        self._dragged = folder / "dragged.txt"
        self._dragged.write_text("")
        screen = QApplication.primaryScreen().size() * self.scale
        self._source_y = screen.height() - 60
        command = [sys.executable, __file__, str(self._dragged), str(int(self._source_y / self.scale))]
        self._source = subprocess.Popen(command)
        self.wait(1.0)
        self.fit_window(screen.width(), screen.height(), viewer.theme)

    def close(self) -> None:
        """End the processes that were started."""
        for process in (self._source, self._xdotool, self._manager):
            process.terminate()

    def fit_window(self, width: int, height: int, theme: str) -> None:
        """Give the window a size in pixels of the screen, and a theme of napari."""
        self.window.showNormal()
        self.window.move(0, 0)
        self.window.resize(int(width / self.scale) - 2, int(height / self.scale) - TITLE_PX)
        self.viewer.theme = theme
        self.wait(1.0)

    @property
    def canvas(self) -> QWidget:
        """The widget of the canvas."""
        return self.viewer.window._qt_viewer.canvas.native

    def wait(self, seconds: float = 0.05) -> None:
        """Let the window handle its events for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(TURN_S)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    def wait_until(self, condition: Callable[[], bool], limit_s: float = 30.0) -> bool:
        """Let the window handle its events until a condition holds; return whether it did within the limit."""
        end = time.monotonic() + limit_s
        while not (holds := condition()) and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(TURN_S)
        return holds

    def send(self, command: str) -> None:
        """Send one command of xdotool, and let the window handle what follows."""
        self._xdotool.stdin.write(f"{command}\n")
        self._xdotool.stdin.flush()
        self.wait(0.02)

    def key(self, name: str, pause_s: float = 0.05) -> None:
        """Press a key, such as `a` or `ctrl+z`."""
        self.send(f"key {name}")
        self.wait(pause_s)

    def hold(self, name: str, pause_s: float) -> None:
        """Hold a key down for some seconds."""
        self.send(f"keydown {name}")
        self.wait(pause_s)
        self.send(f"keyup {name}")

    def type(self, text: str) -> None:
        """Type a text."""
        self.send(f'type --delay 15 "{text}"')
        self.wait(0.03 * len(text))

    def move(self, widget: QWidget, place: Point | None = None) -> None:
        """Move the mouse to a place of a widget, or to its middle."""
        x, y = place or (widget.width() / 2, widget.height() / 2)
        on_screen = widget.mapToGlobal(QPoint(int(x), int(y)))
        self.send(f"mousemove {int(on_screen.x() * self.scale)} {int(on_screen.y() * self.scale)}")

    def click(self, widget: QWidget, place: Point | None = None, button: int = 1) -> None:
        """Click a place of a widget, or its middle."""
        self.move(widget, place)
        self.send(f"click {button}")
        self.wait(0.1)

    def rest(self) -> None:
        """Click a corner of the canvas, which then has the keyboard."""
        self.click(self.canvas, (20, 20))

    def drag(self, points: Sequence[Point], held: str = "", steps: int = 8) -> None:
        """Drag over the canvas along points, in fractions of its width and height, with a key held or none."""
        size = np.array([self.canvas.width(), self.canvas.height()])
        corners = np.array(points) * size
        if held:
            self.send(f"keydown {held}")
        self.move(self.canvas, tuple(corners[0]))
        self.send("mousedown 1")
        for start, end in itertools.pairwise(corners):
            for share in np.linspace(0, 1, steps)[1:]:
                self.move(self.canvas, tuple(start + share * (end - start)))
        self.send("mouseup 1")
        if held:
            self.send(f"keyup {held}")
        self.wait(0.08)

    def drop(self, paths: Iterable[Path], target: QWidget | None = None) -> None:
        """Drag files out of the window of another program, and drop them on the canvas."""
        target = target or self.canvas
        self._dragged.write_text("\n".join(map(str, paths)))
        end = target.mapToGlobal(QPoint(target.width() // 2, target.height() // 3)) * self.scale
        start = np.array([20, self._source_y + 10])
        self.send(f"mousemove {start[0]} {start[1]}")
        self.send("mousedown 1")
        self.wait(0.15)
        for share in np.linspace(0, 1, 12)[1:]:
            x, y = (start + share * (np.array([end.x(), end.y()]) - start)).astype(int)
            self.send(f"mousemove {x} {y}")
            self.wait(0.03)
        self.send("mouseup 1")
        self.wait(0.2)

    def find_button(self, text: str, inside: QWidget | None = None) -> QAbstractButton | None:
        """Return the visible button whose text starts so, or `None`."""
        known = (inside or self.window).findChildren(QAbstractButton)
        return next((each for each in known if each.isVisible() and each.text().startswith(text)), None)

    def press(self, text: str, inside: QWidget | None = None) -> bool:
        """Click a button; return whether there was one that could be clicked."""
        button = self.find_button(text, inside)
        if button is None or not button.isEnabled():
            return False
        self.reveal(button)
        self.click(button)
        return True

    def reveal(self, widget: QWidget) -> None:
        """Turn the wheel over the scroll area of a widget until it is in view, as a person does."""
        area = widget.parentWidget()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        for _ in range(MAX_TURNS if area is not None else 0):
            view = area.viewport()
            top = widget.mapTo(view, QPoint(0, 0)).y()
            if top >= 0 and top + widget.height() <= view.height():
                return
            self.move(view, (4, view.height() / 2))
            self.send(f"click {4 if top < 0 else 5}")

    def choose(self, box: QComboBox, text: str) -> None:
        """Choose an entry of a combo box; `ValueError` if it has no such entry."""
        index = box.findText(text)
        if index < 0:
            raise ValueError(f"no entry {text!r} in {[box.itemText(number) for number in range(box.count())]}")
        self.click(box)
        self.wait(0.3)
        middle = box.view().visualRect(box.model().index(index, 0)).center()
        self.click(box.view().viewport(), (middle.x(), middle.y()))
        self.wait(0.3)

    def choose_in_menu(self, widget: QWidget, entry: str, place: Point | None = None, button: int = 1) -> bool:
        """Open the menu of a widget and click an entry; Escape if it has none. Qt runs a loop while it is open."""
        chosen: list[str] = []

        def click_entry(tries: int = 10) -> None:
            menu = QApplication.activePopupWidget()
            if menu is None and tries:
                QTimer.singleShot(150, lambda: click_entry(tries - 1))
                return
            actions = menu.actions() if isinstance(menu, QMenu) else []
            wanted = [each for each in actions if each.text().replace("&", "").startswith(entry)]
            if not wanted:
                self.send("key Escape")
                return
            middle = menu.actionGeometry(wanted[0]).center()
            self.move(menu, (middle.x(), middle.y()))
            chosen.append(wanted[0].text())
            self.send("click 1")

        QTimer.singleShot(500, click_entry)
        self.click(widget, place, button)
        self.wait_until(lambda: bool(chosen), 2.0)
        self.wait(0.5)
        return bool(chosen)

    def list_dialogs(self) -> list[QWidget]:
        """Return the windows beside that of the viewer."""
        tops = QApplication.topLevelWidgets()
        return [top for top in tops if top.isVisible() and top is not self.window and not isinstance(top, QMenu)]

    def close_dialogs(self) -> None:
        """Close the windows beside that of the viewer."""
        for dialog in self.list_dialogs():
            dialog.close()
        self.wait(0.2)
        self.rest()

    def take_picture(self, name: str) -> None:
        """Save what is on the screen."""
        self.wait(0.25)
        QApplication.primaryScreen().grabWindow(0).save(str(self.folder / f"{name}.png"))


class FileSource(QLabel):
    """A small window from which files are dragged; a file lists them."""

    def __init__(self, listed: Path) -> None:
        super().__init__("files")
        self._listed = listed
        self.setWindowFlags(
            Qt.WindowType.FramelessWindowHint
            | Qt.WindowType.WindowStaysOnTopHint
            | Qt.WindowType.X11BypassWindowManagerHint
        )
        self.resize(*SOURCE_PX)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Wait for a move."""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Start to drag."""
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(line) for line in self._listed.read_text().splitlines()])
        drag = QDrag(self)
        drag.setMimeData(mime)
        drag.exec(Qt.DropAction.CopyAction)


if __name__ == "__main__":
    application = QApplication([])
    source = FileSource(Path(sys.argv[1]))
    source.move(2, int(sys.argv[2]))
    source.show()
    application.exec()
