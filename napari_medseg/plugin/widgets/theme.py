"""The look of the dock in napari's themes: a style sheet made of the theme's own colours, and how buttons are made."""

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QPushButton, QToolButton, QWidget

GOOD = "#009E73"  # Okabe-Ito, safe for colour-blind eyes
BAD = "#D55E00"
DRAFT = "#E69F00"
BUTTON_HEIGHT_PX = 26

STYLE_TEMPLATE = """
QToolButton#medseg-section {{ background: transparent; border: none; font-weight: 600; padding: 1px 2px; }}
QToolButton#medseg-section:hover {{ color: {highlight_text}; }}
QLabel#medseg-muted {{ color: {muted}; }}
QLabel#medseg-title {{ font-weight: 600; }}
QLabel#medseg-verdict {{ font-weight: 600; }}
QLabel#medseg-verdict[decision="better"] {{ color: {good}; }}
QLabel#medseg-verdict[decision="worse"] {{ color: {bad}; }}
QToolButton#medseg-tool {{ background-color: {primary}; border-radius: 2px; min-height: 18px; padding: 3px 6px; }}
QToolButton#medseg-tool:hover {{ background-color: {highlight}; }}
QToolButton#medseg-tool:checked {{ background-color: {current}; }}
QToolButton#medseg-tool:disabled {{ background-color: {foreground}; }}
QToolButton#medseg-tool::menu-indicator {{ image: none; width: 0px; }}
QToolButton#medseg-plain {{ background: transparent; color: {muted}; padding: 1px 4px; }}
QToolButton#medseg-plain:hover {{ color: {text}; }}
QToolButton#medseg-plain::menu-indicator {{ image: none; width: 0px; }}
QPushButton, QComboBox {{ min-height: 18px; }}
QPushButton[main="true"]:enabled {{ background-color: {current}; font-weight: 600; }}
QPushButton[main="true"]:enabled:hover {{ background-color: {highlight}; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QCheckBox:focus {{ border: 1px solid {current}; }}
QProgressBar {{ background-color: {primary}; border: none; border-radius: 2px; text-align: center; min-height: 24px; }}
QProgressBar::chunk {{ background-color: {current}; border-radius: 2px; }}
QFrame#medseg-question {{ background-color: {foreground}; border-left: 3px solid {warning}; border-radius: 2px; }}
QFrame#medseg-question QLabel {{ background: transparent; }}
QTableView {{ background-color: {foreground}; gridline-color: {primary}; border-radius: 2px; }}
QTableView::item:selected {{ background-color: {current}; color: {text}; }}
QHeaderView::section {{ background-color: {primary}; padding: 2px 4px; border: none; }}
QListView {{ background-color: {foreground}; }}
"""


def make_style_sheet(theme_name: str) -> str:
    """Style sheet of the dock for one of napari's themes, by its name."""
    theme = get_theme(theme_name)
    names = ("background", "foreground", "primary", "highlight", "text", "warning", "current")
    colours = {name: getattr(theme, name).as_hex(format="long") for name in names}
    muted = "#A9ADB5" if is_dark(theme_name) else "#55585E"
    good = "#2FBF94" if is_dark(theme_name) else "#00694D"
    bad = "#F08A3C" if is_dark(theme_name) else "#A84600"
    return STYLE_TEMPLATE.format(**colours, muted=muted, good=good, bad=bad, highlight_text=muted)


def is_dark(theme_name: str) -> bool:
    """Whether the theme is a dark one."""
    return get_theme(theme_name).type == "dark"


def get_curve_colours(theme_name: str) -> tuple[str, str]:
    """Colours of the Dice and of the loss curve, as hex: those of Okabe-Ito that stand out on this theme."""
    return ("#56B4E9", "#E69F00") if is_dark(theme_name) else ("#0072B2", "#B25000")


def get_plot_background(theme_name: str) -> str:
    """Colour behind a plot, as hex."""
    return get_theme(theme_name).foreground.as_hex(format="long")


def get_text_colour(theme_name: str) -> str:
    """Colour of text, as hex."""
    return get_theme(theme_name).text.as_hex(format="long")


def make_button(text: str, tooltip: str, *, main: bool = False) -> QPushButton:
    """Make a push button that leaves the keyboard to the canvas when it is clicked."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setProperty("main", main)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setMinimumHeight(BUTTON_HEIGHT_PX)
    return made


def make_tool_button(text: str, tooltip: str, object_name: str = "medseg-tool") -> QToolButton:
    """Make a small button; `look` is its name in the style sheet, ``medseg-plain`` for one without a ground."""
    made = QToolButton()
    made.setObjectName(object_name)
    made.setText(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made


class CompactComboBox(QComboBox):
    """A list to choose from that takes little width, and that scrolling over it does not change."""

    def __init__(self, tooltip: str = "") -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leave the wheel to what lies below, unless the list was chosen by the keyboard."""
        if self.hasFocus():
            super().wheelEvent(event)
        elif event is not None:
            event.ignore()


def set_enabled(widget: QWidget, possible: bool, tooltip: str, why_not: str) -> None:
    """Enable a widget, or grey it out with the reason as its tooltip."""
    widget.setEnabled(possible)
    widget.setToolTip(tooltip if possible else why_not)
