"""Coronal and sagittal slices: which voxels, which way up, and labels on top."""

import numpy as np
import pytest
from napari.utils.colormaps import CyclicLabelColormap

from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.plugin.label_colours import make_colormap
from napari_medseg.plugin.views.plane_slices import (
    LabelLook,
    Plane,
    choose_steps,
    cut_plane,
    draw_plane,
)


def test_the_head_is_on_top_and_columns_grow_to_the_left_side_or_to_the_back() -> None:
    volume = np.zeros((3, 4, 5), np.int16)
    volume[2, 1, 4] = 7  # the slice nearest to the head
    assert np.argwhere(cut_plane(volume, Plane.CORONAL, 1)).tolist() == [[0, 4]]
    assert np.argwhere(cut_plane(volume, Plane.SAGITTAL, 4)).tolist() == [[0, 1]]
    assert cut_plane(volume, Plane.CORONAL, 1).shape == (3, 5)
    assert cut_plane(volume, Plane.SAGITTAL, 4).shape == (3, 4)
    assert cut_plane(np.zeros((3, 4, 5, 3), np.uint8), Plane.SAGITTAL, 4).shape == (3, 4, 3)


def test_large_planes_are_thinned_to_twice_their_room() -> None:
    assert choose_steps((300, 512, 512), Plane.CORONAL, (300, 190)) == (1, 1)
    assert choose_steps((300, 512, 4000), Plane.CORONAL, (300, 190)) == (1, 6)
    assert choose_steps((4000, 5000, 4000), Plane.SAGITTAL, (300, 190)) == (10, 8)
    volume = np.arange(8 * 9 * 10).reshape(8, 9, 10)
    assert np.array_equal(cut_plane(volume, Plane.CORONAL, 3, (2, 3)), volume[::2, 3, ::3][::-1])


def test_grey_values_are_shown_in_the_window() -> None:
    picture = draw_plane(np.array([[-2000, -1350, -600, 150, 3000]], np.int16), (-1350, 150))
    assert picture.shape == (1, 5, 3)
    assert picture[0, :, 0].tolist() == [0, 0, 127, 255, 255]
    assert draw_plane(np.array([[np.nan, 1.0]], np.float32), (0, 1))[0, :, 1].tolist() == [0, 255]
    colours = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert np.array_equal(draw_plane(colours, (0, 255)), colours)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_labels_have_the_colours_of_the_canvas(dtype: type) -> None:
    labels, look = np.array([[0, 1, 2]], dtype), make_colormap(TASKS["lungs"])
    picture = draw_plane(np.zeros((1, 3)), (0, 255), labels, LabelLook(look, 1.0))
    assert picture[0].tolist() == [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    picture = draw_plane(np.full((1, 3), 100), (0, 255), labels, LabelLook(look, 0.5))
    assert picture[0, :2].tolist() == [[100, 100, 100], [165, 129, 50]]
    colours = draw_plane(np.full((1, 3, 3), 100, np.uint8), (0, 255), labels, LabelLook(look, 0.5))
    assert np.array_equal(colours, picture)


def test_object_numbers_of_any_size_are_drawn_as_on_the_canvas() -> None:
    colours = make_colormap(TASKS["nuclei"])
    assert isinstance(colours, CyclicLabelColormap)
    for numbers in (np.array([[0, 3, 70_000, 70_000]], np.uint32), np.array([[0, 3, 70, 7]], np.uint16)):
        picture = draw_plane(np.zeros((1, 4)), (0, 255), numbers, LabelLook(colours, 1.0))
        expected = (colours.map(numbers[0])[:, :3] * 255).astype(np.uint8)
        assert np.array_equal(picture[0, 1:], expected[1:])
        assert not picture[0, 0].any()
