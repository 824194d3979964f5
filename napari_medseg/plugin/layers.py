"""The one file that knows both our records and napari's layers: images and labels in, edits out."""

from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.task_definitions import TASKS, Task

if TYPE_CHECKING:
    from napari import Viewer

METADATA_KEY = "medseg"
LABEL_TASK_KEY = "labelled as"
LABEL_OPACITY = 0.45
UNKNOWN_LABEL_COLOUR = "#FF00FF"
CONTOUR_PX = 2
N_COLOURS = 24
# From orange over green to blue, in an order that sets neighbours apart: purple would vanish on stained tissue.
HUES = tuple(0.06 + 0.48 * (7 * number % N_COLOURS) / N_COLOURS for number in range(N_COLOURS))
OBJECT_COLOURS = tuple((*hsv_to_rgb(hue, 0.95, 1.0 - 0.3 * (number % 2)), 1.0) for number, hue in enumerate(HUES))
CONTRAST_PERCENTILES = (0.5, 99.5)
PERCENTILE_SAMPLE_SIZE = 200_000
UNCERTAINTY_CONTRAST_MAX = 160  # of 255: what is less sure than this glows white
SPATIAL_ARGUMENTS = ("scale", "units", "axis_labels", "translate", "rotate", "shear", "affine")


def make_image_arguments(image: Image, task: Task | None = None, case: Case | None = None) -> dict[str, Any]:
    """Arguments of napari's Image layer for an image: name, scale in mm (or pixels), contrast, and the image itself.

    Parameters
    ----------
    image
        Canonical image.
    task
        Whose display window a CT gets; the first task with a window for these axes where `None`.
    case
        That the layer shows; `None` for one that is still to become a case.
    """
    ours = {"image": image} if case is None else {"image": image, "case": case.id}
    return {
        **_make_grid_arguments(image),
        "name": image.name or "image",
        "rgb": image.axes.endswith("C"),
        "contrast_limits": None if image.axes.endswith("C") else compute_contrast_limits(image, task),
        "metadata": {METADATA_KEY: ours},
    }


