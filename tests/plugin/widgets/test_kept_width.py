"""The dock keeps its width whatever comes and goes below the canvas, unless a person drags its edge."""

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_medseg.plugin.video.video_strip import VideoStrip
from napari_medseg.plugin.widgets.kept_width import KeptWidth

PLACE = QPoint(5, 5)
SIDE, BELOW = Qt.DockWidgetArea.RightDockWidgetArea, Qt.DockWidgetArea.BottomDockWidgetArea


def _make_window(qtbot: QtBot) -> tuple[QMainWindow, QDockWidget, QDockWidget]:
    """Return a window with a dock of 340 px that keeps it, and one below the middle."""
    window, side, below = QMainWindow(), QDockWidget(), QDockWidget()
    qtbot.addWidget(window)
    window.setCentralWidget(QWidget())
    window.setCorner(Qt.Corner.BottomRightCorner, SIDE)
    for dock, area in ((side, SIDE), (below, BELOW)):
        dock.setWidget(QWidget())
        window.addDockWidget(area, dock)
    side.widget().setMinimumWidth(200)
    window.resize(900, 400)
    window.show()
    window.resizeDocks([side], [340], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: side.width() == 340)
    KeptWidth(window, side, 340)
    return window, side, below


def test_a_dock_gets_back_what_something_else_needed_for_a_moment(qtbot: QtBot) -> None:
    _, side, below = _make_window(qtbot)
    below.widget().setMinimumWidth(640)
    qtbot.waitUntil(lambda: side.width() < 300)
    below.widget().setMinimumWidth(0)
    qtbot.waitUntil(lambda: side.width() == 340)
    assert below.width() < 900 - 300


def test_the_width_that_a_person_drags_is_kept(qtbot: QtBot) -> None:
    window, side, below = _make_window(qtbot)
    qtbot.mousePress(window, Qt.MouseButton.LeftButton, pos=PLACE)
    window.resizeDocks([side], [280], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: side.width() == 280)
    qtbot.mouseRelease(window, Qt.MouseButton.LeftButton, pos=PLACE)
    dragged = side.width()
    below.widget().setMinimumWidth(690)
    qtbot.waitUntil(lambda: side.width() < dragged)
    below.widget().setMinimumWidth(0)
    qtbot.waitUntil(lambda: side.width() == dragged)
    assert dragged == 280


def test_the_row_of_a_video_is_never_wider_for_a_moment(qtbot: QtBot) -> None:
    strip = VideoStrip()
    qtbot.addWidget(strip)
    strip.show()
    widths = []
    for on_video in (True, False, True):
        strip.show_mode(on_video=on_video)
        widths.append(strip.width())
    strip.take_button.show()
    strip.back_button.show()
    assert max(widths) < strip.minimumSizeHint().width()
