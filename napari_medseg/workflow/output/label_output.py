"""The label file of one exported case: written in its format, read back, and described."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import reorient_to_canonical
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import LabelFormat
from napari_medseg.core.outlines.coco import read_coco
from napari_medseg.core.outlines.objects import rasterise_labels
from napari_medseg.workflow.output.export_plan import ExportItem

_DAMAGED = "differs from the data that was written. The disk may be damaged; export to another disk."
MANY_SEGMENTS = 1000


def describe_labels(item: ExportItem, image_file: str) -> LabelDescription:
    """Return what the label file of a case says about it; `image_file` is the name of the image that it lies on."""
    correction = item.correction
    return LabelDescription(item.task, correction.model or "", correction.who or "", correction.created, image_file)


def write_and_read_back(
    path: Path, labels: NDArray[Any], image: Image, wanted: LabelFormat, described: LabelDescription
) -> None:
    """Write labels and check that the file holds them.

    Raises
    ------
    MedSegError
        If they cannot be written, or are not the same when they are read again.
    """
    wanted.write(path, labels, image, described)
    if not _holds(path, labels, image, wanted, described):
        raise MedSegError(f"{path} {_DAMAGED}")


def list_remarks(item: ExportItem, wanted: LabelFormat) -> list[str]:
    """Return what the file does not hold of the labels, or holds that a person should know, as sentences."""
    remarks = []
    if wanted.names_patient:
        remarks.append("This file holds the patient and study of its DICOM series, so that viewers place it there.")
    if wanted.name == "coco-polygons":
        remarks.append("COCO has no holes in polygons: objects with holes are stored as run lengths.")
    if wanted.name in ("coco", "coco-polygons", "geojson") and item.image.spacing_mm is not None:
        remarks.append("Coordinates are pixels of the image; the format has no pixel size.")
    if wanted.name == "seg.nrrd" and item.task.instances and int(np.unique(item.labels).size) > MANY_SEGMENTS:
        remarks.append(f"3D Slicer opens more than {MANY_SEGMENTS:,} segments slowly; .nrrd holds the same numbers.")
    if wanted.name in ("tiff", "tiff-long", "png", "png-palette", "nifti", "nii"):
        return remarks
    if item.reviewed_mask is not None:
        remarks.append("Which pixels were reviewed is in a file of its own.")
    return remarks


def _holds(path: Path, labels: NDArray[Any], image: Image, wanted: LabelFormat, described: LabelDescription) -> bool:
    if wanted.name in ("coco", "coco-polygons"):
        return np.array_equal(_read_coco_labels(path, image, described), _number(labels, described))
    if wanted.name == "geojson":
        return _count_polygon_pixels(path) == _count_pixels(labels)
    if wanted.read_back is not None:
        return np.array_equal(wanted.read_back(path, image, described), labels)
    return True


def _number(labels: NDArray[Any], described: LabelDescription) -> NDArray[Any]:
    """Return objects numbered from 1, as COCO lists them; labels unchanged."""
    if not described.task.instances:
        return labels
    values, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(labels.shape) + int(values[0] != 0)


def _read_coco_labels(path: Path, image: Image, described: LabelDescription) -> NDArray[Any]:
    task, picture = described.task, read_coco(path).images[0]
    assert picture.shape is not None
    values = None if task.instances else {label.name: label.value for label in task.labels}
    return reorient_to_canonical(rasterise_labels(picture.objects, picture.shape, values), get_png_tiff_storage(image))


def _count_pixels(labels: NDArray[Any]) -> dict[int, int]:
    values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}


def _count_polygon_pixels(path: Path) -> dict[int, int]:
    """Return the area of the polygons of each value of a GeoJSON file."""
    found = {}
    for feature in json.loads(read_file(path))["features"]:
        coordinates = feature["geometry"]["coordinates"]
        polygons = [coordinates] if feature["geometry"]["type"] == "Polygon" else coordinates
        area = sum(_compute_area(ring) for polygon in polygons for ring in polygon)
        found[int(feature["properties"]["measurements"]["label value"])] = area
    return found


def _compute_area(ring: list[list[int]]) -> int:
    x, y = np.array(ring, np.int64).T
    return int((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) // 2
