"""A place comes into the middle of the view, and what napari takes for the mouse comes with it."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_medseg.plugin.guidance.navigation import show_place


@pytest.mark.parametrize("shape", [(40, 60), (7, 40, 60)])
def test_the_mouse_is_over_what_comes_under_it(shape: tuple[int, ...]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros(shape, np.uint8), scale=[2.0] * len(shape))
    viewer.scene.camera.center = (0.0, 10.0, 20.0)
    viewer.cursor.position = (*([0.0] * (len(shape) - 2)), 10.0, 20.0)
    index = (*([3] * (len(shape) - 2)), 30, 45)
    show_place(viewer, layer, index)
    assert layer.world_to_data(viewer.cursor.position)[-2:] == pytest.approx(index[-2:])
    if len(shape) > 2:
        assert viewer.dims.current_step[0] == 3
