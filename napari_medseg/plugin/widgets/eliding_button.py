"""A push button for a name of any length, as a person gives one to a label: it never widens the dock."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QPushButton, QSizePolicy, QStyle, QStyleOptionButton, QStylePainter, QWidget

MIN_WIDTH_PX = 110


class ElidingButton(QPushButton):
    """Ends a text that does not fit with an ellipsis; the whole of it belongs in the tooltip."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)  # else its hint is its minimum

    def minimumSizeHint(self) -> QSize:
        """Return a size that a long text does not enlarge."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), MIN_WIDTH_PX), hint.height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the button with as much of its text as fits."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        inside = self.style().subElementRect(QStyle.SubElement.SE_PushButtonContents, option, self)
        option.text = self.fontMetrics().elidedText(option.text, Qt.TextElideMode.ElideRight, inside.width())
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)
