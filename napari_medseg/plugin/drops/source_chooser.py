"""Asks which images of a study, an archive or a file of several are opened: a list with pictures, dates and counts."""

from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QDialog, QLabel, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_medseg.core.containers.choice import summarise
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.containers.thumbnails import make_source_thumbnail
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.worker import Worker

SIZE = QSize(640, 460)
PICTURE_PX = 56
MAX_PICTURES = 100
COLUMNS = ("Series", "Date", "Slices")


class SourceChooser(QDialog):
    """A window that lists images; Enter opens the selected ones, Ctrl+A selects all.

    Parameters
    ----------
    sources
        What was found.
    choose
        Called with the images to open; not called if the window is closed.
    parent
        Qt parent.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        choose: Callable[[Sequence[ImageSource]], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Which images?")
        self.resize(SIZE)
        self._sources, self._choose = list(sources), choose
        self.tree = self._make_tree()
        self.open_button = theme.make_button("Open selected", "Open the selected images, one case each", main=True)
        self.all_button = theme.make_button(f"Open all {len(sources):,}", "Open every image, one case each")
        cancel = theme.make_button("Cancel", "Open nothing")
        wholes = {source.whole for source in sources}
        what = f"{wholes.pop()} holds" if len(wholes) == 1 and "" not in wholes else "There are"
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"{what} {len(sources):,} images. Which of them do you want to open?"))
        layout.addWidget(self.tree)
        layout.addWidget(make_row(QLabel(""), cancel, self.all_button, self.open_button, stretch=0))
        self.open_button.setDefault(True)
        self.open_button.clicked.connect(self.accept)
        self.all_button.clicked.connect(self.open_all)
        cancel.clicked.connect(self.reject)
        self.tree.itemActivated.connect(self.accept)
        self.tree.itemSelectionChanged.connect(self._show_selection)
        self._select_largest()
        self._worker = Worker(_make_pictures(self._sources), self)
        self._worker.yielded.connect(self._show_picture)
        self.finished.connect(self._worker.stop)
        self._worker.start()

    @property
    def selected(self) -> list[ImageSource]:
        """The images that are selected, in the order of the list."""
        return [source for row, source in enumerate(self._sources) if self._get_item(row).isSelected()]

    def accept(self) -> None:
        """Open the selected images."""
        if chosen := self.selected:
            super().accept()
            self._choose(chosen)

    def open_all(self) -> None:
        """Open all images."""
        super().accept()
        self._choose(self._sources)

    def _make_tree(self) -> QTreeWidget:
        tree = QTreeWidget()
        tree.setHeaderLabels(list(COLUMNS))
        tree.setRootIsDecorated(False)
        tree.setUniformRowHeights(True)
        tree.setIconSize(QSize(PICTURE_PX, PICTURE_PX))
        tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        empty = QPixmap(PICTURE_PX, PICTURE_PX)
        empty.fill(Qt.GlobalColor.transparent)
        for source in self._sources:
            said = summarise(source)
            name = "\n".join(filter(None, (" ".join(filter(None, (said.modality, said.title))), said.study)))
            count = f"{said.count} ({said.size})" if said.count else ""
            item = QTreeWidgetItem([name, said.date, count])
            item.setIcon(0, QIcon(empty))
            item.setToolTip(0, str(source.paths[0]) if source.paths else source.name)
            tree.addTopLevelItem(item)
        tree.setColumnWidth(0, SIZE.width() - 240)
        return tree

    def _get_item(self, row: int) -> QTreeWidgetItem:
        item = self.tree.topLevelItem(row)
        assert item is not None
        return item

    def _select_largest(self) -> None:
        counts = [summarise(source).count for source in self._sources]
        self.tree.setCurrentItem(self._get_item(int(np.argmax(counts))))
        self.tree.setFocus()

    def _show_selection(self) -> None:
        n = len(self.tree.selectedItems())
        self.open_button.setEnabled(n > 0)
        self.open_button.setText("Open selected" if n < 2 else f"Open {n:,} selected")

    def _show_picture(self, made: tuple[int, NDArray[np.uint8]]) -> None:
        row, grey = made
        self._get_item(row).setIcon(0, QIcon(_make_pixmap(grey)))


def _make_pictures(sources: Sequence[ImageSource]) -> Generator[tuple[int, NDArray[np.uint8]]]:
    """Yield the row and the picture of each image that has one."""
    for row, source in enumerate(sources[:MAX_PICTURES]):
        try:
            picture = make_source_thumbnail(source, PICTURE_PX)
        except (MedSegError, OSError, ValueError, MemoryError):  # opening it says what is wrong
            continue
        if picture is not None:
            yield row, picture


def _make_pixmap(grey: NDArray[np.uint8]) -> QPixmap:
    height, width = grey.shape
    image = QImage(np.ascontiguousarray(grey).data, width, height, width, QImage.Format.Format_Grayscale8)
    return QPixmap.fromImage(image.copy())
