"""One plane through a series as a small picture with a cross-hair; a click on it says where."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

CROSS_COLOUR = "#F0E442"  # Okabe-Ito, seen on grey and on the colours of labels
TEXT_COLOUR = "#FFFFFF"
BACKGROUND = "#000000"
SMALLEST_PX = (120, 80)
MARGIN_PX = 4


class PlaneView(QWidget):
    """Shows a picture with square millimetres, whatever the size of its pixels.

    Parameters
    ----------
    title
        Name of the plane.
    sides
        Letters at the left and the right edge.

    Notes
    -----
    `pointed` carries where the user clicked or dragged: fractions in [0, 1] of the width from the left, and of the
    height from the top.
    """

    pointed = Signal(float, float)

    def __init__(self, title: str, sides: tuple[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._sides = sides
        self._shows_sides = True
        self._pixels: NDArray[np.uint8] | None = None
        self._image: QImage | None = None
        self._extent_mm = (1.0, 1.0)
        self._cross = QPointF(0.5, 0.5)
        self.setMinimumSize(*SMALLEST_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip(f"{title} slice at the mouse; click to go there")
        self.setCursor(Qt.CursorShape.CrossCursor)

    def sizeHint(self) -> QSize:
        """Preferred size."""
        return QSize(240, 150)

    def show_picture(self, pixels: NDArray[np.uint8], extent_mm: tuple[float, float], *, shows_sides: bool) -> None:
        """Show a picture (h, w, 3) of a place so wide and so high; `shows_sides` is false if its sides are unknown."""
        self._pixels = np.ascontiguousarray(pixels)  # kept, because the image does not copy it
        height, width = pixels.shape[:2]
        self._image = QImage(self._pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self._extent_mm, self._shows_sides = extent_mm, shows_sides
        self.update()

    def set_cross(self, across: float, down: float) -> None:
        """Move the cross-hair: fractions of width and height."""
        self._cross = QPointF(across, down)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._image = self._pixels = None
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the picture, the cross-hair and the letters."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(BACKGROUND))
        if self._image is None:
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        place = self._find_place()
        painter.drawImage(place, self._image)
        pen = QPen(QColor(CROSS_COLOUR))
        pen.setWidthF(0.0)
        painter.setPen(pen)
        x, y = place.left() + self._cross.x() * place.width(), place.top() + self._cross.y() * place.height()
        painter.drawLine(QPointF(x, place.top()), QPointF(x, place.bottom()))
        painter.drawLine(QPointF(place.left(), y), QPointF(place.right(), y))
        self._draw_texts(painter, place)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Say where the user clicked."""
        self._point(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Follow a drag."""
        self._point(event)

    def _point(self, event: QMouseEvent | None) -> None:
        if event is None or self._image is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        place, at = self._find_place(), event.position()
        across, down = (at.x() - place.left()) / place.width(), (at.y() - place.top()) / place.height()
        self.pointed.emit(min(max(across, 0.0), 1.0), min(max(down, 0.0), 1.0))

    def _find_place(self) -> QRectF:
        """Return where the picture lies: as large as it fits, with the proportions of the patient."""
        width_mm, height_mm = self._extent_mm
        scale = min(self.width() / width_mm, self.height() / height_mm)
        width, height = width_mm * scale, height_mm * scale
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)

    def _draw_texts(self, painter: QPainter, place: QRectF) -> None:
        painter.setPen(QColor(TEXT_COLOUR))
        inside = self.rect().adjusted(MARGIN_PX, MARGIN_PX, -MARGIN_PX, -MARGIN_PX)
        flags: Any = Qt.AlignmentFlag
        painter.drawText(inside, flags.AlignTop | flags.AlignLeft, self._title)
        if self._shows_sides:
            left, right = self._sides
            beside = place.toRect().adjusted(MARGIN_PX, MARGIN_PX, -MARGIN_PX, -MARGIN_PX)
            painter.drawText(beside, flags.AlignVCenter | flags.AlignLeft, left)
            painter.drawText(beside, flags.AlignVCenter | flags.AlignRight, right)
