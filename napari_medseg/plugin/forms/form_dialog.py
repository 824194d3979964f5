"""A small non-modal window for a magicgui form; it shows errors in the values."""

from magicgui.widgets import FunctionGui
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel

MIN_WIDTH_PX = 400


class FormDialog(QDialog):
    """Shows a form with a button that submits it.

    Parameters
    ----------
    title, submit_text
        Texts of the window title and of the main button.
    form
        Made by `magicgui` with ``call_button=False``. The button calls it with its values; if the function raises
        `MedSegError`, the message is shown and the window stays open.
    parent
        Qt parent.
    """

    def __init__(self, title: str, submit_text: str, form: FunctionGui, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.setMinimumWidth(MIN_WIDTH_PX)
        self.form = form
        self._problem = make_problem_label()
        self.submit_button = theme.make_button(submit_text, "", main=True)
        cancel = theme.make_button("Cancel", "Close this window and change nothing")
        layout = QVBoxLayout(self)
        layout.addWidget(form.native)
        layout.addWidget(self._problem)
        layout.addStretch(1)
        layout.addWidget(make_row(QLabel(""), cancel, self.submit_button, stretch=0))
        self.submit_button.clicked.connect(self.accept)
        cancel.clicked.connect(self.reject)

    @property
    def problem(self) -> str:
        """The error message of the last submission; empty if there was no error."""
        return self._problem.text()

    def accept(self) -> None:
        """Submit the form; close the window if this succeeds."""
        try:
            with translate_errors():
                self.form()
        except MedSegError as error:
            self._problem.setText(str(error))
        else:
            super().accept()


def make_problem_label() -> QLabel:
    """Make the label that shows the error of a form; its text can be selected and copied."""
    label = WrappedLabel()
    label.setObjectName("medseg-verdict")
    label.setProperty("good", "false")
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
