import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Points
from plugin_phantoms import SHAPE, phantom, phantom_labels

from napari_medseg.core.image import Image
from napari_medseg.core.project.strokes import Spans
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.video.frame_paths import make_series
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.label_colours import LABEL_OPACITY, get_first_contour_px, make_uncertainty_colormap

CASE = Case(7, "lungs", "slice 0", "p", "h", "YX", SHAPE, (0.5, 0.5), (), False, "2026")


def shown(viewer: ViewerModel, image: Image) -> tuple[ImageLayer, Labels]:
    image_layer = layers.add_image(viewer, image, CASE, TASKS["lungs"])
    labels = phantom_labels(image.pixels.shape[0] if "Z" in image.axes else 0)
    return image_layer, layers.add_labels(viewer, labels, image_layer, CASE)


def test_a_ct_gets_its_millimetres_and_a_lung_window() -> None:
    image = Image(np.zeros((3, 4, 5), np.int16), "ZYX", (5.0, 0.7, 0.8), units="HU", name="ct")
    arguments = layers.make_image_arguments(image)
    centre, width = TASKS["lungs"].display_window
    assert arguments["scale"] == (5.0, 0.7, 0.8)
    assert arguments["units"] == ("mm", "mm", "mm")
    assert arguments["axis_labels"] == ("z", "y", "x")
    assert arguments["contrast_limits"] == (centre - width / 2, centre + width / 2)
    assert arguments["metadata"]["medseg"]["image"] is image


@pytest.mark.parametrize(
    ("image", "names"),
    [
        (Image(np.zeros((3, 4, 5), np.uint8), "ZYX"), ("z", "y", "x")),
        (Image(np.zeros((3, 4, 5, 3), np.uint8), "ZYXC", units="rgb"), ("image", "y", "x")),
        (Image(np.zeros((3, 4, 5, 3), np.uint8), "ZYXC", (2.0, 1.0, 1.0), units="rgb"), ("z", "y", "x")),
        (
            Image(
                np.zeros((3, 4, 5, 3), np.uint8),
                "ZYXC",
                units="rgb",
                sources=(make_series(Path("op.mp4"), 0, 2).path,),
            ),
            ("t", "y", "x"),
        ),
        (Image(np.zeros((4, 5, 3), np.uint8), "YXC", units="rgb"), ("y", "x")),
    ],
)
def test_the_slider_is_called_after_what_the_slices_lie_along(image: Image, names: tuple[str, ...]) -> None:
    assert layers.make_image_arguments(image)["axis_labels"] == names


def test_a_picture_without_spacing_is_in_pixels_and_colour_has_no_contrast() -> None:
    arguments = layers.make_image_arguments(Image(np.zeros((4, 5, 3), np.uint8), "YXC"))
    assert arguments["scale"] == (1.0, 1.0)
    assert arguments["units"] == ("pixel", "pixel")
    assert arguments["rgb"]
    assert arguments["contrast_limits"] is None


@pytest.mark.parametrize("pixels", [np.full((8, 8), 700, np.uint16), np.zeros((8, 8), np.float32)])
def test_contrast_of_a_flat_image_is_a_range_all_the_same(pixels: np.ndarray) -> None:
    low, high = layers.compute_contrast_limits(Image(pixels, "YX"))
    assert high > low


def test_padding_does_not_count_in_the_contrast() -> None:
    pixels = np.tile(np.arange(100, 200, dtype=np.int16), (20, 1))
    padded = np.concatenate([np.full((60, 100), 5, np.int16), pixels])
    alone = layers.compute_contrast_limits(Image(pixels, "YX"))
    assert layers.compute_contrast_limits(Image(padded, "YX", padding_value=5)) == alone


