"""GeoJSON for QuPath (File > Import objects from file): polygons in pixels, with class and colour.

Coordinates are in pixels from the corner of the image, as QuPath counts them. Each label is an annotation, each
numbered object a detection whose name is its number.
"""

import json
import uuid
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.boundaries import Region, Ring, trace_regions
from napari_medseg.core.label_files.description import LabelDescription, parse_colour
from napari_medseg.core.label_files.planar import lay_plane

_NAMESPACE = uuid.UUID("5f1e2f0c-6a0b-5d35-9c54-6d9e1f1b7a10")


def write_geojson(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    """Write one feature for each label or object of a plane; the same labels give the same bytes.

    Parameters
    ----------
    path
        Ends in ``.geojson``.
    labels
        Integers (y, x).
    image
        Gives the order of rows and columns.
    described
        Gives names, colours and provenance.

    Raises
    ------
    MedSegError
        If the image is a volume, or the folder cannot be written to.
    """
    lying = lay_plane(path, labels, image)
    pieces: dict[int, list[Region]] = {}
    for region in trace_regions(lying):
        pieces.setdefault(region.value, []).append(region)
    features = [_make_feature(value, regions, described) for value, regions in pieces.items()]
    content = {"type": "FeatureCollection", "medseg": described.provenance, "features": features}
    atomic_write_text(path, json.dumps(content, ensure_ascii=False) + "\n")


def _make_feature(value: int, regions: list[Region], described: LabelDescription) -> dict[str, Any]:
    task = described.task
    label = next((one for one in task.labels if task.instances or one.value == value), None)
    name = label.name if label is not None else f"label {value}"
    colour = parse_colour(label.colour) if label is not None else (128, 128, 128)
    polygons = [[_close(region.outer), *map(_close, region.holes)] for region in regions]
    one = len(polygons) == 1
    seed = f"{described.image_file} {task.name} {value} {polygons}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, seed)),
        "geometry": {"type": "Polygon" if one else "MultiPolygon", "coordinates": polygons[0] if one else polygons},
        "properties": {
            "objectType": "detection" if task.instances else "annotation",
            **({"name": str(value)} if task.instances else {}),
            "classification": {"name": name, "color": list(colour)},
            "isLocked": False,
            "measurements": {"label value": value},
        },
    }


def _close(ring: Ring) -> list[list[int]]:
    """Return (x, y) of the corners, the first one repeated: holes run the other way than outlines (RFC 7946)."""
    corners = ring[:, ::-1].tolist()
    return [*corners, corners[0]]
