"""A labels layer that the user deletes comes back at once, with the labels of the draft: nothing else can show them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_notice

if TYPE_CHECKING:
    from napari import Viewer


class RemovedLayer(QObject):
    """Shows the labels of the open case again after their layer was deleted; tool, brush and appearance stay.

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
        # First, as the controller closes the review of a case whose labels are removed.
        viewer.layers.events.removed.connect(self._on_removed, position="first")

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)

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
