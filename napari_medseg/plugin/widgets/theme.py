"""Appearance of the dock: a style sheet with the colours of the napari theme, and functions that make buttons."""

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QPushButton, QToolButton, QWidget

from napari_medseg.plugin.widgets.speaking_button import SpeakingButton, SpeakingToolButton

DRAFT = "#E69F00"
BUTTON_HEIGHT_PX = 26

STYLE_TEMPLATE = """
QToolButton#medseg-section {{ background: transparent; border: none; font-weight: 600; padding: 1px 2px; }}
QToolButton#medseg-section:hover {{ color: {highlight_text}; }}
QLabel#medseg-muted {{ color: {muted}; }}
QLabel#medseg-title {{ font-weight: 600; }}
QLabel#medseg-verdict {{ font-weight: 600; }}
QLabel#medseg-verdict[decision="better"] {{ color: {good}; }}
QLabel#medseg-verdict[decision="worse"], QLabel#medseg-warning {{ color: {bad}; }}
QToolButton#medseg-tool {{ background-color: {primary}; border-radius: 2px; min-height: 18px; padding: 3px 6px; }}
QToolButton#medseg-tool:hover {{ background-color: {highlight}; }}
QToolButton#medseg-tool:checked {{ background-color: {current}; }}
QToolButton#medseg-tool:disabled {{ background-color: {foreground}; }}
QToolButton#medseg-tool::menu-indicator {{ image: none; width: 0px; }}
QToolButton#medseg-split {{ background-color: {primary}; border-radius: 2px; padding: 3px 20px 3px 8px; }}
QToolButton#medseg-split:hover:enabled {{ background-color: {highlight}; }}
QToolButton#medseg-split:disabled {{ background-color: {foreground}; }}
QToolButton#medseg-split::menu-button {{ border: none; width: 16px; }}
QToolButton#medseg-icon {{ background: transparent; border: 1px solid transparent; border-radius: 3px; padding: 1px; }}
QToolButton#medseg-icon:hover:enabled {{ background-color: {highlight}; }}
QToolButton#medseg-icon:checked {{ background-color: {current}; }}
QToolButton#medseg-icon::menu-indicator {{ image: none; width: 0px; }}
QToolButton#medseg-badge {{
  background: transparent; border: 1px solid {warning}; border-radius: 6px; padding: 0 5px; margin-left: 4px;
}}
QToolButton#medseg-badge:hover {{ background-color: {highlight}; }}
QToolButton#medseg-plain {{ background: transparent; color: {muted}; padding: 1px 4px; }}
QToolButton#medseg-plain:hover {{ color: {text}; }}
QToolButton#medseg-plain::menu-indicator {{ image: none; width: 0px; }}
QPushButton, QComboBox {{ min-height: 18px; }}
QPushButton#medseg-label:checked {{ background-color: {primary}; border: 1px solid {current}; }}
QPushButton#medseg-label[paints="true"]:checked {{ background-color: {current}; }}
QPushButton[main="true"]:enabled {{ background-color: {current}; font-weight: 600; }}
QPushButton[main="true"]:enabled:hover {{ background-color: {highlight}; }}
QPushButton:focus, QToolButton:focus, QComboBox:focus, QCheckBox:focus {{ border: 1px solid {current}; }}
QProgressBar {{ background-color: {primary}; border: none; border-radius: 2px; text-align: center; min-height: 24px; }}
QProgressBar::chunk {{ background-color: {current}; border-radius: 2px; }}
QFrame#medseg-question {{ background-color: {foreground}; border-left: 3px solid {warning}; border-radius: 2px; }}
QFrame#medseg-question QLabel {{ background: transparent; }}
QFrame#medseg-messages {{ background-color: {foreground}; border-left: 3px solid {current}; border-radius: 2px; }}
QFrame#medseg-messages[kind="error"] {{ border-left-color: {bad}; }}
QFrame#medseg-messages[kind="result"] {{ border-left-color: {good}; }}
QFrame#medseg-messages QLabel {{ background: transparent; }}
#medseg-scroll > #qt_scrollarea_vcontainer > QScrollBar {{ width: 8px; margin: 0; background: transparent; }}
#medseg-scroll > #qt_scrollarea_vcontainer > QScrollBar::handle {{
  background: {primary}; border-radius: 3px; margin: 1px; min-height: 24px;
}}
#medseg-scroll > #qt_scrollarea_vcontainer > QScrollBar::handle:hover {{ background: {highlight}; }}
#medseg-scroll > #qt_scrollarea_vcontainer > QScrollBar::add-line,
#medseg-scroll > #qt_scrollarea_vcontainer > QScrollBar::sub-line {{ height: 0; }}
QTableView {{ background-color: {foreground}; gridline-color: {primary}; border-radius: 2px; }}
QTableView::item:selected {{ background-color: {current}; color: {text}; }}
QHeaderView::section {{ background-color: {primary}; padding: 2px 4px; border: none; }}
QListView {{ background-color: {foreground}; }}
"""


