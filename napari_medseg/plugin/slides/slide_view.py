"""The slide in the window: it takes turns with the open case, which may be one of its fields."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_medseg.core.slides.blocks import SlideBlocks
from napari_medseg.core.slides.fields import Field, place_of, snap_field
from napari_medseg.core.slides.grid import GridChoice
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.slides.added_fields import AddedFields
from napari_medseg.plugin.slides.dropped_slides import split_slides
from napari_medseg.plugin.slides.field_drawing import Box
from napari_medseg.plugin.slides.followers import Followers
from napari_medseg.plugin.slides.grid_form import make_grid_form
from napari_medseg.plugin.slides.shown_slide import ShownSlide
from napari_medseg.plugin.slides.slide_layer import KEEPER_KEY, SLIDE_KEY
from napari_medseg.plugin.slides.slide_sight import (
    describe_zoom,
    find_grid,
    find_slide_task,
    list_level_spacings,
    list_level_titles,
    look_at_field,
    open_blocks,
)
from napari_medseg.plugin.slides.slide_strip import SlideDock, SlideStrip
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.slides import slide_fields
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

FIELD_PX = 1000
"""Usual height and width of a field, in pixels of its level."""
REFRESH_AFTER_MS = 200


class SlideView(QObject):
    """Shows one slide at a time, and makes cases of its fields; `seen` is emitted before it is put into the canvas.

    `may_return` is asked whether it comes back when a case is closed.

    Parameters
    ----------
    viewer, workspace, cases, worklist
        The window, the project, the open case, and the list of cases.
    parent
        A widget of the window, below whose canvas the strip is shown.
    """

    seen = Signal()

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, cases: CaseController, worklist: Worklist, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = cases
        self._worklist = worklist
        self._parent = parent
        self._opener: Worker | None = None
        self._opened: list[Path] = []
        self.may_return: Callable[[], bool] = lambda: True
        self._go_to: Field | None = None
        self.slide: ShownSlide | None = None
        self.strip = SlideStrip()
        self._dock = SlideDock(self.strip)
        self.added = AddedFields(workspace, worklist, self)
        self.added.ended.connect(self.refresh)
        self._followers = Followers(workspace, self)
        self._followers.moved.connect(worklist.reload_cases)
        self._followers.moved.connect(self.refresh)
        self._timer = QTimer(self, singleShot=True, interval=REFRESH_AFTER_MS)
        self._timer.timeout.connect(self.refresh)
        self._connect()

    @property
    def is_on_slide(self) -> bool:
        """Whether the slide is shown, and not a case."""
        return self.slide is not None and self.slide.is_shown

    def open_slides(self, slides: Sequence[Path]) -> None:
        """Open the first of some slides; the others can be chosen."""
        self._opened += [path for path in slides if path not in self._opened]
        self.open(slides[0])

    def open(self, path: Path, go_to: Field | None = None) -> None:
        """Open a slide in a thread, instead of the one that is open; `go_to` is the field to look at."""
        self._go_to = go_to
        if self._opener is not None:
            self._opener.stop()
            self._opener = None
        if self.slide is not None and self.slide.path == path:
            self._leave_case()
            return
        self._opener = worker = Worker(open_blocks(path), self)
        worker.yielded.connect(lambda blocks: self._take(worker, blocks))
        worker.failed.connect(show_problem)
        worker.start()

    def show_slide(self) -> None:
        """Show the slide instead of the open case, whose draft is saved; without one, that of the open case."""
        if (current := self._case_controller.current) is not None:
            place = place_of(current.case)
            if place is not None and (self.slide is None or self.slide.path != place.slide):
                self.open(place.slide, place)
                return
            self._go_to = place or self._go_to
        self._leave_case()

    def hide_slide(self) -> None:
        """Take the slide out of the canvas, because something else is seen; the strip leads back to it."""
        if self.slide is not None and self.is_on_slide:
            self.strip.draw.setChecked(False)
            self.slide.hide()
            self._viewer.reset_view()  # it looks at a place of the slide
            self._update_strip()

    def close_slide(self) -> None:
        """Close the slide; its fields stay in the project."""
        if self.slide is not None:
            self._opened = [path for path in self._opened if path != self.slide.path]
        self._forget_slide()
        self._update_strip()

    def close_down(self) -> None:
        """Stop reading, remove the layers and the strip; a second call has no effect."""
        if self.signalsBlocked():
            return
        self.blockSignals(True)
        self._case_controller.opened.disconnect(self._on_case_opened)
        self._viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.added.stop()
        if self._opener is not None:
            self._opener.stop()
        self._timer.stop()
        self._forget_slide()
        self._dock.close_down()

    def refresh(self) -> None:
        """Read the fields of the slide and their states again."""
        if self.slide is None:
            return
        with show_errors():
            find_row = self._worklist.case_list.get_row
            fields = slide_fields.list_slide_fields(self._workspace, self.slide.path, find_row)
            self.strip.show_fields(fields)
            self.slide.show_fields(fields, self._worklist.task)

    def add_fields(self, fields: Sequence[Field]) -> None:
        """Make cases of fields; they are read in a thread."""
        self.added.add(fields)

    def show_grid_form(self) -> None:
        """Ask for a grid of fields on tissue."""
        if self.slide is not None:
            blocks = self.slide.blocks
            form = make_grid_form(self.add_grid, list_level_titles(blocks), FIELD_PX, list_level_spacings(blocks))
            FormDialog(f"Fields on the tissue of {blocks.name}", "Add fields", form, self._parent).show()

    def add_grid(self, choice: GridChoice) -> None:
        """Find the tissue in a thread, and make cases of the fields on it."""
        if self.slide is None:
            return
        path = self.slide.path
        existing = [each.field for each in slide_fields.list_slide_fields(self._workspace, path)]
        worker = Worker(find_grid(path, choice, existing), self)
        worker.yielded.connect(self.add_fields)
        worker.failed.connect(show_problem)
        worker.start()
        show_notice("Finding the tissue …")

    def _connect(self) -> None:
        strip = self.strip
        strip.slide_chosen.connect(self._on_slide_chosen)
        strip.draw_toggled.connect(lambda is_on: self.slide.set_drawing(is_on=is_on) if self.slide else None)
        strip.grid_requested.connect(self.show_grid_form)
        strip.back_requested.connect(self.show_slide)
        strip.close_requested.connect(self.close_slide)
        self._case_controller.opened.connect(self._on_case_opened)
        self._worklist.changed.connect(self._timer.start)
        self._worklist.importer.openers.append((split_slides, self.open_slides))
        self._viewer.scene.camera.events.zoom.connect(self._on_zoom)
        self._viewer.layers.events.inserted.connect(self._on_inserted)

    def _take(self, worker: Worker, blocks: SlideBlocks) -> None:
        """Show a slide that was opened, unless another one was chosen meanwhile."""
        if worker is not self._opener:
            blocks.close()
            return
        self._opener = None
        self._forget_slide()
        if blocks.path not in self._opened:
            self._opened.append(blocks.path)
        folder, open_case = self._workspace.project.folder, self._worklist.open
        self.slide = ShownSlide(self._viewer, blocks, folder, self._make_field, open_case, self)
        self.slide.removed.connect(self.close_slide)
        self.strip.show_levels(list_level_titles(blocks))
        self._choose_task(blocks)
        self._followers.look_for(blocks.path)
        self._leave_case()

    def _choose_task(self, blocks: SlideBlocks) -> None:
        """Show the task that the slide is for, as a dropped image does."""
        found = find_slide_task(blocks, self._worklist.task, self._workspace.tasks)
        if found.name != self._worklist.task.name:
            show_notice(f"{blocks.name} is a slide: task set to {found.title}.")
            self._worklist.choose_task(found.name)

    def _show(self) -> None:
        slide = self.slide
        if slide is None:
            return
        self.seen.emit()
        slide.show()
        QTimer.singleShot(0, self.refresh)  # the outlines come in a turn of their own: napari takes long for each layer
        field, self._go_to = self._go_to, None
        if field is not None and field.slide == slide.path:
            look_at_field(self._viewer, slide.layer, field)
        self._update_strip()

    def _leave_case(self) -> None:
        if self._case_controller.current is not None:
            self._case_controller.close_case()  # then the slide is shown
        else:
            self._show()

    def _forget_slide(self) -> None:
        slide, self.slide = self.slide, None
        if slide is not None:
            self.strip.draw.setChecked(False)
            slide.close_down()

    def _on_inserted(self, event: Any) -> None:  # noqa: ANN401 - napari
        """Take over a slide that napari opened by our reader."""
        layer = event.value
        if KEEPER_KEY in layer.metadata.get(layers.METADATA_KEY, {}):
            QTimer.singleShot(0, lambda: self._take_over(layer))

    def _take_over(self, layer: Layer) -> None:
        path = layer.metadata[layers.METADATA_KEY][SLIDE_KEY]
        layers.remove(self._viewer, layer)
        self.open(path)

    def _on_case_opened(self) -> None:
        if self._case_controller.current is not None:
            self.hide_slide()
        elif self.may_return():
            self._show()
        self._update_strip()

    def _update_strip(self) -> None:
        """Show the strip while a slide is open, or a field of one."""
        current = self._case_controller.current
        place = None if current is None else place_of(current.case)
        slide = self.slide.path if self.slide is not None else None if place is None else place.slide
        self._dock.attach(self._parent.window())
        self._dock.show_strip(shown=slide is not None)
        if slide is None:
            return
        with show_errors():
            known = slide_fields.list_project_slides(self._workspace)
            self.strip.show_slides(list(dict.fromkeys([*self._opened, *known, slide])), slide)
        self.strip.show_mode(on_slide=self.is_on_slide)
        self._on_zoom()

    def _on_slide_chosen(self, path: Path) -> None:
        if self.slide is None or path != self.slide.path or not self.is_on_slide:
            self.open(path)

    def _make_field(self, box: Box) -> None:
        """Make a case of a drawn rectangle; a click stands for a field of the usual size around it."""
        if self.slide is None:
            return
        blocks, level = self.slide.blocks, max(0, self.strip.level.currentIndex())
        top, left, bottom, right = box
        if (top, left) == (bottom, right):
            half = FIELD_PX * blocks.file_levels[level].downsample / 2
            box = (top - half, left - half, top + half, left + half)
        with show_errors():
            self.add_fields([snap_field(blocks.path, blocks.file_levels, level, box)])

    def _on_zoom(self, _event: object = None) -> None:
        if self.slide is not None and self.is_on_slide:
            self.slide.outlines.adapt_to_zoom()
            self.strip.show_zoom(
                describe_zoom(self._viewer.scene.camera.zoom, self.slide.blocks.spacing_mm is not None)
            )
