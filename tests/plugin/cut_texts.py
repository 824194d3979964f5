"""Finds texts that a person cannot read in full: cut off, elided, or outside of what is shown."""

from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QComboBox,
    QLabel,
    QProgressBar,
    QStyle,
    QStyleOptionComboBox,
    QWidget,
)
from superqt import QElidingLabel

ROUNDING_PX = 1


def find_cut_texts(top: QWidget) -> list[str]:
    """Return a line for each visible label, button, check box and combo box in a widget whose text is cut."""
    return [problem for widget in top.findChildren(QWidget) if widget.isVisible() and (problem := _describe(widget))]


def _describe(widget: QWidget) -> str:
    text, why = _get_text(widget), ""
    if not text:
        return ""
    if isinstance(widget, QElidingLabel):
        shown = widget.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, widget.contentsRect().width())
        why = f"elided to {shown!r}" * (shown != text and not widget.wordWrap())
    elif isinstance(widget, QLabel) and widget.wordWrap():
        needed = widget.heightForWidth(widget.width())
        why = f"{widget.height()} of {needed} px high" * (widget.height() < needed - ROUNDING_PX)
    elif isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        field = widget.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, widget
        )
        needed = widget.fontMetrics().horizontalAdvance(text)
        why = f"{field.width()} of {needed} px wide" * (field.width() < needed - ROUNDING_PX)
    else:
        needed = widget.minimumSizeHint().expandedTo(widget.sizeHint())
        is_cut = widget.width() < needed.width() - ROUNDING_PX or widget.height() < needed.height() - 6
        why = f"{widget.width()} x {widget.height()} of {needed.width()} x {needed.height()} px" * is_cut
    why = why or _find_clipping(widget)
    return f"{type(widget).__name__} {text!r}: {why}" if why else ""


def _get_text(widget: QWidget) -> str:
    if isinstance(widget, QComboBox):
        return widget.currentText()
    if isinstance(widget, QLabel | QAbstractButton):
        return widget.text()
    return widget.text() if isinstance(widget, QProgressBar) else ""


def _find_clipping(widget: QWidget) -> str:
    """Say which ancestor shows only a part of the width; below the end of a scroll area a person can scroll."""
    parent, scrolls = widget.parentWidget(), False
    while parent is not None and not widget.isWindow():
        place = QRect(widget.mapTo(parent, QPoint(0, 0)), widget.size())
        if place.left() < -ROUNDING_PX or place.right() > parent.width() + ROUNDING_PX:
            return f"{place.left()} to {place.right()} px of a {type(parent).__name__} of {parent.width()} px"
        scrolls |= isinstance(parent.parentWidget(), QAbstractScrollArea)
        if not scrolls and place.bottom() > parent.height() + ROUNDING_PX:
            return f"down to {place.bottom()} px of a {type(parent).__name__} of {parent.height()} px"
        if parent.isWindow():
            break
        parent = parent.parentWidget()
    return ""
