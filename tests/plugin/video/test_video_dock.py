"""The strip of a video lies below the canvas, and the docks at the sides keep their width."""

from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow

from napari_medseg.plugin.video.video_dock import VideoDock


def test_a_dock_that_lost_width_gets_it_back(qtbot: QtBot) -> None:
    window, side, strip = QMainWindow(), QDockWidget(), QLabel("strip")
    qtbot.addWidget(window)
    window.setCentralWidget(QLabel("canvas"))
    side.setWidget(QLabel("MedSeg"))
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, side)
    window.resize(1280, 720)
    window.show()
    window.resizeDocks([side], [340], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: side.width() == 340)
    place = VideoDock(strip)
    place.show_in(window)
    window.resizeDocks([side], [280], Qt.Orientation.Horizontal)  # as Qt does for napari's slider
    place.settle()
    qtbot.waitUntil(lambda: side.width() == 340)
    assert place.width() < 1280 - 300
    place.remove()
