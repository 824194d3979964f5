"""napari's way in and out: a reader and a writer that work with the dock closed, too."""

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
NO_LAYERS: list[tuple[None]] = [(None,)]  # npe2's word for "read, and there is no layer to show"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return a reader for these files or this folder, or `None` if none of our formats fits."""
    paths = _to_paths(path)
    return _read if paths and all(formats.can_read(each) for each in paths) else None


def make_layer_data(image: Image) -> LayerData:
    """Return napari's layer data for an image: array, arguments of the layer, and its kind."""
    return image.pixels, layers.make_image_arguments(image), "image"


def write_labels(path: str, data: NDArray[Any], meta: dict[str, Any]) -> list[str]:
    """Write one labels layer on the grid of its image; the format follows the suffix."""
    target = Path(path)
    formats.write_labels(target, np.asarray(data), _get_reference_image(data, meta))
    return [str(target)]


def _read(path: str | Sequence[str]) -> list[Any]:
    """Read everything that these paths offer: a folder of several series becomes several layers.

    In a window an unusable file is one readable message and no layer; without one the error is raised.
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
