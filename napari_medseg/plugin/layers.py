"""Conversion between our records and napari layers. Only this file knows both."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image
from napari_medseg.core.project.strokes import Spans
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.display_windows import compute_automatic_limits
from napari_medseg.plugin.label_colours import (
    CONTOUR_PX,
    get_first_contour_px,
    get_opacity,
    make_colormap,
    make_uncertainty_colormap,
)
from napari_medseg.plugin.views.contours import use_fast_contours
from napari_medseg.plugin.views.stack_axis import name_axes

if TYPE_CHECKING:
    from napari import Viewer

METADATA_KEY = "medseg"
LABEL_TASK_KEY = "labelled as"
BLENDING_KEY = "first blending"
UNCERTAINTY_CONTRAST_MAX = 50  # per cent: two labels are equally likely; higher values are shown like this one
SPATIAL_ARGUMENTS = ("scale", "units", "axis_labels", "translate", "rotate", "shear", "affine")


def make_image_arguments(image: Image, task: Task | None = None, case: Case | None = None) -> dict[str, Any]:
    """Return the arguments of a napari Image layer: name, scale in mm (or pixels), contrast, and metadata.

    Parameters
    ----------
    image
        Canonical image.
    task
        Task whose display window is used for a CT. `None`: the first task with a window for these axes.
    case
        Case that the layer shows; `None` if the image is not a case yet.
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
    """Return the grey values shown as black and white: the task's window for a CT, else from the image itself."""
    if image.units == "HU":
        windows = [known.display_window for known in ([task] if task else TASKS.values()) if image.axes in known.axes]
        if window := next((window for window in windows if window), None):
            centre, width = window
            return centre - width / 2, centre + width / 2
    if image.pixels.dtype == np.uint8:
        return 0.0, 255.0
    return compute_automatic_limits(image)


def add_image(viewer: "Viewer", image: Image, case: Case, task: Task) -> ImageLayer:
    """Add a layer with the image of a case."""
    return attach_case(viewer.add_image(image.pixels, **make_image_arguments(image, task, case)), image, case, task)


def show_image(
    viewer: "Viewer", image: Image, case: Case, task: Task, existing: ImageLayer | None = None
) -> ImageLayer:
    """Show the image of a case: in an existing layer that shows it already, else in a new one."""
    if existing is not None:
        return attach_case(existing, image, case, task)
    return add_image(viewer, image, case, task)


def attach_case(layer: ImageLayer, image: Image, case: Case, task: Task) -> ImageLayer:
    """Attach a case to an existing image layer; its labels get the names and colours of the task."""
    ours = {"image": image, "case": case.id, LABEL_TASK_KEY: task, BLENDING_KEY: str(layer.blending)}
    layer.metadata[METADATA_KEY] = ours
    return layer


def detach_case(layer: ImageLayer) -> None:
    """Detach a case from an image layer that was not created by us."""
    layer.metadata.pop(METADATA_KEY, None)


def release_layers(image_layer: ImageLayer, labels_layer: Labels | None) -> None:
    """Leave the layers of a case in a viewer without a dock. Labels become read-only, as edits are not saved."""
    image_layer.metadata.get(METADATA_KEY, {}).pop("case", None)
    if labels_layer is not None:
        labels_layer.editable = False


def find_released_labels(viewer: "Viewer") -> list[Labels]:
    """Return labels layers that an earlier dock left in the viewer; their labels are on disk."""
    return [layer for layer in viewer.layers if isinstance(layer, Labels) and METADATA_KEY in layer.metadata]


def is_unattached_image(layer: Layer) -> bool:
    """Whether our reader made this image layer and it has no case yet."""
    return isinstance(layer, ImageLayer) and _get_attached_image(layer) is not None and not has_case(layer)


def has_case(layer: Layer) -> bool:
    """Whether this layer shows a case."""
    return "case" in layer.metadata.get(METADATA_KEY, {})


def get_reader_image(layer: Layer) -> Image:
    """Return the image that our reader attached to a layer."""
    image: Image = layer.metadata[METADATA_KEY]["image"]
    return image


def get_requested_task(layer: Layer | None) -> str:
    """Return the task requested by the creator of the layer; empty if none was requested."""
    ours = {} if layer is None else layer.metadata.get(METADATA_KEY, {})
    return str(ours.get("task", "")) if isinstance(layer, ImageLayer) else ""


def is_foreign_image(layer: Layer | None) -> bool:
    """Whether this image layer was created neither by our reader nor by the dock."""
    return isinstance(layer, ImageLayer) and METADATA_KEY not in layer.metadata


