"""The labels of the open case stay in view and on their image: a deleted layer comes back, a moved one goes back.

Nothing else can show the labels of the draft, and they are saved voxel by voxel on the grid of the image: labels that
were moved would be accepted where they were before.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layer_reuse
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_notice

if TYPE_CHECKING:
    from napari import Viewer

QUIET_MS = 3_000
"""A drag moves a layer at each step; it is told once."""


class KeptLayer(QObject):
    """Shows the labels of the open case again after their layer was deleted or moved; tool, brush and look stay.

    Parameters
    ----------
    viewer, case_controller
        The window's viewer, and the controller of the open case.
    get_task
        Returns the task of the open case.
    """

    def __init__(self, viewer: "Viewer", case_controller: CaseController, get_task: Callable[[], Task]) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._get_task = get_task
        self._is_closed = False
        self._watched: tuple[ImageLayer | None, Labels | None] = (None, None)
        self._is_quiet = QTimer(self)
        self._is_quiet.setSingleShot(True)
        # First, as the controller closes the review of a case whose labels are removed.
        viewer.layers.events.removed.connect(self._on_removed, position="first")
        case_controller.labels_changed.connect(self._watch)
        case_controller.opened.connect(self._watch)

    def close(self) -> None:
        """Disconnect from the viewer and the layers."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._is_closed = True
        self._watch_layers(None, None)

    def _on_removed(self, event: Event) -> None:
        current = self._case_controller.current
        if current is None or event.value is not current.labels_layer or current.edit_session is None:
            return
        if not self._case_controller.is_busy:
            tools = labels_tools.get_tools(event.value)
            # Later: if the image is removed too, as by "remove all", the case is closed and nothing comes back.
            QTimer.singleShot(0, lambda: self._show_again(current, tools))

    def _show_again(self, current: OpenCase, tools: dict[str, Any]) -> None:
        if self._case_controller.current is not current or current.labels_layer is not None:
            return
        self._case_controller.restart_review()
        if (layer := current.labels_layer) is not None:
            task = self._get_task()
            free = labels_tools.find_free_object_value(layer) if task.instances else 1
            labels_tools.apply_tools(layer, tools, task, free)
            show_notice(
                f"The labels of {current.case.name} are back: their layer was deleted, and the draft has all strokes. "
                "Hold Q to hide them."
            )

    def _watch(self) -> None:
        current = self._case_controller.current
        found = (None, None) if current is None else (current.image_layer, current.labels_layer)
        if found != self._watched and not self._is_closed:
            self._watch_layers(*found)

    def _watch_layers(self, image_layer: ImageLayer | None, labels_layer: Labels | None) -> None:
        for layer in filter(None, self._watched):
            for name in layer_reuse.PLACE:
                getattr(layer.events, name).disconnect(self._on_moved)
        self._watched = (image_layer, labels_layer)
        for layer in filter(None, self._watched):
            for name in layer_reuse.PLACE:
                getattr(layer.events, name).connect(self._on_moved)

    def _on_moved(self, event: Event) -> None:
        """Put the labels on their image, also if it is the image that was moved."""
        current = self._case_controller.current
        if current is None or current.edit_session is None or current.labels_layer is None:
            return
        is_of_labels = event.source is current.labels_layer
        if layer_reuse.put_on_image(current.labels_layer, current.image_layer) and is_of_labels:
            if not self._is_quiet.isActive():
                show_notice(
                    f"The labels of {current.case.name} lie on their image and cannot be moved off it: they are saved "
                    "voxel by voxel. Paint what is in the wrong place."
                )
            self._is_quiet.start(QUIET_MS)
