"""Which part of the open case a person looked at: drawn in a layer of its own, kept with the draft."""

from typing import TYPE_CHECKING

from napari.layers import Shapes
from napari.layers.base import ActionType
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.review_region import WHOLE, Area, share_text
from napari_medseg.plugin import layers, review_region_layer
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import Desk
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import tell, told
from napari_medseg.workflow.drafts import Draft

if TYPE_CHECKING:
    from napari import Viewer

RECTANGLE, POLYGON = "add_rectangle", "add_polygon"
DONE = (ActionType.ADDED, ActionType.CHANGED, ActionType.REMOVED)


class ReviewedArea(QObject):
    """Shows the area of the open draft, and keeps what is drawn there.

    Notes
    -----
    `changed` says that the area, or whether one can be drawn, is another than before.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", desk: Desk) -> None:
        super().__init__()
        self._viewer = viewer
        self._desk = desk
        self._case: OpenCase | None = None
        self._draft: Draft | None = None
        self._layer: Shapes | None = None
        self._area = WHOLE
        self._share = 1.0
        self._tool = "pan_zoom"
        self._was_busy = False
        for said in (desk.opened, desk.labels_changed, desk.state_changed):
            said.connect(self._follow)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def possible(self) -> bool:
        """Whether there is a case of which a part can be marked."""
        return self._desk.current is not None and not self._desk.busy

    @property
    def in_volume(self) -> bool:
        """Whether the open case has slices."""
        return self._case is not None and self._case.image_layer.ndim > len("YX")

    @property
    def is_everything(self) -> bool:
        """Whether the whole image counts as reviewed."""
        return self._area.is_everything

    @property
    def text(self) -> str:
        """What counts as reviewed, in a few words."""
        if self.is_everything or self._case is None:
            return "the whole image" if self._layer is None else "the whole image, until you draw"
        if not self._share:
            return "nothing, no pixel lies in the area"
        if not self.in_volume:
            return f"{share_text(self._share)} of the image"
        n_planes = len({outline.plane for outline in self._area.outlines})
        return f"{share_text(self._share)}, in {n_planes} slice{'s' * (n_planes != 1)}"

    def close(self) -> None:
        """Take the layer away and listen no more; the area is on disk."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._take_away()

    def draw(self, tool: str = RECTANGLE) -> None:
        """Take a tool in hand that draws one outline; then the labels are painted on as before."""
        if (draft := self._begun()) is not None and self._case is not None:
            labels_layer = self._case.labels_layer
            self._tool = "pan_zoom" if labels_layer is None else labels_layer.mode
            layer = self._add_layer(self._case, draft.area) if self._layer is None else self._layer
            review_region_layer.draw_with(self._viewer, layer, tool)
            self.changed.emit()

    def add_plane_shown(self) -> None:
        """Count the slice in view as reviewed, too."""
        if self._begun() is not None and self._case is not None:
            self._add_planes([review_region_layer.plane_shown(self._viewer, self._case.image_layer)])

    def add_edited_planes(self) -> None:
        """Count the slices as reviewed in which labels were changed by hand."""
        if (draft := self._begun()) is not None and self._case is not None and self._case.work is not None:
            with told():
                self._case.work.recorder.catch_up()
                if not (planes := draft.edited_planes):
                    raise MedSegError("no label was changed in this case yet. Change one, or draw the area.")
                self._add_planes(planes)

    def take_whole(self) -> None:
        """Count the whole image as reviewed."""
        if self._begun() is not None:
            self._become(WHOLE)

    def _begun(self) -> Draft | None:
        """Return the open draft; one is begun where there is none, as a decided case can be changed once more."""
        if self.possible and (current := self._desk.current) is not None and current.work is None:
            self._desk.begin_again()
        self._follow()
        return self._draft if self.possible else None

    def _follow(self) -> None:
        """Show the area of the draft on the desk; that of a review which was closed stays in view with its case."""
        current = self._desk.current
        draft = None if current is None or current.work is None else current.work.draft
        if current is self._case and draft is self._draft:
            self._follow_busy()
            return
        is_closed = current is not None and current is self._case and draft is None and current.labels_layer is not None
        self._case, self._draft = current, draft
        if is_closed:
            if self._layer is not None:
                self._layer.editable = False
        else:
            self._show(WHOLE if draft is None else draft.area)
        self.changed.emit()

    def _follow_busy(self) -> None:
        """Let nobody draw while labels are being written, as that would not be in the correction."""
        if self._desk.busy != self._was_busy:
            self._was_busy = self._desk.busy
            if self._layer is not None:
                self._layer.editable = self._draft is not None and not self._desk.busy
            self.changed.emit()

    def _add_planes(self, planes: list[int]) -> None:
        if self._draft is not None:
            self._become(self._draft.area.with_planes(planes, *self._draft.labels.shape[-2:]))

    def _become(self, area: Area) -> None:
        if self._draft is not None:
            with told():
                self._draft.keep_area(area)
                self._show(area)
            self.changed.emit()

    def _show(self, area: Area) -> None:
        """Show an area in a layer of its own; none for the whole image."""
        self._take_away()
        self._measure(area)
        if self._case is not None and not area.is_everything:
            self._add_layer(self._case, area)

    def _add_layer(self, current: OpenCase, area: Area) -> Shapes:
        with labels_tools.selected(self._viewer, current.labels_layer):
            self._layer = review_region_layer.add_area(self._viewer, area, current.image_layer, current.case)
        self._layer.events.data.connect(self._on_data)
        return self._layer

    def _measure(self, area: Area) -> None:
        self._area = area
        self._share = 1.0 if self._draft is None else area.share(self._draft.labels.shape)

    def _take_away(self) -> None:
        layer, self._layer = self._layer, None  # forgotten first: a layer that is ours and goes was deleted by hand
        layers.remove(self._viewer, layer)

    def _on_data(self, event: Event) -> None:
        if event.action not in DONE or self._layer is None or self._draft is None:
            return
        try:
            self._draft.keep_area(review_region_layer.area_in(self._layer))
        except MedSegError as error:
            tell(error)
            QTimer.singleShot(0, self._show_again)  # napari is still in the middle of its change
        self._measure(self._draft.area)
        if event.action is ActionType.ADDED:
            QTimer.singleShot(0, self._back_to_labels)
        self.changed.emit()

    def _show_again(self) -> None:
        if self._draft is not None:
            self._show(self._draft.area)

    def _back_to_labels(self) -> None:
        """Give back the brush after one outline: the keys of a Shapes layer are others, some of which delete."""
        if self._layer is not None:
            self._layer.mode = "pan_zoom"
        current = self._case
        if current is not None and current.work is not None and current.work.layer in self._viewer.layers:
            self._viewer.layers.selection.active = current.work.layer
            current.work.layer.mode = self._tool

    def _on_removed(self, event: Event) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self._become(WHOLE)
        elif self._case is not None and event.value in (self._case.labels_layer, self._case.image_layer):
            self._take_away()
