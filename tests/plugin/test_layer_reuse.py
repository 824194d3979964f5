"""The next case is shown in the layers of the case before, and looks as in new ones."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from plugin_phantoms import phantom, phantom_labels

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin import layers
from napari_medseg.workflow import cases, review


@pytest.fixture
def opened(window: SimpleNamespace) -> SimpleNamespace:
    """A predicted case in the viewer."""
    window.worklist.set_predicts_automatically(False)
    window.case = show(window, phantom())
    return window


def show(window: SimpleNamespace, image: Image, task: str = "lungs", with_labels: bool = True) -> Case:
    (case,) = cases.add_cases(window.ws, [image], task)
    if with_labels:
        labels = phantom_labels(len(image.pixels) if image.axes == "ZYX" else 0)
        review.record_prediction(window.ws, case, PredictionResult(labels, 0.1, None, 1.0, "CPU"), f"{task}-unet@1")
    window.case_controller.open(case, image)
    return case


def layers_of(window: SimpleNamespace) -> list[Layer]:
    return list(window.viewer.layers)


def test_the_layers_stay_and_show_the_next_case(opened: SimpleNamespace) -> None:
    before = layers_of(opened)
    before[1].paint((2, 2), 1)
    following = phantom(1)
    case = show(opened, following)
    image_layer, labels_layer = layers_of(opened)
    assert [image_layer, labels_layer] == before
    assert np.array_equal(image_layer.data, following.pixels)
    assert np.array_equal(labels_layer.data, phantom_labels()), "the stroke belongs to the case before"
    assert {layer.metadata[layers.METADATA_KEY]["case"] for layer in before} == {case.id}
    assert labels_layer.metadata[layers.METADATA_KEY]["image"].pixels is following.pixels
    assert [image_layer.name, labels_layer.name] == [case.name, f"lungs: {case.name} (predicted)"]


def test_strokes_and_undo_belong_to_the_case_that_is_shown(opened: SimpleNamespace) -> None:
    layer = opened.viewer.layers[1]
    layer.paint((2, 2), 1)
    show(opened, phantom(1))
    opened.case_controller.undo()
    layer.undo()  # napari's own history
    assert np.array_equal(layer.data, phantom_labels())
    layer.paint((40, 60), 2)
    opened.case_controller.open(opened.case, phantom())
    assert (layer.data[2, 2], layer.data[40, 60]) == (1, 0)
    assert opened.case_controller.current.state == "draft"


def set_affine(layer: Layer) -> None:
    layer.affine = np.diag([2.0, 1.0, 1.0])


def start_stroke(layer: Any) -> None:
    layer._begin_stroke()


def on_event(_event: object) -> None:
    """Stand for a function of another plugin."""


def listen(layer: Any) -> None:
    layer.events.data.connect(on_event)


def listen_to_the_mouse(layer: Any) -> None:
    layer.mouse_drag_callbacks.append(on_event)


CHANGES: dict[str, tuple[int, Callable[[Any], None]]] = {
    "image hidden": (0, lambda layer: setattr(layer, "visible", False)),
    "image transparent": (0, lambda layer: setattr(layer, "opacity", 0.3)),
    "image gamma": (0, lambda layer: setattr(layer, "gamma", 0.5)),
    "image colours": (0, lambda layer: setattr(layer, "colormap", "red")),
    "image blending": (0, lambda layer: setattr(layer, "blending", "additive")),
    "image blending to that of upper layers": (0, lambda layer: setattr(layer, "blending", "translucent")),
    "image renamed": (0, lambda layer: setattr(layer, "name", "before surgery")),
    "another plugin listens to the image": (0, listen),
    "image shifted": (0, lambda layer: setattr(layer, "translate", (3, 0))),
    "image rotated": (0, lambda layer: setattr(layer, "rotate", 30)),
    "image stretched": (0, set_affine),
    "image smooth": (0, lambda layer: setattr(layer, "interpolation2d", "linear")),
    "labels hidden": (1, lambda layer: setattr(layer, "visible", False)),
    "labels shifted": (1, lambda layer: setattr(layer, "translate", (3, 0))),
    "one label shown": (1, lambda layer: setattr(layer, "show_selected_label", True)),
    "a stroke not ended": (1, start_stroke),
    "labels blending": (1, lambda layer: setattr(layer, "blending", "additive")),
    "labels blending of the lowest layer": (
        1,
        lambda layer: setattr(layer, "blending", "translucent_no_depth"),
    ),
    "labels renamed": (1, lambda layer: setattr(layer, "name", "my contours")),
    "another plugin listens to the labels": (1, listen),
    "another plugin listens to the mouse": (1, listen_to_the_mouse),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_whose_look_was_changed_is_replaced(opened: SimpleNamespace, change: str) -> None:
    index, apply = CHANGES[change]
    changed = opened.viewer.layers[index]
    apply(changed)
    show(opened, phantom(1))
    image_layer, labels_layer = layers_of(opened)
    assert changed not in (image_layer, labels_layer)
    assert image_layer.visible
    assert labels_layer.visible
    assert np.array_equal(labels_layer.translate, (0, 0))
    assert np.array_equal(labels_layer.data, phantom_labels())


def test_labels_that_were_moved_below_the_image_are_above_the_next_one(opened: SimpleNamespace) -> None:
    opened.viewer.layers.move(1, 0)
    show(opened, phantom(1))
    assert [type(layer).__name__ for layer in layers_of(opened)] == ["Image", "Labels"]


KINDS = {
    "slice": phantom(1),
    "volume": phantom(1, n_slices=3),
    "pixels": replace(phantom(1), spacing_mm=None),
    "volume in pixels": replace(phantom(1, n_slices=3), spacing_mm=None),
}


@pytest.mark.filterwarnings("error::UserWarning")  # as for layers in millimetres and pixels together
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_the_layers_also_show_images_of_other_dimensions_and_units(
    window: SimpleNamespace, first: str, second: str
) -> None:
    window.worklist.set_predicts_automatically(False)
    before_case = show(window, KINDS[first])
    before = layers_of(window)
    before[1].paint((1,) * before[1].ndim, 2)
    image = replace(KINDS[second], pixels=KINDS[second].pixels.copy() + 1)
    show(window, image)
    differs_in_both = {first, second} in ({"slice", "volume in pixels"}, {"volume", "pixels"})
    assert (layers_of(window) == before) != differs_in_both
    check_like_new(window, image)
    shown = layers_of(window)[1]
    shown.paint((1,) * shown.ndim, 1)
    window.case_controller.open(before_case, KINDS[first])
    shown = layers_of(window)[1]
    assert shown.data[(1,) * shown.ndim] == 2
    check_like_new(window, KINDS[first])


def check_like_new(window: SimpleNamespace, image: Image) -> None:
    """Compare the layers and the axes of the viewer with those of a new viewer."""
    new = ViewerModel()
    arguments = layers.make_image_arguments(image)
    new.add_image(image.pixels, **{**arguments, "metadata": {}})
    new.add_labels(np.zeros(image.spatial_shape, np.uint8), **layers.get_spatial_arguments(new.layers[0]))
    for shown, expected in zip(layers_of(window), new.layers, strict=True):
        assert shown.data.shape == expected.data.shape
        assert shown.axis_labels == expected.axis_labels
        assert [str(unit) for unit in shown.units] == [str(unit) for unit in expected.units]
        assert np.allclose(shown.extent.world, expected.extent.world)
        place = round(window.viewer.dims.point[0] / shown.scale[0])
        assert np.array_equal(shown._slice.image.raw, shown.data if shown.ndim == 2 else shown.data[place])
    assert np.allclose(window.viewer.dims.range, new.dims.range)
    assert window.viewer.dims.axis_labels == new.dims.axis_labels


def test_an_image_in_colours_gets_new_layers(opened: SimpleNamespace) -> None:
    grey = phantom(1)
    following = replace(grey, pixels=np.stack([grey.pixels] * 3, axis=-1), axes="YXC", units="rgb")
    before = layers_of(opened)
    show(opened, following)
    image_layer, labels_layer = layers_of(opened)
    assert image_layer not in before
    assert image_layer.data.shape == following.pixels.shape
    assert labels_layer.data.shape == following.spatial_shape


def test_a_layer_of_the_user_is_never_used_for_another_case(window: SimpleNamespace) -> None:
    window.worklist.set_predicts_automatically(False)
    own = window.viewer.add_image(phantom().pixels, name="mine")
    window.viewer.layers.selection.active = own
    window.worklist.predict()
    show(window, phantom(1))
    assert own in window.viewer.layers
    assert np.array_equal(own.data, phantom().pixels)
    assert layers.is_foreign_image(own)


def test_labels_that_the_user_added_stay_as_they_are(opened: SimpleNamespace) -> None:
    own = opened.viewer.add_labels(phantom_labels(), name="lungs: mine")
    show(opened, phantom(1))
    assert own in opened.viewer.layers
    assert own is not opened.case_controller.current.labels_layer
    assert (own.name, own.editable) == ("lungs: mine", True)
    assert np.array_equal(own.data, phantom_labels())


def test_a_layer_that_napari_numbered_is_used_again(opened: SimpleNamespace) -> None:
    opened.viewer.add_points(name=opened.case.name)
    opened.viewer.layers[0].name = opened.case.name
    before = layers_of(opened)
    show(opened, phantom(1))
    assert layers_of(opened) == before


def test_contrast_is_that_of_the_new_image_in_both_directions(opened: SimpleNamespace) -> None:
    wide = replace(phantom(1), pixels=phantom(1).pixels.astype(np.int16) * 100 - 9000)
    for image in (wide, phantom(2)):
        show(opened, image)
        layer = opened.viewer.layers[0]
        limits = list(layers.compute_contrast_limits(image))
        assert (layer.contrast_limits, layer.contrast_limits_range) == (limits, limits)


def test_what_is_equal_is_not_set_again(opened: SimpleNamespace) -> None:
    """Each of these costs milliseconds: shaders, thumbnails, sliders, the order of the layer list."""
    show(opened, phantom(1))
    heard: list[Any] = []  # its method is no listener of another plugin, for which layers are made anew
    viewer, (image_layer, labels_layer) = opened.viewer, layers_of(opened)
    for layer in (image_layer, labels_layer):
        for name in ("colormap", "scale", "units", "contrast_limits", "affine", "name"):
            if name in layer.events.emitters:
                layer.events.emitters[name].connect(heard.append)
    viewer.dims.events.range.connect(heard.append)
    show(opened, phantom(2))
    assert sorted(event.type for event in heard) == ["name", "name"], "one of each layer"
    assert layers_of(opened) == [image_layer, labels_layer]


def test_images_of_one_shape_with_another_spacing_have_another_extent(opened: SimpleNamespace) -> None:
    image = phantom(1)
    show(opened, replace(image, spacing_mm=tuple(2 * side for side in image.spacing_mm)))
    (image_layer, labels_layer), viewer = layers_of(opened), opened.viewer
    assert labels_layer.scale == pytest.approx(image_layer.scale)
    assert viewer.layers.extent.world[1] == pytest.approx(image_layer.extent.world[1])
    assert [side.stop for side in viewer.dims.range] == pytest.approx(image_layer.extent.world[1])


def test_colours_that_a_person_changed_are_those_of_the_task_again(opened: SimpleNamespace) -> None:
    task = opened.ws.tasks.get_task("lungs")
    labels_layer = opened.viewer.layers[1]
    labels_layer.colormap = {0: "transparent", 1: "red", None: "blue"}
    show(opened, phantom(1))
    shown, wanted = opened.viewer.layers[1].colormap, layers.make_colormap(task)
    assert all(np.array_equal(shown.color_dict[value], colour) for value, colour in wanted.color_dict.items())


def test_labels_wait_read_only_until_there_are_some(opened: SimpleNamespace) -> None:
    before = layers_of(opened)
    case = show(opened, phantom(1), with_labels=False)
    waiting = opened.viewer.layers[1]
    assert layers_of(opened) == before
    assert opened.case_controller.current.labels_layer is None
    assert not waiting.editable
    assert not waiting.data.any()
    assert waiting.name == f"lungs: {case.name} (no labels yet)"
    opened.case_controller.show_prediction(None)
    assert opened.case_controller.current.labels_layer is waiting
    assert waiting.editable
    assert waiting.data.shape == phantom(1).spatial_shape
    waiting.paint((5, 5), 2)
    assert opened.case_controller.current.state == "draft"


def test_a_waiting_layer_that_the_user_deleted_is_made_anew(opened: SimpleNamespace) -> None:
    show(opened, phantom(1), with_labels=False)
    del opened.viewer.layers[1]
    opened.case_controller.show_prediction(None)
    assert opened.case_controller.current.labels_layer in opened.viewer.layers


def test_a_waiting_layer_goes_with_its_case(opened: SimpleNamespace) -> None:
    show(opened, phantom(1), with_labels=False)
    opened.case_controller.close_case()
    assert not opened.viewer.layers


def test_tools_stay_within_a_task_and_start_anew_in_another_one(opened: SimpleNamespace) -> None:
    layer = opened.viewer.layers[1]
    layer.contour, layer.brush_size, layer.mode, layer.preserve_labels = 2, 3, "paint", True
    show(opened, phantom(1))
    assert (layer.contour, layer.brush_size, layer.mode, layer.preserve_labels) == (2, 3, "paint", True)
    show(opened, phantom(2), task="covid")
    layer = opened.viewer.layers[1]
    assert (layer.contour, layer.brush_size, layer.mode, layer.preserve_labels) == (0, 10, "pan_zoom", False)
    assert list(layer.features["index"]) == [0, 1, 2, 3], "the labels of that task"
    show(opened, phantom(3))
    assert (opened.viewer.layers[1].contour, opened.viewer.layers[1].mode) == (2, "paint")
