"""Rasterise objects that are given as outlines, and read outlines from Aperio ImageScope XML.

Aperio XML (used by the MoNuSeg data set for nuclei) has layers of regions; each region is a list of vertices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from napari_medseg.core.errors import GridMismatchError, MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors

APERIO_SUFFIX = ".xml"
CORNER_TO_CENTRE_PX = 0.5
"""Outline coordinates start at the corner of the first pixel; rasterising tests pixel centres. A square with a side of
10 px covers 100 pixels."""
MIN_CORNERS = 3


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object.

    Parameters
    ----------
    name
        Name of its category; empty if the file has none.
    rings
        Closed polygons, float64 (corners, 2) as (y, x) in pixels from the image corner; the object is their union.
    mask
        The object as bool (height, width), if the file stores a mask instead of polygons.
    is_hole
        Whether the object is cut out of the objects before it.
    """

    name: str
    rings: tuple[NDArray[np.float64], ...] = ()
    mask: NDArray[np.bool_] | None = None
    is_hole: bool = False


def rasterise_labels(
    outlines: Sequence[AnnotatedObject], shape: tuple[int, int], values: Mapping[str, int] | None
) -> NDArray[np.unsignedinteger[Any]]:
    """Return labels, unsigned (y, x), of outlines; later outlines overwrite earlier ones.

    Parameters
    ----------
    outlines
        Objects in the order of the file.
    shape
        Height and width of the image.
    values
        Label value of each category name; `None` numbers the objects from 1.

    Raises
    ------
    GridMismatchError
        If the mask of an object has another size.
    """
    labels = np.zeros(shape, np.uint32)
    number = 0
    for outline in outlines:
        inside = compute_object_mask(outline, shape)
        if outline.is_hole:
            labels[inside] = 0
            continue
        number += 1
        labels[inside] = number if values is None else values[outline.name]
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))


def compute_object_mask(outline: AnnotatedObject, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return bool (y, x): the pixels whose centres lie inside an outline."""
    if outline.mask is not None:
        if outline.mask.shape != shape:
            raise GridMismatchError(
                f"an object has a mask of {outline.mask.shape[1]} x {outline.mask.shape[0]} pixels, but the image has "
                f"{shape[1]} x {shape[0]}. Choose the annotations that were made on this image."
            )
        return outline.mask
    inside = np.zeros(shape, np.bool_)
    for ring in outline.rings:
        if len(ring) >= MIN_CORNERS:
            rows, columns = polygon(ring[:, 0] - CORNER_TO_CENTRE_PX, ring[:, 1] - CORNER_TO_CENTRE_PX, shape=shape)
            inside[rows, columns] = True
    return inside


def read_aperio(path: Path) -> list[AnnotatedObject]:
    """Read the regions of all layers in order. The layer name is the category; a negative region is a hole.

    Raises
    ------
    MedSegError
        If the file is not Aperio XML, or declares a document type or entities.
    """
    with translate_decode_errors(path, "annotations"):
        data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can expand without limit or include other files
        raise MedSegError(f"{path.name} has a document type, which is not allowed here. Export it again without one.")
    try:
        root = ElementTree.fromstring(data)
        outlines = [
            AnnotatedObject(layer.get("Name", ""), (_read_ring(region),), is_hole=region.get("NegativeROA") == "1")
            for layer in root.iter("Annotation")
            for region in layer.iter("Region")
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise MedSegError(f"{path.name} is not an Aperio annotation: {error}. Export it again.") from error
    if not outlines and root.tag != "Annotations":
        raise MedSegError(f"{path.name} holds {root.tag!r}, not an Aperio annotation. Choose another file.")
    return outlines


def _read_ring(region: ElementTree.Element) -> NDArray[np.float64]:
    corners = [(float(vertex.attrib["Y"]), float(vertex.attrib["X"])) for vertex in region.iter("Vertex")]
    return np.array(corners, np.float64).reshape(-1, 2)
