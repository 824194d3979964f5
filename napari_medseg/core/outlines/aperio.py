"""Outlines from Aperio ImageScope XML, used by the MoNuSeg data set for nuclei: layers of regions of vertices."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.outlines.objects import AnnotatedObject, make_ring

APERIO_SUFFIX = ".xml"


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
    return make_ring(corners)
