"""The review region of the open case: drawn in a separate layer and stored with the draft."""

from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from napari.layers import Shapes
from napari.layers.base import ActionType
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.review_region import WHOLE_IMAGE, ReviewRegion, format_share
from napari_medseg.plugin import layers, review_region_layer
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.workflow.drafts import Draft

if TYPE_CHECKING:
    from napari import Viewer

RECTANGLE_TOOL, POLYGON_TOOL = "add_rectangle", "add_polygon"
COMPLETED_ACTIONS = (ActionType.ADDED, ActionType.CHANGED, ActionType.REMOVED)


class ReviewRegionController(QObject):
    """Shows the review region of the open draft and saves what the user draws.

    Notes
    -----
    `changed` is emitted when the region changed, or when drawing became possible or impossible.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", case_controller: CaseController) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._case: OpenCase | None = None
        self._draft: Draft | None = None
        self._layer: Shapes | None = None
        self._dimming: ImageLayer | None = None
        self._region = WHOLE_IMAGE
        self._share = 1.0
        self._tool = "pan_zoom"
        self._was_busy = False
        for said in (case_controller.opened, case_controller.labels_changed, case_controller.state_changed):
            said.connect(self._sync_draft)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def can_draw(self) -> bool:
        """Whether a case is open and a region can be drawn."""
        return self._case_controller.current is not None and not self._case_controller.is_busy

    @property
    def is_volume(self) -> bool:
        """Whether the open case has slices."""
        return self._case is not None and self._case.image_layer.ndim > len("YX")

    @property
    def is_whole_image(self) -> bool:
        """Whether the whole image counts as reviewed."""
        return self._region.is_whole_image

    @property
    def summary(self) -> str:
        """Short description of the review region."""
        if self.is_whole_image or self._case is None:
            return "the whole image" if self._layer is None else "all, until you draw"
        if not self._share:
            return "nothing, the region is empty"
        if not self.is_volume:
            return f"{format_share(self._share)} of the image"
        n_planes = len({outline.plane for outline in self._region.outlines})
        return f"{format_share(self._share)}, in {n_planes} slice{'s' * (n_planes != 1)}"

    def close(self) -> None:
        """Remove the layer and disconnect from the viewer. The region is already on disk."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._remove_layer()

    def start_drawing(self, tool: str = RECTANGLE_TOOL) -> None:
        """Activate a tool that draws one outline. Afterwards the previous labels tool is active again."""
        if (draft := self._ensure_draft()) is not None and self._case is not None:
            labels_layer = self._case.labels_layer
            self._tool = "pan_zoom" if labels_layer is None else labels_layer.mode
            layer = self._add_layer(self._case, draft.review_region) if self._layer is None else self._layer
            review_region_layer.activate_drawing_tool(self._viewer, layer, tool)
            self.changed.emit()

    def add_shown_plane(self) -> None:
        """Add the displayed slice to the review region."""
        if self._ensure_draft() is not None and self._case is not None:
            self._add_planes([review_region_layer.get_shown_plane(self._viewer, self._case.image_layer)])

    def add_edited_planes(self) -> None:
        """Add the slices with manually changed labels to the review region."""
        if (
            (draft := self._ensure_draft()) is not None
            and self._case is not None
            and self._case.edit_session is not None
        ):
            with show_errors():
                self._case.edit_session.recorder.record_external_changes()
                if not (planes := draft.edited_planes):
                    raise MedSegError(
                        "no label was changed in this case yet. Change a label first, or draw the region."
                    )
                self._add_planes(planes)

    def mark_whole_image(self) -> None:
        """Mark the whole image as reviewed."""
        if self._ensure_draft() is not None:
            self._set_region(WHOLE_IMAGE)

    def _ensure_draft(self) -> Draft | None:
        """Return the open draft. If there is none, start a new review, because a closed case can be edited again."""
        if self.can_draw and (current := self._case_controller.current) is not None and current.edit_session is None:
            self._case_controller.restart_review()
        self._sync_draft()
        return self._draft if self.can_draw else None

    def _sync_draft(self) -> None:
        """Show the region of the open draft. After a review is closed, its region stays visible with the case."""
        current = self._case_controller.current
        draft = None if current is None or current.edit_session is None else current.edit_session.draft
        if current is self._case and draft is self._draft:
            self._sync_busy()
            return
        is_closed = current is not None and current is self._case and draft is None and current.labels_layer is not None
        self._case, self._draft = current, draft
        if is_closed:
            if self._layer is not None:
                self._layer.editable = False
        else:
            self._show_region(WHOLE_IMAGE if draft is None else draft.review_region)
        self.changed.emit()

    def _sync_busy(self) -> None:
        """Disable drawing while labels are being saved, because the correction would not contain the change."""
        if self._case_controller.is_busy != self._was_busy:
            self._was_busy = self._case_controller.is_busy
            if self._layer is not None:
                self._layer.editable = self._draft is not None and not self._case_controller.is_busy
            self.changed.emit()

    def _add_planes(self, planes: list[int]) -> None:
        if self._draft is not None:
            self._set_region(self._draft.review_region.add_planes(planes, *self._draft.labels.shape[-2:]))

    def _set_region(self, region: ReviewRegion) -> None:
        if self._draft is not None:
            with show_errors():
                self._draft.save_review_region(region)
                self._show_region(region)
            self.changed.emit()

    def _show_region(self, region: ReviewRegion) -> None:
        """Show a region in a separate layer; no layer for the whole image."""
        self._remove_layer()
        self._measure_share(region)
        if self._case is not None and not region.is_whole_image:
            self._add_layer(self._case, region)
        self._show_dimming()

    def _add_layer(self, current: OpenCase, region: ReviewRegion) -> Shapes:
        with labels_tools.keep_selected(self._viewer, current.labels_layer):
            self._layer = review_region_layer.add_review_region(self._viewer, region, current.image_layer, current.case)
        self._layer.events.data.connect(self._on_data)
        return self._layer

    def _measure_share(self, region: ReviewRegion) -> None:
        self._region = region
        self._share = 1.0 if self._draft is None else region.compute_share(self._draft.labels.shape)

    def _show_dimming(self) -> None:
        """Darken what was not reviewed; nothing while the region is empty, so that one can see where to draw."""
        region = self._region
        if self._case is None or self._draft is None or region.is_whole_image or not self._share:
            self._remove_dimming()
            return
        shape = self._draft.labels.shape
        if self._dimming is not None and self._dimming in self._viewer.layers:
            self._dimming.data = review_region_layer.compute_dimming(region, shape)
            return
        with labels_tools.keep_selected(self._viewer, self._viewer.layers.selection.active):
            beside, case = self._case.image_layer, self._case.case
            self._dimming = review_region_layer.add_dimming(self._viewer, region, beside, case, shape)
            if (labels := self._case.labels_layer) in self._viewer.layers:  # below the labels, which keep their colours
                self._viewer.layers.move(len(self._viewer.layers) - 1, self._viewer.layers.index(labels))

    def _remove_dimming(self) -> None:
        layer, self._dimming = self._dimming, None
        layers.remove(self._viewer, layer)

    def _remove_layer(self) -> None:
        layer, self._layer = (
            self._layer,
            None,
        )  # cleared first, so that `_on_removed` does not treat this as a deletion by the user
        layers.remove(self._viewer, layer)
        self._remove_dimming()

    def _on_data(self, event: Event) -> None:
        if event.action not in COMPLETED_ACTIONS or self._layer is None or self._draft is None:
            return
        try:
            self._draft.save_review_region(review_region_layer.read_review_region(self._layer))
        except MedSegError as error:
            show_problem(error)
            QTimer.singleShot(0, self._show_draft_region)  # later, because napari has not finished its change yet
        self._measure_share(self._draft.review_region)
        QTimer.singleShot(0, self._show_dimming)  # later, because napari has not finished its change yet
        if event.action is ActionType.ADDED:
            QTimer.singleShot(0, self._back_to_labels)
        self.changed.emit()

    def _show_draft_region(self) -> None:
        if self._draft is not None:
            self._show_region(self._draft.review_region)

    def _back_to_labels(self) -> None:
        """Select the labels layer and its tool again: some keys of a Shapes layer delete shapes."""
        if self._layer is not None:
            self._layer.mode = "pan_zoom"
        current = self._case
        if (
            current is not None
            and current.edit_session is not None
            and current.edit_session.layer in self._viewer.layers
        ):
            self._viewer.layers.selection.active = current.edit_session.layer
            current.edit_session.layer.mode = self._tool

    def _on_removed(self, event: Event) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            if self._case_controller.work.refuse_while_saving():
                QTimer.singleShot(0, self._show_draft_region)  # later, because napari has not finished its change yet
            else:
                self._set_region(WHOLE_IMAGE)
        elif self._case is not None and event.value in (self._case.labels_layer, self._case.image_layer):
            self._remove_layer()
