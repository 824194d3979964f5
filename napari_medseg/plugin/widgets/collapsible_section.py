"""A collapsible section of the dock: a header with title and status line, and a body."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QElidingLabel

SPACING_PX = 4


class CollapsibleSection(QWidget):
    """Header and body, one below the other; a click on the header hides or shows the body.

    Parameters
    ----------
    title
        Title; shown in capital letters.
    parent
        Qt parent.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._toggle = QToolButton(self)
        self._toggle.setObjectName("medseg-section")
        self._toggle.setText(title.upper())
        self._toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._toggle.setArrowType(Qt.ArrowType.DownArrow)
        self._toggle.setCheckable(True)
        self._toggle.setChecked(True)
        self._toggle.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._toggle.setToolTip(f"Fold or unfold {title.lower()}")
        self._toggle.toggled.connect(self._fold)
        self._status = QElidingLabel(self)
        self._status.setMinimumWidth(20)
        self._status.setIndent(0)  # the text uses the whole width; an indent would cut off the first letter
        self._status.setObjectName("medseg-muted")
        self._status.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._body = QWidget(self)
        self._content = QVBoxLayout(self._body)
        self._content.setContentsMargins(2, 0, 2, 0)
        self._content.setSpacing(SPACING_PX)
        self._header = QHBoxLayout()
        self._header.setContentsMargins(0, 0, 0, 0)
        self._header.addWidget(self._toggle)
        self._header.addWidget(self._status, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(self._header)
        layout.addWidget(self._body)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def fold(self, folded: bool) -> None:
        """Fold or unfold."""
        self._toggle.setChecked(not folded)

    def set_status(self, text: str, tooltip: str = "") -> None:
        """Set the status line at the right of the header; it stays visible when the section is folded."""
        self._status.setText(text)
        self._status.setToolTip(tooltip)

    def add_to_header(self, widget: QWidget) -> None:
        """Add a widget at the right end of the header; it stays visible when the section is folded."""
        self._header.addWidget(widget)

    def add_row(self, *widgets: QWidget, stretch: int = 0) -> None:
        """Add widgets side by side; the one with index `stretch` takes the remaining space."""
        self.add(make_row(*widgets, stretch=stretch))

    def add(self, widget: QWidget) -> None:
        """Add a widget that uses the whole width."""
        self._content.addWidget(widget)

    def insert_first(self, widget: QWidget) -> None:
        """Add a widget that uses the whole width above all others."""
        self._content.insertWidget(0, widget)

    def _fold(self, shown: bool) -> None:
        self._toggle.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self._body.setVisible(shown)


def make_row(*widgets: QWidget, stretch: int = 0) -> QWidget:
    """Lay widgets side by side; the one with index `stretch` takes the remaining space."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING_PX)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, stretch=int(index == stretch))
    return row


def make_vertical_scroll_area(content: QWidget) -> QScrollArea:
    """Put sections into an area that scrolls up and down only, with a thin bar that takes little of their width."""
    area = QScrollArea()
    area.setObjectName("medseg-scroll")
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(content)
    return area


def stack_widgets(page: QWidget, *widgets: QWidget) -> None:
    """Lay widgets of a page one below the other."""
    layout = QVBoxLayout(page)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING_PX)
    for widget in widgets:
        layout.addWidget(widget)


class PageStack(QWidget):
    """Several pages of which one is shown; hidden pages take no space."""

    def __init__(self, *pages: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pages = pages
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for page in pages:
            layout.addWidget(page)
        self.show_page(pages[0])

    def show_page(self, shown: QWidget) -> None:
        """Show this page and hide the others."""
        for page in self._pages:
            page.setVisible(page is shown)
