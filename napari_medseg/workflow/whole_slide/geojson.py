"""Labels of a slide as GeoJSON for QuPath: in pixels of level 0, written feature by feature, however many there are."""

import json
import uuid
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.label_files.boundaries import Region, Ring, trace_regions
from napari_medseg.core.label_files.description import parse_colour
from napari_medseg.core.tasks.bundled_tasks import Label
from napari_medseg.workflow.whole_slide.chunk_merge import ObjectRecord
from napari_medseg.workflow.whole_slide.chunks import Box
from napari_medseg.workflow.whole_slide.prediction import WholeSlide

MAX_TRACED_PX = 4096 * 4096
"""Classes are outlined as a whole, so that no chunk cuts them: on the finest level that has no more pixels."""
MADE_BY = "napari-medseg"
_NAMESPACE = uuid.UUID("0b7c59c4-31c7-5b0a-93f1-2a8d9f1f5c11")

IsCancelled = Callable[[], bool]


def write_slide_geojson(path: Path, whole: WholeSlide, is_cancelled: IsCancelled = lambda: False) -> int:
    """Write the labels of a slide; return how many features there are.

    Each object is a detection, named by its number; each connected part of a class an annotation. Outlines run along
    the edges of pixels.

    Parameters
    ----------
    path
        Ends in ``.geojson``; written whole or not at all.
    whole
        A prediction, which may be unfinished.
    is_cancelled
        Asked after each chunk; then the file ends there, complete as it is.

    Raises
    ------
    MedSegError
        If the file cannot be written.
    """
    manifest, n_features = whole.manifest, 0
    reviewed = ", fields corrected by a person" if whole.table.n_corrected else ""
    made_by = f"{MADE_BY}, task {manifest.task}, model {manifest.model}{reviewed}"
    with atomic_write(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection", "medseg": {json.dumps(made_by)}, "features": [')
        for feature in _iterate_features(whole, is_cancelled):
            file.write(",\n" if n_features else "\n")
            _write(file, feature)
            n_features += 1
        file.write("\n]}\n")
    return n_features


def _iterate_features(whole: WholeSlide, is_cancelled: IsCancelled) -> Iterator[dict[str, Any]]:
    if not whole.manifest.definition.instances:
        yield from _iterate_classes(whole)
        return
    (label,) = whole.manifest.definition.labels[:1]
    for number in whole.table.list_chunks_with_objects():
        if is_cancelled():
            return
        records = whole.table.list_objects_of(number)
        if records:
            yield from _iterate_objects(whole, records, label)


def _iterate_objects(whole: WholeSlide, records: list[ObjectRecord], label: Label) -> Iterator[dict[str, Any]]:
    by_id = {record.id: record for record in records}
    box = (
        slice(min(record.top for record in records), max(record.bottom for record in records)),
        slice(min(record.left for record in records), max(record.right for record in records)),
    )
    labels = whole.labels.read(box)
    local = np.zeros(labels.shape, np.int64)
    ids = np.array(sorted(by_id), labels.dtype)
    place = np.clip(np.searchsorted(ids, labels), 0, len(ids) - 1)
    is_of_chunk = ids[place] == labels
    local[is_of_chunk] = labels[is_of_chunk]
    scale = whole.manifest.grid.downsample
    pixel_um = whole.manifest.grid.um_per_px
    for value, regions in groupby(trace_regions(local), key=lambda region: region.value):
        record = by_id[value]
        measured = {"label value": value}
        if pixel_um is not None:
            measured["area µm^2"] = round(record.area_px * pixel_um**2, 2)
        feature = _make_feature(list(regions), box, scale, label)
        feature["id"] = str(uuid.uuid5(_NAMESPACE, f"{whole.manifest.slide.sha256_of_ends} {value}"))
        feature["properties"] |= {"objectType": "detection", "name": str(value), "measurements": measured}
        yield feature


def _iterate_classes(whole: WholeSlide) -> Iterator[dict[str, Any]]:
    """Yield the connected parts of each class, outlined on one level as a whole."""
    level = next(
        (n for n, one in enumerate(whole.labels.levels) if one.shape[0] * one.shape[1] <= MAX_TRACED_PX),
        len(whole.labels.levels) - 1,
    )
    height, width = whole.labels.levels[level].shape
    box = (slice(0, int(height)), slice(0, int(width)))
    by_value = {label.value: label for label in whole.manifest.definition.labels}
    scale = whole.manifest.grid.downsample * 2**level
    for number, region in enumerate(trace_regions(whole.labels.read(box, level))):
        label = by_value.get(region.value, Label(region.value, f"label {region.value}", "#808080"))
        feature = _make_feature([region], box, scale, label)
        feature["id"] = str(uuid.uuid5(_NAMESPACE, f"{whole.manifest.slide.sha256_of_ends} {region.value} {number}"))
        feature["properties"] |= {"objectType": "annotation", "measurements": {"label value": region.value}}
        yield feature


def _make_feature(regions: list[Region], box: Box, scale: float, label: Label) -> dict[str, Any]:
    origin = np.array([box[0].start, box[1].start])
    polygons = [[_place(ring, origin, scale) for ring in (region.outer, *region.holes)] for region in regions]
    one = len(polygons) == 1
    return {
        "type": "Feature",
        "id": "",
        "geometry": {"type": "Polygon" if one else "MultiPolygon", "coordinates": polygons[0] if one else polygons},
        "properties": {
            "classification": {"name": label.name, "color": list(parse_colour(label.colour))},
            "isLocked": False,
        },
    }


def _place(ring: Ring, origin: NDArray[np.int64], scale: float) -> list[list[float]]:
    """Return a closed ring as (x, y) in pixels of level 0."""
    corners = (ring + origin)[:, ::-1]
    placed: list[list[float]] = (corners if scale == 1.0 else np.round(corners * scale, 2)).tolist()
    return [*placed, placed[0]]


def _write(file: IO[str], feature: dict[str, Any]) -> None:
    file.write(json.dumps(feature, ensure_ascii=False, separators=(",", ":")))