def get_image(layer: Layer | None) -> Image | None:
    """Return the image of a layer: the attached one, or one made from any 2-D or 3-D image layer; else `None`.

    The spacing of a foreign layer is used only if its units are millimetres; otherwise the spacing is unknown.
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
        group=find_group(Path(file), is_volume=layer.ndim > 2) if (file := layer.source.path) else layer.name,
        name=layer.name,
    )


def add_labels(viewer: "Viewer", labels: NDArray[Any], beside: ImageLayer, case: Case) -> Labels:
    """Add a layer that edits these integer labels, (y, x) or (z, y, x), on the grid of the image layer `beside`."""
    return use_fast_contours(viewer.add_labels(labels, **make_labels_arguments(beside, case)))


def make_labels_arguments(beside: ImageLayer, case: Case) -> dict[str, Any]:
    """Return the arguments of a napari Labels layer for a case, on the grid of its image layer `beside`."""
    task: Task = beside.metadata[METADATA_KEY][LABEL_TASK_KEY]
    return {
        **get_spatial_arguments(beside),
        "name": f"{task.name}: {case.name}",
        "opacity": get_opacity(task, get_first_contour_px(task, beside.data.shape[: beside.ndim])),
        "colormap": make_colormap(task),
        "features": None if task.instances else _make_features(task),
        "metadata": {METADATA_KEY: {"image": _get_attached_image(beside), "case": case.id, "task": task.name}},
    }


def update_task_labels(image_layer: ImageLayer, labels_layer: Labels | None, task: Task) -> None:
    """Update colours and names of the labels after the task changed. Painted voxels keep their values."""
    image_layer.metadata[METADATA_KEY][LABEL_TASK_KEY] = task
    if labels_layer is not None and not task.instances:
        labels_layer.colormap = make_colormap(task)
        labels_layer.features = _make_features(task)


def add_reference_labels(
    viewer: "Viewer", labels: NDArray[Any], beside: ImageLayer, case: Case, title: str, colour: str | None = None
) -> Labels:
    """Add a read-only labels layer shown as contours, in the colours of the task or in one `colour` (hex)."""
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
    """Add the uncertainty map, uint8 in per cent, shape as the image, over image and labels."""
    return viewer.add_image(
        uncertainty_map,
        **get_spatial_arguments(beside),
        name=f"unsure: {case.name}",
        metadata={METADATA_KEY: {"case": case.id}},
        colormap=make_uncertainty_colormap(),
        blending="translucent_no_depth",  # light that is added is lost on a bright image
        contrast_limits=(0, UNCERTAINTY_CONTRAST_MAX),
    )


def show_state(layer: Labels, case: Case, state: str) -> None:
    """Write the state of the review into the layer's name, where the layer list shows it."""
    layer.name = f"{case.task}: {case.name} ({state})"


def copy_labels(layer: Labels) -> NDArray[Any]:
    """Return a copy of the labels, shape (y, x) or (z, y, x) on the canonical grid of the image."""
    return np.array(layer.data, copy=True)


def remove(viewer: "Viewer", *layers: Layer | None) -> None:
    """Remove those of the layers that are still in the viewer."""
    for layer in layers:
        if layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)


def find_fullest_plane(labels: NDArray[Any]) -> int | None:
    """Return the index of the plane of a volume with the most labelled voxels; `None` if there are none, or no planes.

    This looks at every voxel, so it belongs in a worker thread for a large volume.
    """
    counts = [int(np.count_nonzero(plane)) for plane in labels] if labels.ndim == len("ZYX") else []
    return int(np.argmax(counts)) if any(counts) else None


def show_initial_slice(viewer: "Viewer", image_layer: ImageLayer, fullest_plane: int | None = None) -> None:
    """Show the plane of a volume with the most labelled voxels, or the middle one if there are no labels."""
    if image_layer.ndim == len("ZYX"):
        _show_slice(viewer, image_layer, image_layer.data.shape[0] // 2 if fullest_plane is None else fullest_plane)


def get_display_unit(image: Image) -> str:
    """Return the unit of the layer: mm, or pixel if the spacing is unknown."""
    return "mm" if image.spacing_mm else "pixel"


def reset_view_if_extent_changed(viewer: "Viewer", before: NDArray[np.float64] | None, after: ImageLayer) -> None:
    """Fit the view to a new image. If its extent equals `before`, the previous one, zoom and position are kept."""
    if before is None or not np.array_equal(before, after.extent.world):
        viewer.reset_view()


def show_voxels(viewer: "Viewer", image_layer: ImageLayer, voxels: Spans) -> None:
    """Show a slice of a volume that contains some of these voxels, unless one is already shown."""
    if image_layer.ndim < len("ZYX") or not voxels.start.size:
        return
    planes = voxels.list_planes(int(np.prod(image_layer.data.shape[1:3])))
    here = image_layer.world_to_data(viewer.dims.point[-image_layer.ndim :])[0]
    if round(float(here)) not in planes:
        _show_slice(viewer, image_layer, planes[len(planes) // 2])


def get_spatial_arguments(beside: ImageLayer) -> dict[str, Any]:
    """Return the arguments that place a new layer on the grid of an existing layer."""
    return {name: getattr(beside, name) for name in SPATIAL_ARGUMENTS}


def _show_slice(viewer: "Viewer", image_layer: ImageLayer, index: int) -> None:
    world = image_layer.data_to_world((index, *(0,) * (image_layer.ndim - 1)))[0]
    viewer.dims.set_point(viewer.dims.ndim - image_layer.ndim, world)


def _make_grid_arguments(image: Image) -> dict[str, Any]:
    spacing = image.spacing_mm
    return {
        "scale": spacing or (1.0,) * len(image.spatial_axes),
        "units": (get_display_unit(image),) * len(image.spatial_axes),
        "axis_labels": name_axes(image) if len(image.spatial_axes) == len("ZYX") else ("y", "x"),
    }


def _get_attached_image(layer: Layer) -> Image | None:
    ours = layer.metadata.get(METADATA_KEY)
    return ours.get("image") if isinstance(ours, dict) else None


def _is_in_millimetres(layer: Layer) -> bool:
    return all(str(unit) in ("millimeter", "mm") for unit in layer.units)


def _make_features(task: Task) -> dict[str, list[Any]]:
    names = [task.get_label_name(0), *(label.name for label in task.labels)]
    return {"index": [0, *(label.value for label in task.labels)], "label": names}