def test_labels_lie_on_their_image_in_the_colours_of_the_task() -> None:
    viewer = ViewerModel()
    image_layer, labels_layer = shown(viewer, phantom())
    assert np.array_equal(labels_layer.scale, image_layer.scale)
    assert labels_layer.units == image_layer.units
    colour = labels_layer.colormap.map(np.array([0, 1, 2, 9]))
    assert colour[0][3] == 0
    assert np.allclose(colour[1][:3], np.array([0xE6, 0x9F, 0x00]) / 255, atol=0.01)
    assert np.allclose(colour[3][:3], [1, 0, 1])
    assert labels_layer.features["label"].tolist() == ["background", "right lung", "left lung"]


def test_the_layer_edits_the_array_that_it_was_given_so_that_none_is_copied_in_the_window() -> None:
    viewer = ViewerModel()
    given = phantom_labels()
    layer = layers.add_labels(viewer, given, layers.add_image(viewer, phantom(), CASE, TASKS["lungs"]), CASE)
    assert layer.data is given


def test_contrast_limits_look_at_a_sample_of_a_large_volume_and_copy_nothing() -> None:
    pixels = np.arange(40 * 300 * 300, dtype=np.float32).reshape(40, 300, 300)[::-1, ::-1]
    tracemalloc.start()
    low, high = layers.compute_contrast_limits(Image(pixels, "ZYX"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes / 2
    assert low < 0.02 * pixels.size
    assert high > 0.9 * pixels.size


def test_an_image_layer_of_other_code_becomes_an_image() -> None:
    viewer = ViewerModel()
    grey = viewer.add_image(np.zeros((6, 7)), scale=(0.5, 0.5), units=("mm", "mm"), name="mine")
    colour = viewer.add_image(np.zeros((6, 7, 4), np.uint8), rgb=True)
    assert layers.get_image(grey).spacing_mm == (0.5, 0.5)
    assert layers.get_image(grey).name == "mine"
    assert layers.get_image(colour).axes == "YXC"
    assert layers.get_image(colour).pixels.shape == (6, 7, 3)
    assert layers.get_image(colour).spacing_mm is None


def test_what_is_no_image_of_ours_is_none() -> None:
    viewer = ViewerModel()
    assert layers.get_image(None) is None
    assert layers.get_image(Points(np.zeros((1, 2)))) is None
    assert layers.get_image(viewer.add_image(np.zeros((2, 3, 4, 5)))) is None


def test_an_arrival_is_one_until_a_case_is_tied_to_it() -> None:
    image = phantom()
    layer = ViewerModel().add_image(image.pixels, **layers.make_image_arguments(image))
    assert layers.is_unattached_image(layer)
    layers.attach_case(layer, image, CASE, TASKS["lungs"])
    assert not layers.is_unattached_image(layer)
    assert not layers.is_foreign_image(layer)


def test_a_volume_opens_on_the_slice_with_the_most_labels() -> None:
    viewer = ViewerModel()
    image_layer, labels_layer = shown(viewer, phantom(n_slices=8))
    labels_layer.data[:] = 0
    labels_layer.data[6, 5:9, 5:9] = 1
    assert layers.find_fullest_plane(np.zeros_like(labels_layer.data)) is None
    layers.show_initial_slice(viewer, image_layer, layers.find_fullest_plane(labels_layer.data))
    assert viewer.dims.current_step[0] == 6
    layers.show_initial_slice(viewer, image_layer)
    assert viewer.dims.current_step[0] == 4


def test_showing_voxels_moves_to_their_slice_and_stays_where_they_are_in_view() -> None:
    viewer = ViewerModel()
    image_layer, labels_layer = shown(viewer, phantom(n_slices=8))
    start = np.ravel_multi_index(([2, 5], [3, 3], [3, 3]), labels_layer.data.shape)
    layers.show_voxels(viewer, image_layer, Spans(start[:1], start[:1] + 1))
    assert viewer.dims.current_step[0] == 2
    layers.show_voxels(viewer, image_layer, Spans(start, start + 1))
    assert viewer.dims.current_step[0] == 2


def test_tools_go_over_to_the_next_case() -> None:
    viewer = ViewerModel()
    _, before = shown(viewer, phantom(0))
    before.mode, before.brush_size, before.selected_label, before.contour = "paint", 33, 2, 2
    tools = labels_tools.get_tools(before)
    _, after = shown(viewer, phantom(1))
    labels_tools.apply_tools(after, tools, TASKS["lungs"])
    assert (after.mode, after.brush_size, after.selected_label, after.contour) == ("paint", 33, 2, 2)


def test_a_layer_that_is_added_meanwhile_takes_neither_selection_nor_tool() -> None:
    viewer = ViewerModel()
    image_layer, labels_layer = shown(viewer, phantom())
    labels_tools.start_painting(viewer, labels_layer, 2)
    with labels_tools.keep_selected(viewer, labels_layer):
        layers.add_uncertainty_map(viewer, phantom_labels(), image_layer, CASE)
    assert viewer.layers.selection.active is labels_layer
    assert labels_layer.mode == "paint"


def test_labels_hide_while_a_key_is_held_and_the_brush_stays_in_hand() -> None:
    viewer = ViewerModel()
    _, layer = shown(viewer, phantom())
    labels_tools.start_painting(viewer, layer, 1)
    held = labels_tools.hide_while_held(layer)
    next(held)
    assert layer.opacity == 0
    assert list(held) == []
    assert (layer.opacity, layer.mode) == (LABEL_OPACITY, "paint")


def test_contour_and_fill_take_turns() -> None:
    _, layer = shown(ViewerModel(), phantom())
    labels_tools.toggle_contour(layer, TASKS["lungs"])
    assert (layer.contour, layer.opacity) == (1, 1.0)
    labels_tools.toggle_contour(layer, TASKS["lungs"])
    assert (layer.contour, layer.opacity) == (0, LABEL_OPACITY)


@pytest.mark.parametrize(("side_px", "contour_px"), [(256, 1), (1000, 2)])
def test_numbered_objects_are_contours_at_first_and_their_tissue_is_seen_when_filled(
    side_px: int, contour_px: int
) -> None:
    layer, task = Labels(np.ones((side_px, side_px), np.uint16)), TASKS["nuclei"]
    labels_tools.apply_tools(layer, {}, task)
    assert (layer.contour, layer.opacity) == (contour_px, 1.0)
    labels_tools.toggle_contour(layer, task)
    assert layer.contour == 0
    assert layer.opacity < LABEL_OPACITY
    following = Labels(np.ones((side_px, side_px), np.uint16))
    labels_tools.apply_tools(following, labels_tools.get_tools(layer), task)
    assert following.contour == 0, "what the user chose stays for the next image"
    labels_tools.apply_tools(following, {}, TASKS["covid"])
    assert (following.contour, following.opacity) == (0, LABEL_OPACITY), "areas are filled"


def test_a_large_plane_is_filled_at_first_because_its_contours_slow_each_edit() -> None:
    assert get_first_contour_px(TASKS["nuclei"], (1400, 1400)) > 0
    assert get_first_contour_px(TASKS["nuclei"], (3000, 3000)) == 0


def test_reference_labels_are_contours_that_cannot_be_edited() -> None:
    viewer = ViewerModel()
    image_layer = layers.add_image(viewer, phantom(), CASE, TASKS["lungs"])
    layer = layers.add_reference_labels(viewer, phantom_labels(), image_layer, CASE, "old", "#FFFFFF")
    assert not layer.editable
    assert layer.contour > 0
    assert np.allclose(layer.colormap.map(np.array([1, 2])), 1.0)


def test_uncertainty_is_clear_where_the_model_is_sure_and_differs_from_bright_and_dark_images_elsewhere() -> None:
    colours = make_uncertainty_colormap().map(np.array([0.0, 0.05, 0.3, 0.5, 0.8, 1.0]))
    assert np.all(colours[:2, 3] < 0.01)
    for background in ((1.0, 1.0, 1.0), (0.85, 0.75, 0.85), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)):
        shown = colours[:, :3] * colours[:, 3:] + np.array(background) * (1 - colours[:, 3:])
        changes = np.abs(shown - background).max(axis=1)
        assert np.all(changes[2:5] > 0.3), background
        assert changes[5] > 0.3, background
