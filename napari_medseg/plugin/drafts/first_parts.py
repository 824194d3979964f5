"""The labels of the first slices of a series, shown while the others are predicted."""

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_medseg.core.records import Case
from napari_medseg.inference.events import PredictionPart
from napari_medseg.plugin import layer_reuse, layers
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest

if TYPE_CHECKING:
    from napari import Viewer

TITLE = "predicting"


class FirstParts(QObject):
    """Shows parts of a prediction in the layer that waits for labels, read-only; the result replaces them.

    A case that a person has labels of is left alone.
    """

    def __init__(self, viewer: "Viewer", case_controller: CaseController, predictions: PredictionQueue) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._predictions = predictions
        self._shown: OpenCase | None = None
        self._source: object = None  # the prediction that the parts are of
        predictions.part_predicted.connect(self._show)
        predictions.predicted.connect(self._leave_to_result)
        predictions.changed.connect(self._withdraw)

    def _show(self, case: Case, part: PredictionPart) -> None:
        current = self._case_controller.current
        if current is None or current.case.id != case.id or current.labels_layer is not None:
            return
        source = _name_source(self._predictions.running_request)
        if self._shown is not current or source != self._source:
            self._begin(current, part)
            self._source = source
        layer = current.empty_layer
        if layer is not None and layer in self._viewer.layers and layer.data.shape == current.image.spatial_shape:
            layer.data[part.first : part.first + len(part.labels)] = part.labels
            layer.refresh()

    def _begin(self, current: OpenCase, part: PredictionPart) -> None:
        labels = np.zeros(current.image.spatial_shape, part.labels.dtype)
        if current.empty_layer is None or current.empty_layer not in self._viewer.layers:
            current.empty_layer = layers.add_labels(self._viewer, labels, current.image_layer, current.case)
        else:
            layer_reuse.set_data(current.empty_layer, labels)
        current.empty_layer.name = f"{current.case.task}: {current.case.name} ({TITLE})"
        current.empty_layer.editable = False
        self._shown = current

    def _leave_to_result(self, case: Case) -> None:
        """Leave the parts of a case where they are: its labels replace them as soon as they are prepared."""
        if self._shown is not None and self._shown.case.id == case.id:
            self._shown = None

    def _withdraw(self) -> None:
        """Take the parts away if their prediction ended without a result: they would look like labels."""
        if self._shown is None or _name_source(self._predictions.running_request) == self._source:
            return
        shown, self._shown = self._shown, None
        layer, is_open = shown.empty_layer, shown is self._case_controller.current
        if is_open and shown.labels_layer is None and layer is not None and layer in self._viewer.layers:
            layer_reuse.empty_labels(layer, shown.case)


def _name_source(request: PredictionRequest | None) -> object:
    """Return what the parts of a prediction depend on; `None` for one that shows none."""
    if request is None or not request.urgent or request.again is not None:
        return None
    return request.case.id, request.model, request.state
