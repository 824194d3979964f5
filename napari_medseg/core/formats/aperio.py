"""Aperio ImageScope's XML, in which MoNuSeg outlines every nucleus: layers of regions, each a list of vertices."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.polygons import AnnotatedObject

APERIO_SUFFIX = ".xml"


def read_aperio(path: Path) -> list[AnnotatedObject]:
    """Read the regions of all layers in order; a layer's name is the category, a negative region is a hole.

    Raises
    ------
    MedSegError
        If the file is no such XML, or asks for more than plain elements (a document type with entities).
    """
    with translate_decode_errors(path, "annotations"):
        data = path.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can grow without bound or name other files
        raise MedSegError(f"{path.name} has a document type, which annotations need not have. Export it again.")
    try:
        root = ElementTree.fromstring(data)
        outlines = [
            AnnotatedObject(layer.get("Name", ""), (_read_ring(region),), is_hole=region.get("NegativeROA") == "1")
            for layer in root.iter("Annotation")
            for region in layer.iter("Region")
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise MedSegError(f"{path.name} is no Aperio annotation: {error}. Export it again.") from error
    if not outlines and root.tag != "Annotations":
        raise MedSegError(f"{path.name} holds {root.tag!r}, not an Aperio annotation. Choose another file.")
    return outlines


def _read_ring(region: ElementTree.Element) -> NDArray[np.float64]:
    corners = [(float(vertex.attrib["Y"]), float(vertex.attrib["X"])) for vertex in region.iter("Vertex")]
    return np.array(corners, np.float64).reshape(-1, 2)
