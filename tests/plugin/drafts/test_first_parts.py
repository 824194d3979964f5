"""The first labels of a series are seen before the last are done, and are no labels of a person."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.inference.events import PredictionPart
from napari_medseg.plugin.controllers.prediction_queue import PredictionRequest
from napari_medseg.plugin.drafts.first_parts import FirstParts
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace


def test_parts_are_shown_read_only_and_replaced_by_the_result_or_taken_away(
    window: SimpleNamespace, ws: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    desk = window.case_controller
    parts = FirstParts(window.viewer, desk, window.prediction_queue)
    image = phantom(0, n_slices=4)
    path = tmp_path / "series.nii.gz"
    formats.write_image(path, image)
    ws.engine.gate = threading.Event()
    ws.engine.part = PredictionPart(1, np.full((2, *image.spatial_shape[1:]), 2, np.uint8))
    window.worklist.importer.read([path])
    qtbot.waitUntil(lambda: desk.current is not None and desk.current.empty_layer is not None, timeout=20_000)
    layer = desk.current.empty_layer
    assert [int(plane.max()) for plane in layer.data] == [0, 2, 2, 0]
    assert not layer.editable
    assert "predicting" in layer.name
    assert desk.current.edit_session is None

    window.prediction_queue.cancel()
    qtbot.waitUntil(lambda: layer.data.max() == 0, timeout=5_000)
    ws.engine.part = None
    window.worklist.predict()
    ws.engine.gate.set()
    qtbot.waitUntil(lambda: desk.current.labels_layer is not None, timeout=20_000)
    assert desk.current.labels_layer is layer
    assert layer.editable
    assert layer.data.shape == image.spatial_shape
    parts.deleteLater()


def test_parts_are_taken_away_although_another_prediction_follows_and_early_ones_are_not_lost(
    window: SimpleNamespace, qtbot: QtBot
) -> None:
    window.worklist.close()
    queue, desk = window.prediction_queue, window.case_controller
    first_parts = FirstParts(window.viewer, desk, queue)
    image = phantom(0, n_slices=4)
    first, second = cases.add_cases(window.ws, [image, phantom(1)], "lungs")
    window.ws.engine.gate = threading.Event()
    window.ws.engine.part = PredictionPart(0, np.full((2, *image.spatial_shape[1:]), 2, np.uint8))
    heard: list[int] = []
    queue.part_predicted.connect(lambda case, part: heard.append(part.first))
    queue.predict(PredictionRequest(first, "lungs-unet@1", image, urgent=False))
    qtbot.waitUntil(lambda: bool(queue._unseen))
    assert heard == []
    desk.open(first, image)  # which asks for the same prediction
    qtbot.waitUntil(lambda: heard == [0])
    assert first_parts._shown is desk.current
    layer = desk.current.empty_layer
    assert int(layer.data.max()) == 2
    queue.predict(PredictionRequest(second, "lungs-unet@1", phantom(1)))
    assert queue.running_request is not None
    assert int(layer.data.max()) == 0, "the half of a prediction that was interrupted looks like labels"
    window.ws.engine.gate.set()
    qtbot.waitUntil(lambda: queue.running_request is None)
