"""A grey button that is pressed says why it is grey: what a person does is never answered by nothing."""

from qtpy.QtCore import QEvent
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QAbstractButton, QPushButton, QToolButton

from napari_medseg.plugin.widgets.notifications import show_notice


class SpeakingButton(QPushButton):
    """A push button that shows its tooltip as a message if it is pressed while it is grey.

    A double click presses it once: else its second half would accept the next case, which nobody has seen.
    """

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Take the second half of a double click for a part of the first."""
        if event is not None:
            event.accept()

    def event(self, event: QEvent) -> bool:
        """Show the reason, which is the tooltip of a grey button, at a press."""
        say_why_grey(self, event)
        return super().event(event)


class SpeakingToolButton(QToolButton):
    """A small button that does the same."""

    def event(self, event: QEvent) -> bool:
        """Show the reason at a press."""
        say_why_grey(self, event)
        return super().event(event)


def say_why_grey(button: QAbstractButton, event: QEvent) -> None:
    """Show the tooltip of a disabled button if it is pressed; for `QAbstractButton.event` of other classes."""
    if event.type() == QEvent.Type.MouseButtonPress and not button.isEnabled() and button.toolTip():
        show_notice(button.toolTip().rstrip(".") + ".")
