"""All of one open slide in the viewer: its layer, its fields, their corrected labels, and what the mouse does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_medseg.core.records import Case
from napari_medseg.core.slides.blocks import SlideBlocks
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.slides.corrected_fields import CorrectedFields
from napari_medseg.plugin.slides.field_drawing import Box, FieldClicks, FieldDrawing
from napari_medseg.plugin.slides.field_outlines import FieldOutlines
from napari_medseg.plugin.slides.slide_layer import SlideLayer
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.workflow.slides.slide_fields import SlideField

if TYPE_CHECKING:
    from napari import Viewer


class ShownSlide(QObject):
    """An open slide, which is in the viewer or waits while a case is open.

    Parameters
    ----------
    viewer, blocks
        Viewer, and the slide, which is closed with this object.
    folder
        Folder of the project.
    make_field
        Called with the box of a drawn field, see `FieldDrawing`.
    open_case
        Called with the case of a field that was clicked.

    Notes
    -----
    `removed` is emitted when a person removes the layer of the slide.
    """

    removed = Signal()

    def __init__(
        self,
        viewer: "Viewer",
        blocks: SlideBlocks,
        folder: Path,
        make_field: Callable[[Box], None],
        open_case: Callable[[Case], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._camera: tuple[Any, float] | None = None
        self._is_warned = False
        self.blocks = blocks
        self.layer = SlideLayer(viewer, blocks, self)
        self.layer.damaged.connect(self._on_damaged)
        self.layer.removed.connect(self.removed)
        self.outlines = FieldOutlines(viewer, self.layer)
        self.corrected = CorrectedFields(viewer, self.layer, folder)
        self._drawing = FieldDrawing(viewer, self.layer, make_field)
        self._clicks = FieldClicks(viewer, self._find_case, open_case)

    @property
    def path(self) -> Path:
        """Path of the slide."""
        return self.blocks.path

    @property
    def is_shown(self) -> bool:
        """Whether it is in the viewer."""
        return self.layer.is_shown

    def show(self) -> None:
        """Add it to the viewer where the view was before; at first, all of it is seen."""
        if self.is_shown:
            return
        self.layer.show()
        self._clicks.turn_on()
        if self._camera is None:
            self._viewer.reset_view()
        else:
            self._viewer.scene.camera.center, self._viewer.scene.camera.zoom = self._camera

    def show_fields(self, fields: Sequence[SlideField], task: Task) -> None:
        """Show the outlines of fields, and the labels of those that were accepted for a task."""
        if self.is_shown:
            self.corrected.show(fields, task)
            self.outlines.show(fields)

    def hide(self) -> None:
        """Take it out of the viewer; what was read is kept."""
        if not self.is_shown:
            return
        self._camera = (self._viewer.scene.camera.center, self._viewer.scene.camera.zoom)
        self.set_drawing(is_on=False)
        self._clicks.turn_off()
        self.outlines.hide()
        self.corrected.hide()
        self.layer.hide()

    def close_down(self) -> None:
        """Remove its layers and close the file."""
        self.hide()
        self._clicks.turn_off()
        self.outlines.hide()  # they are still there if a person removed the slide
        self.corrected.close_down()
        self.set_drawing(is_on=False)
        self.layer.close_down()
        self.deleteLater()

    def set_drawing(self, *, is_on: bool) -> None:
        """Choose whether a drag draws a field."""
        if is_on:
            self._drawing.turn_on()
        else:
            self._drawing.turn_off()

    def _find_case(self, position: Sequence[float]) -> Case | None:
        return None if self._drawing.is_on else self.outlines.find_case(position)

    def _on_damaged(self, text: str) -> None:
        if not self._is_warned:  # one is enough: the others look grey
            self._is_warned = True
            show_problem(text)
