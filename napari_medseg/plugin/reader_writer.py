"""napari reader and writer; they also work without the dock."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats import ReadFailure, read_images
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription, find_values
from napari_medseg.core.label_files.registry import find_format_of_file
from napari_medseg.core.slides.open_slide import is_slide
from napari_medseg.core.tasks.bundled_tasks import TASKS, Label, Task
from napari_medseg.core.tasks.custom_task import get_default_colour
from napari_medseg.plugin import layers
from napari_medseg.plugin.widgets.notifications import show_notice, show_problem

_MAX_REASONS = 5
_NAMES_PATIENT = (
    "{} holds name and ID of the patient, study and UIDs, as its DICOM series does, so that viewers place it there. "
    "To pass labels on without them, accept the case and choose Export…, or use medseg share."
)
LayerData = tuple[Any, dict[str, Any], str]
NO_LAYERS: list[tuple[None]] = [(None,)]  # npe2 convention: the file was read, but there is no layer to show


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return a reader for these files or folders, or `None` if one of them holds nothing that we read.

    A missing file in a list does not hinder the others: reading reports it.
    """
    paths = [each for each in _to_paths(path) if os.path.exists(each) or find_address(each)]
    if paths and all(is_slide(each) for each in paths):
        from napari_medseg.plugin.slides.slide_reader import read_slides

        return read_slides
    return _read if paths and all(formats.can_read(each) for each in paths) else None


def make_layer_data(image: Image) -> LayerData:
    """Return the napari layer data of an image: array, layer arguments, and layer type."""
    return image.pixels, layers.make_image_arguments(image), "image"


def write_labels(path: str, data: NDArray[Any], meta: dict[str, Any]) -> list[str]:
    """Write a labels layer on the grid of its image; the end of the name selects the format.

    Parameters
    ----------
    path
        File to write: any suffix of `core.label_files.registry`; ``.dcm`` is a DICOM segmentation, ``.json`` is COCO.
    data
        Label values, integer, shape (y, x) or (z, y, x).
    meta
        Layer attributes from napari. They contain the image if the layer was made by this plugin.

    Raises
    ------
    MedSegError
        If the labels have another number of dimensions, or the format cannot store them.
    """
    target, labels = Path(path), np.asarray(data)
    image = _get_reference_image(labels, meta)
    ours = meta.get("metadata", {}).get(layers.METADATA_KEY, {})
    task = TASKS.get(ours.get("task", "")) or _make_task(labels, meta)
    wanted = find_format_of_file(target.name)
    wanted.write(target, labels, image, LabelDescription(task, image_file=image.name))
    if wanted.names_patient:
        show_notice(_NAMES_PATIENT.format(target.name))
    return [str(target)]


def _make_task(labels: NDArray[Any], meta: dict[str, Any]) -> Task:
    """Return a task for labels of a layer: each value is a label, with the name that the layer's features say."""
    features = meta.get("features", {})
    said = dict(zip(features["index"], features["label"], strict=True)) if {"index", "label"} <= set(features) else {}
    named = [
        Label(value, str(said.get(value, f"label {value}")), get_default_colour(value - 1))
        for value in find_values(labels)
    ]
    return Task(name="labels", title=str(meta.get("name", "labels")), labels=tuple(named), axes=())


def _read(path: str | Sequence[str]) -> list[Any]:
    """Read all images in these paths; a folder with several series gives several layers.

    What cannot be read is told in one notification, and the rest becomes layers. If there is no layer at all, an error
    is shown in a viewer, and raised without one.
    """
    items = list(read_images(_to_paths(path)))
    images = [item for item in items if isinstance(item, Image)]
    refused = [item.text for item in items if isinstance(item, ReadFailure)]
    if not images:
        if current_viewer() is None:
            raise MedSegError(_describe_refused(refused, len(refused)))
        show_problem(_describe_refused(refused, len(refused)))
        return NO_LAYERS
    if refused:
        show_problem(_describe_refused(refused, len(refused) + len(images)))
    return [make_layer_data(image) for image in images]


def _describe_refused(refused: Sequence[str], n_images: int) -> str:
    if n_images == 1:
        return refused[0]
    more = len(refused) - _MAX_REASONS
    lines = [f"{len(refused)} of {n_images} images cannot be opened:", *refused[:_MAX_REASONS]]
    return "\n".join([*lines, f"and {more} more."] if more > 0 else lines)


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
