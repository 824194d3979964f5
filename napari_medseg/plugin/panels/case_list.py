"""The list of cases: thumbnail, name, state, uncertainty and hold-out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QKeyEvent, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTreeWidget, QTreeWidgetItem, QWidget

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.image import Image
from napari_medseg.core.records import UNLIKE
from napari_medseg.plugin.layers import compute_contrast_limits
from napari_medseg.plugin.widgets import theme
from napari_medseg.workflow.cases import CaseRow

HEIGHT_PX = 150
THUMBNAIL_PX = 28
STATE_MARKS = {"new": "·", "predicted": "○", "draft": "✎", "accepted": "✓", "rejected": "✗"}
UNSURE_TOOLTIP = (
    "Uncertainty of the model on this case. Images that are unlike those it learnt from come first, then the cases "
    "with the highest uncertainty per minute of work"
)
STATE_COLOURS = {"accepted": theme.GOOD, "rejected": theme.BAD, "draft": theme.DRAFT}


class CaseList(QTreeWidget):
    """Table with one row per case; a click emits `chosen` with the case.

    Notes
    -----
    `hold_out_requested` carries a group and whether to hold it out; `groups_requested` the case whose group should be
    changed, or `None` for the groups of all cases; `commands_requested` a case to use for another task, and
    `remove_requested` a case to remove from the list.
    """

    chosen = Signal(object)
    hold_out_requested = Signal(str, bool)
    groups_requested = Signal(object)
    commands_requested = Signal(object)
    remove_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[CaseRow] = []
        self._thumbnails: dict[int, QIcon] = {}
        self.setFixedHeight(HEIGHT_PX)
        self.setHeaderLabels(["case", "state", "unsure", ""])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.header().setStretchLastSection(False)
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.itemClicked.connect(lambda item: self.chosen.emit(self._get_row(item).case))
        self.customContextMenuRequested.connect(self._on_menu)

    def show_rows(self, rows: Sequence[CaseRow], open_case_id: int | None) -> None:
        """Show these cases and select the open one."""
        before: list[CaseRow | None] = [*self._rows]
        if [row.case.id for row in rows] != [row.case.id for row in self._rows]:
            self.clear()
            self.addTopLevelItems([QTreeWidgetItem() for _ in rows])
            before = [None] * len(rows)
        self._rows = list(rows)
        for index, row in enumerate(rows):
            if row != before[index]:  # a refresh with hundreds of cases must not hold up the window
                self._fill_item(self.topLevelItem(index), row)
            if row.case.id == open_case_id:
                self.setCurrentItem(self.topLevelItem(index))

    def set_thumbnail(self, case_id: int, grey: NDArray[np.uint8]) -> None:
        """Show a thumbnail for a case: uint8 grey values, shape (height, width)."""
        pixels = np.ascontiguousarray(grey)
        picture = QImage(
            pixels.data, pixels.shape[1], pixels.shape[0], pixels.shape[1], QImage.Format.Format_Grayscale8
        )
        self._thumbnails[case_id] = QIcon(QPixmap.fromImage(picture.copy()))
        for index, row in enumerate(self._rows):
            if row.case.id == case_id:
                self.topLevelItem(index).setIcon(0, self._thumbnails[case_id])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Remove the selected case with Delete."""
        if event.key() == Qt.Key.Key_Delete and (item := self.currentItem()) is not None:
            self.remove_requested.emit(self._get_row(item).case)
        else:
            super().keyPressEvent(event)

    def _fill_item(self, item: QTreeWidgetItem, row: CaseRow) -> None:
        held = "H" if row.case.held_out else ""
        unsure = "" if row.uncertainty is None else f"{row.uncertainty:.2f}{' !' if row.is_unlike else ''}"
        for column, text in enumerate((row.case.name, f"{STATE_MARKS[row.state]} {row.state}", unsure, held)):
            if item.text(column) != text:
                item.setText(column, text)
        colour = QColor(STATE_COLOURS[row.state]) if row.state in STATE_COLOURS else None  # `None`: that of the theme
        item.setData(1, Qt.ItemDataRole.ForegroundRole, colour)
        judge = "held out: used to evaluate models, never for training" if row.case.held_out else ""
        item.setToolTip(0, "\n".join((row.case.name, row.case.file_name, judge)).strip())
        item.setToolTip(3, judge)
        item.setData(2, Qt.ItemDataRole.ForegroundRole, QColor(theme.BAD) if row.is_unlike else None)
        item.setToolTip(2, f"! {UNLIKE}.\n{UNSURE_TOOLTIP}" if row.is_unlike else UNSURE_TOOLTIP)
        if row.case.id in self._thumbnails:
            item.setIcon(0, self._thumbnails[row.case.id])

    def _get_row(self, item: QTreeWidgetItem) -> CaseRow:
        return self._rows[self.indexOfTopLevelItem(item)]

    def _on_menu(self, place: QPoint) -> None:
        if (item := self.itemAt(place)) is None:
            return
        case = self._get_row(item).case
        menu = QMenu(self)
        label = get_group_label(case.group)
        text = f"Use {label} for training" if case.held_out else f"Hold out {label} for evaluation"
        menu.addAction(text, lambda: self.hold_out_requested.emit(case.group, not case.held_out))
        menu.addAction(f"Patient of {case.name}...", lambda: self.groups_requested.emit(case))
        menu.addAction("Patients of all images...", lambda: self.groups_requested.emit(None))
        menu.addSeparator()
        menu.addAction("Use for another task…", lambda: self.commands_requested.emit(case))
        menu.addAction("Remove from the list\tDel", lambda: self.remove_requested.emit(case))
        menu.exec(self.viewport().mapToGlobal(place))


MAX_THUMBNAIL_PX = 56


def make_thumbnail(image: Image) -> NDArray[np.uint8]:
    """Return the middle plane at display contrast: uint8, shape (height, width), at most 56 px per side."""
    plane = image.pixels[image.pixels.shape[0] // 2] if image.axes.startswith("Z") else image.pixels
    step = max(1, -(-max(plane.shape[:2]) // MAX_THUMBNAIL_PX))
    small = plane[::step, ::step].astype(np.float32)
    if image.axes.endswith("C"):
        small = small.mean(axis=-1)
    low, high = compute_contrast_limits(image)
    return (np.clip((small - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)
