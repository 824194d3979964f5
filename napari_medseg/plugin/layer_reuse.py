"""Layers that show the next case: the data of existing layers are replaced, because new layers take napari longer.

A layer is used again only if it is ours and the user changed nothing of its look that a new layer would not have.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from napari.utils.colormaps.colormap import LabelColormapBase
from napari.utils.events import EventEmitter
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers

if TYPE_CHECKING:
    from napari import Viewer

POSITION = ("translate", "rotate", "shear")
PLACE = ("scale", *POSITION, "affine")
"""Where the voxels of a layer lie."""
LOOK = (*POSITION, "visible", "rendering", "depiction", "projection_mode", "locked")
NUMBER_OF_NAME = re.compile(r" \[\d+\]$")
"""What napari appends to the name of a second layer of the same name."""
LISTENERS = ("napari", "napari_medseg", "vispy", "superqt", "PyQt5", "PyQt6", "PySide6", "builtins")
"""Packages whose callbacks expect that the data of a layer change."""
MOUSE_CALLBACKS = tuple(f"mouse_{action}_callbacks" for action in ("drag", "move", "wheel", "double_click"))
DERIVED_FROM_SHAPE = ("_on_layers_change", "_on_colormap_change", "_clean_cache")
"""Methods of napari's viewer, drawing and layer list that depend on shape and type of data only."""
UNIT_NAMES = {"mm": "millimeter"}
"""What napari calls the units of `layers.make_image_arguments`."""
IMAGE_LOOK = (*LOOK, "opacity", "gamma", "interpolation2d", "interpolation3d", "auto_contrast")
LABELS_LOOK = (*LOOK, "show_selected_label", "iso_gradient_mode")


def show_image(viewer: "Viewer", image: Image, case: Case, task: Task, layer: ImageLayer | None) -> ImageLayer:
    """Show the image of a case.

    Parameters
    ----------
    layer
        A layer that shows the image already, or one of another case for which `can_show_image` is true, or `None`.
    """
    if layer is None or not layers.has_case(layer):
        return layers.show_image(viewer, image, case, task, layer)
    _replace_image(layer, layers.make_image_arguments(image, task, case), image.pixels)
    active = viewer.layers.selection.active
    if active is None or layers.METADATA_KEY not in active.metadata:  # else it stays, as napari builds controls anew
        viewer.layers.selection.active = layer
    return layers.attach_case(layer, image, case, task)


def can_show_image(viewer: "Viewer", layer: ImageLayer, case: Case, image: Image) -> bool:
    """Whether this layer, which shows `case`, can show another image and then look like a new layer."""
    return (
        case.name in (layer.name, NUMBER_OF_NAME.sub("", layer.name))
        and layer.blending == layer.metadata[layers.METADATA_KEY][layers.BLENDING_KEY]
        and layer.rgb == image.axes.endswith("C")  # it decides which controls napari makes
        and layer.colormap.name == "gray"
        and _looks_new(viewer, layer, get_new_image_look(layer.ndim))
    )


def can_show_labels(viewer: "Viewer", layer: Labels, case: Case, above: ImageLayer) -> bool:
    """Whether this layer with labels of `case`, `above` its image, can show labels of another one and then look new."""
    return (
        layer.name.startswith(f"{case.task}: {case.name}")
        and layer.blending == "translucent"
        and not layer._block_history  # a stroke is being drawn: its rest must not go into the next case
        and _looks_new(viewer, layer, get_new_labels_look(layer.ndim))
        and viewer.layers.index(layer) > viewer.layers.index(above)
    )


def empty_labels(layer: Labels, case: Case) -> None:
    """Show no labels, read-only, in a layer that waits for labels, and say so in its name."""
    layer.name = f"{case.task}: {case.name} (no labels yet)"
    layer.data = np.zeros((1,) * layer.ndim, layer.data.dtype)  # of one voxel: large ones take long to draw
    layer.editable = False  # napari makes a layer with new data editable


def prepare_labels(layer: Labels, beside: ImageLayer, case: Case) -> None:
    """Give a labels layer the name, the colours and the grid of the next case, but not its labels.

    The layer is read-only until `show_labels` is called, and forgets its history and its tool. What is equal already is
    not set: napari builds shaders and thumbnails again for each colour map, and sorts its list for each name.
    """
    has_other_unit = layer.units[-1] != beside.units[-1]
    if has_other_unit:  # before the dimensions, because napari draws then, and warns of millimetres beside pixels
        layer.units = (beside.units[-1],) * layer.ndim
    _set_ndim(layer, beside.ndim)
    layer.editable = False
    with layer._block_refresh():  # else napari slices and uploads the old labels again for each attribute
        for name, value in layers.make_labels_arguments(beside, case).items():
            if name == "features":
                _set_features(layer, {} if value is None else value)
            elif name == "colormap":
                if not _have_equal_colours(layer.colormap, value):
                    layer.colormap = value
            elif name != "name" and not _are_equal(getattr(layer, name), value):
                setattr(layer, name, value)
    if has_other_unit:
        beside.refresh()  # napari chose its slice while one layer had millimetres and the other one pixels


def show_labels(viewer: "Viewer", layer: Labels, labels: NDArray[Any]) -> None:
    """Show and edit labels in a prepared layer."""
    set_data(layer, labels)
    if viewer.layers.selection.active is not layer:
        viewer.layers.selection.active = layer


