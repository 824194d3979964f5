"""A label that wraps its text and is never squeezed; Qt gives a wrapped text too little height where space is short."""

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QWidget


class WrappedLabel(QLabel):
    """Wraps its text; its minimum height is that of all lines at its width."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)

    def setText(self, text: str) -> None:
        """Show a text, and ask for the height that it needs."""
        super().setText(text)
        self._ask_for_height()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for the height that the text needs at another width."""
        super().resizeEvent(event)
        self._ask_for_height()

    def _ask_for_height(self) -> None:
        before = self.minimumHeight()
        self.setMinimumHeight(0)  # Qt counts it in what the text needs, so that a label would never become lower
        needed = max(0, self.heightForWidth(self.width()))
        self.setMinimumHeight(needed)
        if needed != before:
            self.updateGeometry()