def compute_contrast_limits(image: Image, task: Task | None = None) -> tuple[float, float]:
    """Return the values that are shown black and white: the task's window for a CT, else what the picture holds."""
    if image.units == "HU":
        windows = [known.display_window for known in ([task] if task else TASKS.values()) if image.axes in known.axes]
        if window := next((window for window in windows if window), None):
            centre, width = window
            return centre - width / 2, centre + width / 2
    if image.pixels.dtype == np.uint8:
        return 0.0, 255.0
    step = max(1, image.pixels.size // PERCENTILE_SAMPLE_SIZE)
    low, high = np.nanpercentile(image.pixels.reshape(-1)[::step], CONTRAST_PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def add_image(viewer: "Viewer", image: Image, case: Case, task: Task) -> ImageLayer:
    """Show the image of a case of a task."""
    return attach_case(viewer.add_image(image.pixels, **make_image_arguments(image, task, case)), image, case, task)


def attach_case(layer: ImageLayer, image: Image, case: Case, task: Task) -> ImageLayer:
    """Make a layer that is there already the one that shows a case; its labels get names and colours of the task."""
    layer.metadata[METADATA_KEY] = {"image": image, "case": case.id, LABEL_TASK_KEY: task}
    return layer


def detach_case(layer: ImageLayer) -> None:
    """Untie somebody else's layer from the case that it showed."""
    layer.metadata.pop(METADATA_KEY, None)


def release_layers(image_layer: ImageLayer, labels_layer: Labels | None) -> None:
    """Leave the layers of a case in a viewer without a dock: the labels can no longer be edited, as nobody saves it."""
    image_layer.metadata.get(METADATA_KEY, {}).pop("case", None)
    if labels_layer is not None:
        labels_layer.editable = False


def find_released_labels(viewer: "Viewer") -> list[Labels]:
    """Labels layers that an earlier dock left in the viewer; their labels are on disk."""
    return [layer for layer in viewer.layers if isinstance(layer, Labels) and METADATA_KEY in layer.metadata]


def is_unattached_image(layer: Layer) -> bool:
    """Whether a reader made this image layer and no case is tied to it yet."""
    return (
        isinstance(layer, ImageLayer)
        and _get_attached_image(layer) is not None
        and "case" not in layer.metadata[METADATA_KEY]
    )


def get_reader_image(layer: Layer) -> Image:
    """Return the image that a reader gave to an arrival."""
    image: Image = layer.metadata[METADATA_KEY]["image"]
    return image


def get_requested_task(layer: Layer | None) -> str:
    """Return the task that whoever made an arrival meant it for; empty where nothing was said."""
    ours = {} if layer is None else layer.metadata.get(METADATA_KEY, {})
    return str(ours.get("task", "")) if isinstance(layer, ImageLayer) else ""


def is_foreign_image(layer: Layer | None) -> bool:
    """Whether this image layer came neither from our reader nor from the dock."""
    return isinstance(layer, ImageLayer) and METADATA_KEY not in layer.metadata


def get_image(layer: Layer | None) -> Image | None:
    """Return the image behind a layer: ours, or one made from any other 2-D or 3-D image layer; `None` otherwise.

    A layer that other code made carries no millimetres unless its units say so; then the spacing stays unknown.
    """
    if layer is None or (known := _get_attached_image(layer)) is not None:
        return None if layer is None else known
    if not isinstance(layer, ImageLayer) or layer.multiscale:
        return None
    pixels = np.asarray(layer.data)
    axes = {2: "YX", 3: "ZYX"}.get(layer.ndim)
    if axes is None:
        return None
    spacing = tuple(float(value) for value in layer.scale) if _is_in_millimetres(layer) else None
    colour = layer.rgb and pixels.shape[-1] in (3, 4)
    return Image(
        pixels=pixels[..., :3] if colour else pixels,
        axes=axes + "C" if colour else axes,
        spacing_mm=spacing,
        units="rgb" if colour else "grey",
        group=layer.name,
        name=layer.name,
    )


def make_colormap(task: Task) -> DirectLabelColormap | CyclicLabelColormap:
    """Return the fixed colours of a task; a value that it does not know is magenta, so that it is seen.

    Objects of a task of instances get colours in turn, so that neighbours can be told apart.
    """
    if task.instances:
        return CyclicLabelColormap(colors=[(0.0, 0.0, 0.0, 0.0), *OBJECT_COLOURS])
    fixed: dict[int | None, str] = {0: "transparent", None: UNKNOWN_LABEL_COLOUR}
    return DirectLabelColormap(color_dict=fixed | {label.value: label.colour for label in task.labels})


def add_labels(viewer: "Viewer", labels: NDArray[Any], beside: ImageLayer, case: Case) -> Labels:
    """Add an editable copy of the labels on the grid of their image layer, with its task's colours and names."""
    task: Task = beside.metadata[METADATA_KEY][LABEL_TASK_KEY]
    layer = viewer.add_labels(
        labels.copy(),
        **get_spatial_arguments(beside),
        name=f"{task.name}: {case.name}",
        opacity=LABEL_OPACITY,
        colormap=make_colormap(task),
        features=None if task.instances else _make_features(task),
        metadata={METADATA_KEY: {"image": _get_attached_image(beside), "case": case.id, "task": task.name}},
    )
    layer.selected_label = find_free_object_value(layer) if task.instances else task.labels[0].value
    return layer


def update_task_labels(image_layer: ImageLayer, labels_layer: Labels | None, task: Task) -> None:
    """Give the layers of an open case the labels that its task has now; what is painted keeps its values."""
    image_layer.metadata[METADATA_KEY][LABEL_TASK_KEY] = task
    if labels_layer is not None and not task.instances:
        labels_layer.colormap = make_colormap(task)
        labels_layer.features = _make_features(task)


def find_free_object_value(layer: Labels) -> int:
    """Return a number that no object of the layer has."""
    return int(np.max(layer.data, initial=0)) + 1


def add_reference_labels(
    viewer: "Viewer", labels: NDArray[Any], beside: ImageLayer, case: Case, title: str, colour: str | None = None
) -> Labels:
    """Add a labels layer for looking only, as contours: in the labels' colours, or all in one `colour`."""
    layer = add_labels(viewer, labels, beside, case)
    layer.name = f"{title}: {case.name}"
    layer.contour = CONTOUR_PX
    layer.opacity = 1.0
    layer.editable = False
    if colour is not None:
        layer.colormap = DirectLabelColormap(color_dict={0: "transparent", None: colour})
    return layer


def add_uncertainty_map(
    viewer: "Viewer", uncertainty_map: NDArray[np.uint8], beside: ImageLayer, case: Case
) -> ImageLayer:
    """Add the map of how unsure the model is, 0 to 255 per voxel, glowing over the image."""
    return viewer.add_image(
        uncertainty_map,
        **get_spatial_arguments(beside),
        name=f"unsure: {case.name}",
        metadata={METADATA_KEY: {"case": case.id}},
        colormap="inferno",
        blending="additive",
        contrast_limits=(0, UNCERTAINTY_CONTRAST_MAX),
    )


def show_state(layer: Labels, case: Case, state: str) -> None:
    """Write the state of the review into the layer's name, where the layer list shows it."""
    layer.name = f"{case.task}: {case.name} ({state})"


def copy_labels(layer: Labels) -> NDArray[Any]:
    """Return a copy of the labels that the layer holds, on the canonical grid of its image."""
    return np.array(layer.data, copy=True)


def remove(viewer: "Viewer", *layers: Layer | None) -> None:
    """Remove those of the layers that are still in the viewer."""
    for layer in layers:
        if layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)


def show_initial_slice(viewer: "Viewer", image_layer: ImageLayer, labels_layer: Labels | None = None) -> None:
    """Move the slider of a volume to the slice with the most labels, or to the middle one where there are none."""
    if image_layer.ndim < len("ZYX"):
        return
    index = image_layer.data.shape[0] // 2
    if labels_layer is not None:
        counts = [int(np.count_nonzero(plane)) for plane in labels_layer.data]
        index = int(np.argmax(counts)) if any(counts) else index
    _show_slice(viewer, image_layer, index)


def get_display_unit(image: Image) -> str:
    """Return the unit in which napari places an image: pixels where its file does not say how large they are."""
    return "mm" if image.spacing_mm else "pixel"


def reset_view_if_extent_changed(viewer: "Viewer", before: ImageLayer, after: ImageLayer) -> None:
    """Fit the view to a new image, unless it lies just where the one before lay: then zoom and place are kept."""
    if not np.array_equal(before.extent.world, after.extent.world):
        viewer.reset_view()


def show_voxels(viewer: "Viewer", image_layer: ImageLayer, indices: NDArray[np.int64]) -> None:
    """Move the slider of a volume to where the flat `indices` of its voxels are, unless it is there."""
    if image_layer.ndim < len("ZYX") or not indices.size:
        return
    planes = indices // int(np.prod(image_layer.data.shape[1:3]))
    here = image_layer.world_to_data(viewer.dims.point[-image_layer.ndim :])[0]
    if round(float(here)) not in planes:
        _show_slice(viewer, image_layer, int(np.median(planes)))


def get_spatial_arguments(beside: ImageLayer) -> dict[str, Any]:
    """Arguments that put a layer where another one lies, whoever made it."""
    return {name: getattr(beside, name) for name in SPATIAL_ARGUMENTS}


def _show_slice(viewer: "Viewer", image_layer: ImageLayer, index: int) -> None:
    world = image_layer.data_to_world((index, *(0,) * (image_layer.ndim - 1)))[0]
    viewer.dims.set_point(viewer.dims.ndim - image_layer.ndim, world)


def _make_grid_arguments(image: Image) -> dict[str, Any]:
    spacing = image.spacing_mm
    return {
        "scale": spacing or (1.0,) * len(image.spatial_axes),
        "units": (get_display_unit(image),) * len(image.spatial_axes),
        "axis_labels": tuple(image.spatial_axes.lower()),
    }


def _get_attached_image(layer: Layer) -> Image | None:
    ours = layer.metadata.get(METADATA_KEY)
    return ours.get("image") if isinstance(ours, dict) else None


def _is_in_millimetres(layer: Layer) -> bool:
    return all(str(unit) in ("millimeter", "mm") for unit in layer.units)


def _make_features(task: Task) -> dict[str, list[Any]]:
    names = [task.get_label_name(0), *(label.name for label in task.labels)]
    return {"index": [0, *(label.value for label in task.labels)], "label": names}