def put_on_image(layer: Labels, beside: ImageLayer) -> bool:
    """Put labels on the grid of their image; return whether they were anywhere else."""
    wanted = layers.get_spatial_arguments(beside)
    moved = [name for name in PLACE if not _are_equal(getattr(layer, name), wanted[name])]
    for name in moved:
        setattr(layer, name, wanted[name])
    return bool(moved)


def set_data(layer: ImageLayer | Labels, data: NDArray[Any]) -> None:
    """Set the data of a layer.

    If shape and type stay, what napari derives from them stays, too: the ranges of its sliders, the size of the world,
    and the shader of the colours. It would compute them again each time, which takes half as long as all the rest.
    """
    with ExitStack() as blocked:
        if data.shape == layer.data.shape and data.dtype == layer.data.dtype:
            for emitter in (layer.events.data, layer.events._extent_augmented):
                for callback in _list_methods(emitter, DERIVED_FROM_SHAPE):
                    blocked.enter_context(emitter.blocker(callback))
        layer.data = data


def _list_methods(emitter: EventEmitter, names: Sequence[str]) -> list[Callable[..., None]]:
    """Return the methods of these names that are connected to an emitter of napari."""
    connected = [entry for entry in emitter.callbacks if isinstance(entry, tuple) and entry[1] in names]
    return [getattr(owner, name) for reference, name in connected if (owner := reference()) is not None]


def _replace_image(layer: ImageLayer, arguments: dict[str, Any], pixels: NDArray[Any]) -> None:
    limits = arguments.pop("contrast_limits")
    _set_ndim(layer, len(arguments["scale"]))
    with layer._block_refresh():  # else napari slices and uploads the old image again for each attribute
        if [str(unit) for unit in layer.units] != [UNIT_NAMES.get(unit, unit) for unit in arguments["units"]]:
            layer.units = arguments["units"]
        for name in ("scale", "axis_labels", "metadata"):  # the name is that of the case, set by the caller
            if not _are_equal(getattr(layer, name), arguments[name]):
                setattr(layer, name, arguments[name])
        for name in ("contrast_limits_range", "contrast_limits"):
            if limits is not None and not _are_equal(tuple(getattr(layer, name)), limits):
                setattr(layer, name, limits)
    set_data(layer, pixels)


def _set_features(layer: Labels, features: dict[str, list[Any]]) -> None:
    if layer.features.to_dict("list") != features:
        layer.features = features


def _have_equal_colours(first: LabelColormapBase, second: LabelColormapBase) -> bool:
    if isinstance(first, DirectLabelColormap) and isinstance(second, DirectLabelColormap):
        return first.color_dict.keys() == second.color_dict.keys() and all(
            np.array_equal(colour, second.color_dict[value]) for value, colour in first.color_dict.items()
        )
    is_cyclic = isinstance(first, CyclicLabelColormap) and isinstance(second, CyclicLabelColormap)
    return is_cyclic and first.seed == second.seed and np.array_equal(first.colors, second.colors)


def _set_ndim(layer: ImageLayer | Labels, ndim: int) -> None:
    """Give a layer data of other dimensions, of one voxel; its attributes have a value for each dimension."""
    if layer.ndim != ndim:
        layer.data = np.zeros((1,) * ndim + layer.data.shape[layer.ndim :], layer.data.dtype)  # colours stay


def _looks_new(viewer: "Viewer", layer: Layer, look: dict[str, Any]) -> bool:
    return (
        layer in viewer.layers
        and not _has_foreign_listener(layer)
        and layer.source.path is None  # napari shows the path of its file
        and np.array_equal(layer.affine.affine_matrix, np.eye(layer.ndim + 1))
        and all(_are_equal(getattr(layer, name), value) for name, value in look.items())
    )


@cache
def get_new_image_look(ndim: int) -> dict[str, Any]:
    """Return the attributes of `IMAGE_LOOK` of a new layer."""
    layer = ImageLayer(np.zeros((1,) * ndim, np.uint8), units=("mm",) * ndim)
    return {name: getattr(layer, name) for name in IMAGE_LOOK}


@cache
def get_new_labels_look(ndim: int) -> dict[str, Any]:
    """Return the attributes of `LABELS_LOOK` of a new layer."""
    layer = Labels(np.zeros((1,) * ndim, np.uint8))
    return {name: getattr(layer, name) for name in LABELS_LOOK}


def _has_foreign_listener(layer: Layer) -> bool:
    """Whether another plugin or a script listens to this layer; it may rely on the image or the case that is shown."""
    connected = [each for emitter in layer.events.emitters.values() for each in emitter.callbacks]
    connected += [each for name in MOUSE_CALLBACKS for each in getattr(layer, name)]
    packages = (_get_package(each[0]() if isinstance(each, tuple) else each) for each in connected)
    return any(package not in LISTENERS for package in packages)


def _get_package(listener: Any) -> str:  # noqa: ANN401 - a function, or the object of a method; `None` if it is deleted
    while isinstance(listener, partial):
        listener = listener.func
    module = getattr(listener, "__module__", None) or type(getattr(listener, "__self__", listener)).__module__
    return str(module).partition(".")[0]


def _are_equal(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(np.asarray(first), np.asarray(second))
    if isinstance(first, Affine) and isinstance(second, Affine):
        return np.array_equal(first.affine_matrix, second.affine_matrix)
    return bool(first == second)
