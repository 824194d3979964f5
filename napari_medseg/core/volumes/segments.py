"""Read segmentations of 3D Slicer (.seg.nrrd): label values and the names of the segments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.volumes.nrrd import LayeredVolume, read_fields, read_nrrd_layers
from napari_medseg.core.volumes.stored_volume import StoredVolume, make_stored_volume

SEG_NRRD_SUFFIX = ".seg.nrrd"
_KEY = re.compile(r"Segment(\d+)_(\w+)")


@dataclass(frozen=True)
class StoredSegment:
    """One segment of a file: where its voxels are, its name, and the value that they get in labels."""

    layer: int
    stored_value: int
    name: str
    value: int


def read_segment_values(path: Path, expected_bytes: int | None = None) -> StoredVolume:
    """Read the segments as one array of label values, see `list_segments`.

    Raises
    ------
    MedSegError
        As `read_nrrd`; also if segments overlap, because a voxel has one label here.
    """
    layered = read_nrrd_layers(path, expected_bytes)
    with translate_decode_errors(path, "NRRD"):
        segments = list_segments(layered.fields)
    if len(layered.layers) == 1:
        return make_stored_volume(layered.layers[0], layered.grid, layered.fields)
    return StoredVolume(_merge_layers(layered, segments, path.name), layered.grid, layered.fields)


def read_segment_names(path: Path) -> dict[int, str]:
    """Return the name of each label value; empty if the file states none.

    Raises
    ------
    MedSegError
        If the header is damaged.
    """
    with translate_decode_errors(path, "NRRD"), SizedFile(path) as file:
        return {segment.value: segment.name for segment in list_segments(read_fields(file))}


def list_segments(fields: Mapping[str, str]) -> list[StoredSegment]:
    """Return the segments of a header; raise `ValueError` if a layer or value is no number, or negative.

    A segment keeps its stored value if no segment of another layer has the same; otherwise all are numbered from 1.
    """
    of_segment: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        if found := _KEY.fullmatch(key):
            of_segment.setdefault(int(found[1]), {})[found[2]] = value
    rows = [
        (int(one.get("Layer", "0")), int(one.get("LabelValue", "1")), one.get("Name", f"segment {number}"))
        for number, one in sorted(of_segment.items())
    ]
    if any(layer < 0 or value < 0 for layer, value, _ in rows):
        raise ValueError("a segment has a negative layer or label value")
    is_unique = len({value for _, value, _ in rows}) == len(rows)
    return [
        StoredSegment(layer, value, name, value if is_unique else number)
        for number, (layer, value, name) in enumerate(rows, start=1)
    ]


def _merge_layers(layered: LayeredVolume, segments: list[StoredSegment], name: str) -> NDArray[np.unsignedinteger[Any]]:
    largest = max((segment.value for segment in segments), default=0)
    merged = np.zeros(layered.layers[0].shape, np.min_scalar_type(max(largest, 0)))
    for segment in segments:
        if segment.layer >= len(layered.layers):
            raise MedSegError(f"{name} is damaged: it has no layer {segment.layer}. Export it again.")
        inside = layered.layers[segment.layer] == segment.stored_value
        if hidden := np.unique(merged[inside & (merged > 0)]).tolist():
            other = next(one.name for one in segments if one.value == hidden[0])
            n_voxels = int((merged[inside] > 0).sum())
            raise MedSegError(
                f"{name}: the segments {other!r} and {segment.name!r} overlap in {n_voxels:,} voxels, and here a voxel "
                "has one label. Export one of them, or separate them in 3D Slicer (Logical operators)."
            )
        merged[inside] = segment.value
    return merged
