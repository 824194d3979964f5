"""A person's mouse and keyboard on a napari viewer, by real events of Qt, and how many seconds they take."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu, QWidget

NONE = Qt.KeyboardModifier.NoModifier
LEFT, NO_BUTTON = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
Point = tuple[float, float]


class Hand(NamedTuple):
    """Seconds of a person: a key, a click, pointing without one, a stroke by its length on the screen, a slice."""

    key: float = 0.3
    click: float = 0.9
    point: float = 0.6
    stroke: float = 0.4
    px_per_s: float = 400.0
    slice: float = 0.3


HAND = Hand()


@dataclass
class Effort:
    """What a person did, and how long the program worked."""

    keys: int = 0
    clicks: int = 0
    points: int = 0
    strokes: int = 0
    stroke_px: float = 0.0
    slices: int = 0
    program_s: float = 0.0

    @property
    def hand_s(self) -> float:
        """Seconds of a person by the model."""
        strokes = self.strokes * HAND.stroke + self.stroke_px / HAND.px_per_s
        others = self.keys * HAND.key + self.clicks * HAND.click + self.points * HAND.point
        return others + strokes + self.slices * HAND.slice


class Person:
    """Mouse and keyboard on a viewer, at pixels of its labels layer; counts what is done."""

    def __init__(self, viewer: napari.Viewer, layer: Labels) -> None:
        self.viewer, self.layer, self.effort = viewer, layer, Effort()
        self.native: QWidget = viewer.window._qt_viewer.canvas.native

    def key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = NONE, times: int = 1) -> None:
        """Press a key."""
        for _ in range(times):
            self.effort.keys += 1
            self._time(lambda: QTest.keyClick(self.native, key, modifiers))

    def next_slice(self) -> None:
        """Show the next slice, by the arrow key."""
        self.effort.slices += 1
        self._time(lambda: self.viewer.dims.set_current_step(0, self.viewer.dims.current_step[0] + 1))

    def point(self, place: Point) -> None:
        """Move the mouse without a button."""
        self.effort.points += 1
        self._send(QMouseEvent.Type.MouseMove, place, NO_BUTTON, NO_BUTTON)

    def click(self, place: Point) -> None:
        """Click a pixel."""
        self.effort.clicks += 1
        self._drag([place])

    def stroke(self, *places: Point) -> None:
        """Drag along points, with a move of the mouse every 24 px of the screen."""
        path = np.array(places, float)
        on_screen = np.hypot(*np.diff(path, axis=0).T) * self.viewer.scene.camera.zoom
        self.effort.strokes += 1
        self.effort.stroke_px += float(on_screen.sum())
        parts = [path[:1]]
        for start, end, length in zip(path[:-1], path[1:], on_screen, strict=True):
            n = max(1, round(length / 24))
            parts.append(start + (end - start) * (np.arange(1, n + 1) / n)[:, np.newaxis])
        self._drag([(float(y), float(x)) for y, x in np.concatenate(parts)])

    def hold_and_stroke(self, key: Qt.Key, *places: Point) -> None:
        """Drag while a key is held."""
        self.effort.keys += 1
        self._time(lambda: QTest.keyPress(self.native, key))
        self.stroke(*places)
        self._time(lambda: QTest.keyRelease(self.native, key))

    def press_button(self, button: QWidget) -> None:
        """Click a button of the dock."""
        self.effort.clicks += 1
        self._time(lambda: QTest.mouseClick(button, LEFT))

    def choose_entry(self, button: Any, number: int) -> None:  # noqa: ANN401 - a button with a menu
        """Click a button with a menu, and an entry of it."""
        menu: QMenu = button.menu()
        self.effort.clicks += 2

        def choose() -> None:
            menu.popup(button.mapToGlobal(QPoint(0, button.height())))
            QApplication.processEvents()
            middle = menu.actionGeometry(menu.actions()[number]).center()
            QTest.mouseMove(menu, middle)
            QTest.mouseClick(menu, LEFT, NONE, middle)

        self._time(choose)

    def _drag(self, places: Sequence[Point]) -> None:
        self._send(QMouseEvent.Type.MouseMove, places[0], NO_BUTTON, NO_BUTTON)
        self._send(QMouseEvent.Type.MouseButtonPress, places[0], LEFT, LEFT)
        for place in places[1:]:
            self._send(QMouseEvent.Type.MouseMove, place, NO_BUTTON, LEFT)
        self._send(QMouseEvent.Type.MouseButtonRelease, places[-1], LEFT, NO_BUTTON)

    def _send(self, kind: Any, place: Point, button: Any, buttons: Any) -> None:  # noqa: ANN401 - of Qt
        time.sleep(0.012)  # vispy leaves out moves that come within 10 ms
        index = (*self.viewer.dims.current_step[: self.layer.ndim - 2], *place)
        y, x = self.layer.data_to_world(index)[-2:]
        camera = self.viewer.scene.camera
        pos = QPointF(
            (x - camera.center[-1]) * camera.zoom + self.native.width() / 2,
            (y - camera.center[-2]) * camera.zoom + self.native.height() / 2,
        )
        event = QMouseEvent(kind, pos, QPointF(self.native.mapToGlobal(pos.toPoint())), button, buttons, NONE)
        self._time(lambda: QApplication.sendEvent(self.native, event))

    def _time(self, call: Callable[[], object]) -> None:
        began = time.process_time()
        call()
        QApplication.processEvents()
        self.effort.program_s += time.process_time() - began
