"""The controls of a whole-slide prediction in the strip of the slide: one button with a menu, and how far it is."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QSizePolicy, QToolButton, QWidget

from napari_medseg.plugin.widgets import theme

TOOLTIP = (
    "Predict all tissue of the slide in the background. Your own predictions go first; it goes on after a restart. "
    "The labels are shown only: correct them in fields."
)
EXPORT_TOOLTIP = (
    "Write the labels of the whole slide: GeoJSON for QuPath, OME-Zarr, the density map, and each corrected field as "
    "an image with its labels. Corrected fields win over the prediction."
)
TEXT_WIDTH_PX = 60
TITLES = ("Predict slide", "Start", "Stop", "Continue", "Predicted")
AROUND_TITLE_PX = 36
"""Padding of the button, and its arrow."""


class WholeSlideRow(QWidget):
    """A button that starts and stops, its menu, and a text, which is cut off in a narrow window.

    Notes
    -----
    `pressed` is emitted by the button, `dropped` if a plan is not to be carried out, `density_toggled` with whether the
    density map is to be shown, and `export_requested` by the menu.
    """

    pressed = Signal()
    dropped = Signal()
    density_toggled = Signal(bool)
    export_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = theme.make_tool_button("Predict slide", TOOLTIP, "medseg-split")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.button.clicked.connect(self.pressed)
        menu = QMenu(self.button)
        menu.setToolTipsVisible(True)
        self.not_now = menu.addAction("Do not predict the slide")
        self.not_now.triggered.connect(lambda: self.dropped.emit())
        self.density = menu.addAction("Show the density map")
        self.density.setCheckable(True)
        self.density.setToolTip("How many objects a square millimetre holds, as predicted so far")
        self.density.toggled.connect(self.density_toggled)
        self.export = menu.addAction("Export the labels of the slide…")
        self.export.setToolTip(EXPORT_TOOLTIP)
        self.export.triggered.connect(lambda: self.export_requested.emit())
        self.button.setMenu(menu)
        longest = max(self.button.fontMetrics().horizontalAdvance(title) for title in TITLES)
        self.button.setMinimumWidth(longest + AROUND_TITLE_PX)
        self.text = QLabel()
        self.text.setObjectName("medseg-muted")
        self.text.setMinimumWidth(TEXT_WIDTH_PX)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # it widens no window
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button)
        row.addWidget(self.text, stretch=1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def tell(self, text: str) -> None:
        """Show a text; its tooltip shows all of it."""
        self.text.setText(text)
        self.text.setToolTip(text)

    def show_state(self, title: str, *, has_slide: bool, has_plan: bool, is_begun: bool, is_complete: bool) -> None:
        """Show what can be done.

        Parameters
        ----------
        title
            Of the button.
        has_slide, has_plan
            Whether a slide is open, and whether it is known what would be predicted.
        is_begun, is_complete
            Whether chunks are predicted, and whether all are.
        """
        self.setVisible(has_slide)
        self.button.setText(title)
        self.button.setToolTip("All tissue of the slide is predicted." if is_complete else TOOLTIP)
        self.not_now.setVisible(has_plan)
        self.density.setVisible(is_begun)
        self.export.setVisible(is_begun)
