"""A place that is not seen well comes into the middle, and what napari takes for the mouse comes with it."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_medseg.plugin.guidance.navigation import show_place


@pytest.mark.parametrize("shape", [(40, 60), (7, 40, 60)])
def test_the_mouse_is_over_what_comes_under_it(shape: tuple[int, ...]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros(shape, np.uint8), scale=[2.0] * len(shape))
    viewer.canvas.size = (20, 40)
    viewer.scene.camera.center = (0.0, 10.0, 20.0)
    viewer.scene.camera.zoom = 1.0
    viewer.cursor.position = (*([0.0] * (len(shape) - 2)), 10.0, 20.0)
    index = (*([3] * (len(shape) - 2)), 30, 45)
    show_place(viewer, layer, index)
    assert layer.world_to_data(viewer.cursor.position)[-2:] == pytest.approx(index[-2:])
    if len(shape) > 2:
        assert viewer.dims.current_step[0] == 3


@pytest.mark.parametrize(
    ("box", "moves"),
    [
        ((slice(17, 24), slice(27, 34)), False),  # in the middle
        ((slice(5, 9), slice(27, 34)), False),  # near the upper edge
        ((slice(0, 4), slice(27, 34)), True),  # at the edge: nothing above it is seen
        ((slice(17, 24), slice(56, 60)), True),
        ((slice(0, 40), slice(0, 60)), True),  # larger than the view
    ],
)
def test_the_view_stays_if_the_place_is_seen_well(box: tuple[slice, slice], moves: bool) -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((3, 40, 60), np.uint8), scale=[5.0, 2.0, 2.0])
    viewer.canvas.size = (320, 480)
    viewer.scene.camera.zoom = 4.0  # the view has 80 x 120 mm: all of the image
    viewer.scene.camera.center = before = (0.0, 41.0, 60.0)
    viewer.cursor.position = (0.0, 1.0, 1.0)
    centre = [1, *((side.start + side.stop - 1) // 2 for side in box)]
    show_place(viewer, layer, centre, (slice(1, 2), *box))
    assert (tuple(viewer.scene.camera.center) != before) is moves
    assert viewer.dims.current_step[0] == 1, "the slice is shown anyway"
    assert (viewer.cursor.position[-2:] != (1.0, 1.0)) is moves
