"""napari reader and writer; they also work without the dock."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer
from napari.utils.notifications import show_error
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.plugin import layers

LayerData = tuple[Any, dict[str, Any], str]
NO_LAYERS: list[tuple[None]] = [(None,)]  # npe2 convention: the file was read, but there is no layer to show


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return a reader for these files or this folder, or `None` if the format is not supported."""
    paths = _to_paths(path)
    return _read if paths and all(formats.can_read(each) for each in paths) else None


def make_layer_data(image: Image) -> LayerData:
    """Return the napari layer data of an image: array, layer arguments, and layer type."""
    return image.pixels, layers.make_image_arguments(image), "image"


def write_labels(path: str, data: NDArray[Any], meta: dict[str, Any]) -> list[str]:
    """Write a labels layer on the grid of its image; the file suffix selects the format.

    Parameters
    ----------
    path
        File to write.
    data
        Label values, integer, shape (y, x) or (z, y, x).
    meta
        Layer attributes from napari. They contain the image if the layer was made by this plugin.

    Raises
    ------
    MedSegError
        If the labels have another number of dimensions, or the format cannot store them.
    """
    target = Path(path)
    formats.write_labels(target, np.asarray(data), _get_reference_image(data, meta))
    return [str(target)]


def _read(path: str | Sequence[str]) -> list[Any]:
    """Read all images in these paths; a folder with several series gives several layers.

    With a viewer, an error is shown as a notification and no layer is returned. Without one, it is raised.
    """
    paths = _to_paths(path)
    try:
        sources = formats.find_images(paths)
        images = [formats.read_source(source) for source in sources] or [formats.read(paths[0])]
        return [make_layer_data(image) for image in images]
    except MedSegError as error:
        if current_viewer() is None:
            raise
        show_error(str(error))
        return NO_LAYERS


def _to_paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, str) else [Path(each) for each in path]


def _get_reference_image(data: NDArray[Any], meta: dict[str, Any]) -> Image:
    ours = meta.get("metadata", {}).get(layers.METADATA_KEY, {})
    if "image" in ours:
        return ours["image"]
    array = np.asarray(data)
    axes = {2: "YX", 3: "ZYX"}.get(array.ndim)
    if axes is None:
        raise MedSegError(
            f"labels with {array.ndim} dimensions cannot be written. Save a plane or a volume, one at a time."
        )
    in_mm = all(str(unit) in ("millimeter", "mm") for unit in meta.get("units") or ("pixel",))
    spacing = tuple(float(value) for value in meta["scale"]) if in_mm and "scale" in meta else None
    return Image(pixels=array, axes=axes, spacing_mm=spacing, name=meta.get("name", "labels"))
