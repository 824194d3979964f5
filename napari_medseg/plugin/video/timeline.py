"""The time axis of a video: where it is, which frames are chosen and accepted, what is predicted, and a range."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_medseg.core.video.frame_images import format_time
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.plugin.widgets import theme

HEIGHT_PX = 34
MARGIN_PX = 8
NEAR_PX = 5
STATE_TITLES = {
    "new": "chosen",
    "predicted": "predicted",
    "draft": "draft",
    "accepted": "accepted",
    "rejected": "rejected",
}


@dataclass(frozen=True)
class Mark:
    """A chosen frame and the state of its case."""

    number: int
    state: str
    title: str = ""


class Timeline(QWidget):
    """Shows the time axis; a click or a drag goes to a frame, and a drag with Shift marks a range.

    Notes
    -----
    `moved` carries a frame number, `mark_clicked` that of a mark; `range_changed` is emitted for another range.
    """

    moved = Signal(int)
    mark_clicked = Signal(int)
    range_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._index: FrameIndex | None = None
        self._number = 0
        self._marks: list[Mark] = []
        self._predicted: NDArray[np.int64] = np.zeros(0, np.int64)
        self._theme = "dark"
        self._begin: int | None = None
        self.range: tuple[int, int] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setToolTip("Click or drag to go to a time; Shift and drag marks a range; a click on a mark opens its case")

    def sizeHint(self) -> QSize:
        """Preferred size."""
        return QSize(400, HEIGHT_PX)

    def show_video(self, index: FrameIndex) -> None:
        """Show the axis of a video, without marks."""
        self._index, self._number, self.range = index, 0, None
        self._marks, self._predicted = [], np.zeros(0, np.int64)
        self.update()

    def set_theme(self, name: str) -> None:
        """Use the colours of a napari theme."""
        self._theme = name
        self.update()

    def set_number(self, number: int) -> None:
        """Show where the video is."""
        if number != self._number:
            self._number = number
            self.update()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """Show the chosen frames."""
        self._marks = list(marks)
        self.update()

    def set_predicted(self, numbers: NDArray[np.int64]) -> None:
        """Show which frames are predicted."""
        self._predicted = numbers
        self.update()

    def set_range(self, marked: tuple[int, int] | None) -> None:
        """Mark a range, or none."""
        self.range = marked
        self.range_changed.emit()
        self.update()

    def find_mark(self, x: float) -> Mark | None:
        """Return the mark at a place, in pixels from the left."""
        near = [(abs(self._place(mark.number) - x), place) for place, mark in enumerate(self._marks)]
        nearest = min(near, default=(NEAR_PX + 1, 0))
        return self._marks[nearest[1]] if nearest[0] <= NEAR_PX else None

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to a frame, open the case of a mark, or begin a range."""
        if event is None or self._index is None or event.button() != Qt.MouseButton.LeftButton:
            return
        x = event.position().x()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._begin = self._find_number(x)
            self.set_range(None)
        elif (mark := self.find_mark(x)) is not None and event.position().y() > HEIGHT_PX / 2:
            self.mark_clicked.emit(mark.number)
        else:
            self.moved.emit(self._find_number(x))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Follow a drag; name what is under the mouse."""
        if event is None or self._index is None:
            return
        number = self._find_number(event.position().x())
        if not event.buttons() & Qt.MouseButton.LeftButton:
            mark = self.find_mark(event.position().x())
            at = number if mark is None else mark.number
            what = f"frame {at:,}, {format_time(self._index.get_time(at))}"
            if mark is not None:
                what += f": {STATE_TITLES.get(mark.state, mark.state)}, {mark.title}"
            QToolTip.showText(event.globalPosition().toPoint(), what, self)
        elif self._begin is not None:
            low, high = sorted((self._begin, number))
            self.set_range((low, high) if high > low else None)
        else:
            self.moved.emit(number)

    def mouseReleaseEvent(self, _event: QMouseEvent | None) -> None:
        """End a drag."""
        self._begin = None

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the axis, the range, what is predicted, the marks and the place."""
        if self._index is None:
            return
        colours = theme.get_state_colours(self._theme)
        text = QColor(theme.get_text_colour(self._theme))
        faint = QColor(text)
        faint.setAlpha(60)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(faint)
        painter.drawRoundedRect(QRectF(MARGIN_PX, 8, self.width() - 2 * MARGIN_PX, 6), 3, 3)
        if self.range is not None:
            marked = QColor(colours["draft"])
            marked.setAlpha(90)
            painter.setBrush(marked)
            left, right = map(self._place, self.range)
            painter.drawRect(QRectF(left, 2, max(2.0, right - left), 18))
        painter.setBrush(QColor("#56B4E9"))
        for left in np.unique(np.round(self._places(self._predicted))):
            painter.drawRect(QRectF(left - 0.5, 10, 2, 2))
        for mark in self._marks:
            self._paint_mark(painter, mark, colours, text)
        painter.setBrush(text)
        at = self._place(self._number)
        painter.drawRect(QRectF(at - 1, 2, 2, 18))
        painter.drawEllipse(QPointF(at, 11), 5, 5)
        painter.end()

    def _paint_mark(self, painter: QPainter, mark: Mark, colours: dict[str, str], text: QColor) -> None:
        states = {"accepted": colours["good"], "draft": colours["draft"], "rejected": colours["bad"]}
        painter.setBrush(QColor(states.get(mark.state, "#56B4E9" if mark.state == "predicted" else text)))
        at = self._place(mark.number)
        painter.drawPolygon(QPolygonF([QPointF(at, 20), QPointF(at - 4.5, 30), QPointF(at + 4.5, 30)]))

    def _place(self, number: int) -> float:
        return float(self._places(np.array([number]))[0])

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        assert self._index is not None
        pts = self._index.pts
        span = max(1, int(pts[-1]) - int(pts[0]))
        share = (pts[numbers] - int(pts[0])) / span
        return np.asarray(MARGIN_PX + share * (self.width() - 2 * MARGIN_PX), np.float64)

    def _find_number(self, x: float) -> int:
        assert self._index is not None
        share = min(1.0, max(0.0, (x - MARGIN_PX) / max(1, self.width() - 2 * MARGIN_PX)))
        return self._index.find_at_time(share * self._index.get_time(self._index.n_frames - 1))
