"""Labels layers that the user added beside the open case: asks at Accept whether their voxels belong to it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.inline_prompt import PromptAnswer
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.merge_labels import merge_labels

if TYPE_CHECKING:
    from napari import Viewer

Ask = Callable[[str, Sequence[PromptAnswer]], None]


class AddedLabels:
    """Merges layers that the user added into the labels of the open case, or ignores them, as the user answers.

    The answer holds for the layer: one that was ignored is not asked about again, one that was merged only if voxels
    were painted in it since.

    Parameters
    ----------
    viewer, case_controller, get_task
        The window, the controller of the open case, and a function that returns the task of this case.
    ask
        Shows a text with answers, as `InlinePrompt.ask` does.
    """

    def __init__(
        self, viewer: "Viewer", case_controller: CaseController, get_task: Callable[[], Task], ask: Ask
    ) -> None:
        self._viewer = viewer
        self._case_controller = case_controller
        self._get_task = get_task
        self._ask = ask
        self._ignored: WeakKeyDictionary[Labels, bool] = WeakKeyDictionary()
        self._merged: WeakKeyDictionary[Labels, NDArray[Any]] = WeakKeyDictionary()

    def call_when_settled(self, then: Callable[[], None]) -> None:
        """Ask about each added layer with new voxels, then call `then`; call it at once if there is none."""
        current = self._case_controller.current
        waiting = [layer for layer in self._viewer.layers if self._is_unsettled(layer)]
        if current is None or current.edit_session is None or not waiting:
            then()
            return
        layer = waiting[0]
        n_voxels = np.count_nonzero(self._get_new_voxels(layer))
        text = (
            f"You added the layer {layer.name!r} with {n_voxels:,} labelled voxels. Accept {current.case.name} with it?"
        )
        self._ask(
            text,
            [
                ("Merge", partial(self._merge, layer, current, then)),
                ("Ignore it", partial(self._ignore, layer, current, then)),
                ("Cancel", lambda: None),
            ],
        )

    def _is_unsettled(self, layer: object) -> bool:
        return (
            isinstance(layer, Labels)
            and layers.METADATA_KEY not in layer.metadata
            and layer not in self._ignored
            and bool(self._get_new_voxels(layer).any())
        )

    def _get_new_voxels(self, layer: Labels) -> NDArray[Any]:
        """Return the values of the voxels that are labelled and were not merged before; 0 elsewhere."""
        data, merged = np.asarray(layer.data), self._merged.get(layer)
        return data if merged is None or merged.shape != data.shape else np.where(data != merged, data, 0)

    def _merge(self, layer: Labels, current: OpenCase, then: Callable[[], None]) -> None:
        work = current.edit_session
        if (
            current is not self._case_controller.current
            or work is None
            or self._case_controller.work.refuse_while_busy()
        ):
            return
        with show_errors():
            drawn = sample_on_grid(layer, self._get_new_voxels(layer), current.image_layer)
            work.recorder.record_external_changes()
            merged = merge_labels(np.asarray(work.layer.data), drawn, self._get_task())
            labels_tools.replace_labels(work.layer, merged)
            work.recorder.record_external_changes()  # one stroke, which Ctrl+Z undoes
            self._merged[layer] = np.array(layer.data, copy=True)
            layer.visible = False  # it would lie over the next image
            self.call_when_settled(then)

    def _ignore(self, layer: Labels, current: OpenCase, then: Callable[[], None]) -> None:
        self._ignored[layer] = True
        if current is self._case_controller.current:  # the question was about this case, not about one opened since
            self.call_when_settled(then)


def sample_on_grid(layer: Labels, values: NDArray[Any], image_layer: ImageLayer) -> NDArray[Any]:
    """Return values of a labels layer, of the shape of its data, on the grid of an image layer; 0 outside of the layer.

    A layer of the same shape that was added without a scale is taken voxel by voxel.

    Raises
    ------
    MedSegError
        If the layers differ in the number of dimensions.
    """
    if layer.ndim != image_layer.ndim:
        raise MedSegError(
            f"{layer.name} has {layer.ndim} dimensions, but the image has {image_layer.ndim}. Draw in a layer that has "
            "those of the image, or ignore the layer."
        )
    shape = image_layer.data.shape[: image_layer.ndim]
    to_world, identity = _get_affine(layer), np.eye(layer.ndim + 1)
    to_layer = np.linalg.inv(to_world) @ _get_affine(image_layer)
    if values.shape == shape and (np.allclose(to_layer, identity) or np.allclose(to_world, identity)):
        return values
    return affine_transform(values, to_layer, output_shape=shape, order=0)


def _get_affine(layer: Layer) -> NDArray[np.float64]:
    """Return the matrix from array indices to world coordinates, shape (n + 1, n + 1) for n dimensions."""
    origin = np.asarray(layer.data_to_world((0,) * layer.ndim))
    steps = [np.asarray(layer.data_to_world(step)) - origin for step in np.eye(layer.ndim)]
    return np.vstack([np.column_stack([*steps, origin]), [*[0.0] * layer.ndim, 1.0]])