def make_style_sheet(theme_name: str) -> str:
    """Return the style sheet of the dock for a napari theme, by name."""
    theme = get_theme(theme_name)
    names = ("background", "foreground", "primary", "highlight", "text", "warning", "current")
    colours = {name: getattr(theme, name).as_hex(format="long") for name in names}
    muted = "#A9ADB5" if is_dark(theme_name) else "#55585E"
    states = get_state_colours(theme_name)
    return STYLE_TEMPLATE.format(**colours, **states, muted=muted, highlight_text=muted)


def get_state_colours(theme_name: str) -> dict[str, str]:
    """Return the colours of texts that say something good, bad, or a draft, as hex: with contrast on this theme."""
    if is_dark(theme_name):
        return {"good": "#2FBF94", "bad": "#F08A3C", "draft": DRAFT}
    return {"good": "#00694D", "bad": "#A84600", "draft": "#7A5400"}


def is_dark(theme_name: str) -> bool:
    """Whether the theme is dark."""
    return get_theme(theme_name).type == "dark"


def get_curve_colours(theme_name: str) -> tuple[str, str]:
    """Return the colours of the Dice and the loss curve, as hex: Okabe-Ito colours with contrast on this theme."""
    return ("#56B4E9", "#E69F00") if is_dark(theme_name) else ("#0072B2", "#B25000")


def get_plot_background(theme_name: str) -> str:
    """Return the background colour of a plot, as hex."""
    return get_theme(theme_name).foreground.as_hex(format="long")


def get_text_colour(theme_name: str) -> str:
    """Return the text colour, as hex."""
    return get_theme(theme_name).text.as_hex(format="long")


def escape_mnemonic(text: str) -> str:
    """Return a text for a button or menu in which an ampersand, as in H&E, is shown."""
    return text.replace("&", "&&")


def make_button(text: str, tooltip: str, *, main: bool = False) -> QPushButton:
    """Make a push button. A click does not take the keyboard focus from the canvas."""
    made = SpeakingButton(text)
    made.setToolTip(tooltip)
    made.setProperty("main", main)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setMinimumHeight(BUTTON_HEIGHT_PX)
    return made


def set_main(button: QPushButton, is_main: bool) -> None:
    """Make a button the main one of its row, or one of the others."""
    set_style_property(button, "main", is_main)


def set_style_property(widget: QWidget, name: str, value: bool | str) -> None:
    """Set a property that the style sheet asks for; the widget is drawn again if it changes."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def make_tool_button(text: str, tooltip: str, object_name: str = "medseg-tool") -> QToolButton:
    """Make a small button. `object_name` selects its style; ``medseg-plain`` has no background."""
    made = SpeakingToolButton()
    made.setObjectName(object_name)
    made.setText(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return made


class CompactComboBox(QComboBox):
    """A narrow combo box that does not change when the mouse wheel is used over it."""

    def __init__(self, tooltip: str = "") -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Ignore the wheel unless the combo box has the keyboard focus."""
        if self.hasFocus():
            super().wheelEvent(event)
        elif event is not None:
            event.ignore()


def set_enabled(widget: QWidget, possible: bool, tooltip: str, why_not: str) -> None:
    """Enable a widget, or disable it and show the reason as its tooltip."""
    widget.setEnabled(possible)
    widget.setToolTip(tooltip if possible else why_not)
