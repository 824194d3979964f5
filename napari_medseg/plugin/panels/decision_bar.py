"""The lower end of the dock: the buttons that end a review, and above them what is asked and said meanwhile."""

from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget


class DecisionBar(QWidget):
    """The buttons that end a review, at the lower end of the dock, and above them what is asked and said about it.

    Texts that come and go while a person works grow upwards, so that no button moves under the mouse.
    """

    def __init__(self, prompt: QWidget, buttons: QWidget) -> None:
        super().__init__()
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(6, 2, 6, 2)
        self._rows.setSpacing(3)
        self._rows.addWidget(prompt)
        self._rows.addWidget(buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def insert_first(self, widget: QWidget) -> None:
        """Add a widget above all others."""
        self._rows.insertWidget(0, widget)
