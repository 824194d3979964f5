"""Tool and label that the next case starts with: kept within a task, and only if they mean something there."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.plugin.controllers import labels_tools

LUNGS, NUCLEI, INSTRUMENTS = TASKS["lungs"], TASKS["nuclei"], TASKS["instruments"]


def make_layer(*values: int, dtype: type = np.uint8) -> Labels:
    return Labels(np.array([[0, *values]], dtype))


@pytest.mark.parametrize(("task", "wanted", "selected"), [
    (LUNGS, 2, 2),
    (LUNGS, 0, 0),
    (LUNGS, 537, 1),  # does not fit into the layer's 8 bits
    (LUNGS, 7, 1),
    (INSTRUMENTS, 2, 1),
    (LUNGS, None, 1),
])  # fmt: skip
def test_a_label_is_kept_only_if_the_task_has_it(task: object, wanted: int | None, selected: int) -> None:
    layer = make_layer(1, 2)
    labels_tools.select_initial_label(layer, task, wanted)
    assert layer.selected_label == selected


@pytest.mark.parametrize("wanted", [None, 0, 2, 537])
def test_an_object_gets_a_fresh_number_whatever_was_selected_before(wanted: int | None) -> None:
    layer = make_layer(1, 537, 40, dtype=np.uint32)
    labels_tools.select_initial_label(layer, NUCLEI, wanted, labels_tools.find_free_object_value(layer))
    assert layer.selected_label == 538


@pytest.mark.parametrize(("values", "free"), [((), 1), ((3,), 4), ((255,), 1), ((1, 2, 4, 255), 3)])
def test_a_free_number_fits_into_the_type_of_the_layer(values: tuple[int, ...], free: int) -> None:
    assert labels_tools.find_free_object_value(make_layer(*values)) == free


def test_a_layer_without_a_free_number_is_refused() -> None:
    with pytest.raises(MedSegError, match="there are 255 objects; uint8 can number 255"):
        labels_tools.find_free_object_value(make_layer(*range(1, 256)))


def test_tools_that_a_plane_does_not_have_are_left_behind() -> None:
    volume, plane = Labels(np.zeros((3, 4, 5), np.uint8)), Labels(np.zeros((4, 5), np.uint8))
    volume.n_edit_dimensions, volume.mode, volume.brush_size = 3, "transform", 30
    labels_tools.apply_tools(plane, labels_tools.get_tools(volume), LUNGS)
    assert (plane.n_edit_dimensions, plane.mode, plane.brush_size) == (2, "pan_zoom", 30)


def test_a_layer_of_16_bits_becomes_wider_when_all_its_numbers_are_used() -> None:
    layer = Labels(np.arange(2**16, dtype=np.uint16).reshape(256, 256))
    assert labels_tools.find_free_object_value(layer) == 2**16
    assert layer.data.dtype == np.uint32


def test_contours_fit_the_size_of_the_next_image_and_a_chosen_width_stays() -> None:
    small, large = (Labels(np.zeros((side, side), np.uint8)) for side in (300, 900))
    labels_tools.apply_tools(small, {}, TASKS["nuclei"])
    for before, after, expected in ((small, large, 2), (large, small, 1)):
        labels_tools.apply_tools(after, labels_tools.get_tools(before), TASKS["nuclei"])
        assert after.contour == expected
    for chosen in (0, 5):
        small.contour = chosen
        labels_tools.apply_tools(large, labels_tools.get_tools(small), TASKS["nuclei"])
        assert large.contour == chosen
