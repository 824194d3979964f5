"""One line of the review section that says what counts as reviewed, and lets a person change that."""

from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_medseg.plugin import theme
from napari_medseg.plugin.reviewed_area import POLYGON, RECTANGLE, ReviewedArea

TOOLTIP = (
    "Looked at a part of the image only? Mark it (C): what lies outside is in no lesson and in no comparison.\n"
    "Its labels stay as they are."
)
NO_CASE = "Open a case first; then a part of it can be marked as the one that was reviewed"


class AreaButton(QToolButton):
    """Names the reviewed part of the open case; its menu marks another one."""

    def __init__(self, area: ReviewedArea, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._area = area
        self.setObjectName("medseg-plain")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Mark a rectangle as reviewed (C)", lambda: area.draw(RECTANGLE))
        menu.addAction("Mark a polygon as reviewed", lambda: area.draw(POLYGON))
        self._of_volumes = [
            menu.addAction("Add the slice in view", area.add_plane_shown),
            menu.addAction("Add the slices that I changed", area.add_edited_planes),
        ]
        menu.addSeparator()
        self._whole = menu.addAction("The whole image was reviewed", area.take_whole)
        self.setMenu(menu)
        area.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Say what counts now, and offer what can be done with it."""
        self.setText(f"reviewed: {self._area.text} ▾")
        for action in self._of_volumes:
            action.setVisible(self._area.in_volume)
        self._whole.setEnabled(not self._area.is_everything)
        theme.enable(self, self._area.possible, TOOLTIP, NO_CASE)
