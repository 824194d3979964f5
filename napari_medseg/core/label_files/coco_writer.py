"""COCO annotations: one object per piece of a label, as run lengths or as polygons."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.boundaries import Region, trace_regions
from napari_medseg.core.label_files.description import LabelDescription, parse_colour
from napari_medseg.core.label_files.planar import lay_plane
from napari_medseg.core.tasks.bundled_tasks import Task

_BITS, _SIGN, _MORE, _FIRST_CHARACTER = 5, 0x10, 0x20, 48


def write_coco(
    path: Path, labels: NDArray[Any], image: Image, described: LabelDescription, *, as_polygons: bool = False
) -> None:
    """Write the objects of a plane, with area and box; the same labels give the same bytes.

    Parameters
    ----------
    path
        Ends in ``.json``.
    labels
        Integers (y, x).
    image
        Gives the order of rows and columns.
    described
        Gives the categories, and the name of the image.
    as_polygons
        Whether objects are polygons. COCO has no holes in polygons: an object with holes is stored as run lengths.

    Raises
    ------
    MedSegError
        If the image is a volume, or the folder cannot be written to.
    """
    lying = lay_plane(path, labels, image)
    content = {
        "info": {"description": described.provenance},
        "images": [{"id": 1, "file_name": described.image_file, "height": lying.shape[0], "width": lying.shape[1]}],
        "categories": list_categories(described.task),
        "annotations": list_annotations(lying, described.task, as_polygons=as_polygons),
    }
    atomic_write_text(path, json.dumps(content, ensure_ascii=False) + "\n")


def list_categories(task: Task) -> list[dict[str, Any]]:
    """Return the labels of a task as COCO categories."""
    return [
        {"id": label.value, "name": label.name, "supercategory": task.name, "color": list(parse_colour(label.colour))}
        for label in task.labels
    ]


def list_annotations(
    lying: NDArray[Any], task: Task, *, as_polygons: bool = False, image_id: int = 1, first_id: int = 1
) -> list[dict[str, Any]]:
    """Return the objects of one picture.

    Parameters
    ----------
    lying
        Integers (rows, columns) as in the image file.
    task
        Gives the categories.
    as_polygons
        As of `write_coco`.
    image_id, first_id
        Number of the picture, and of its first object.
    """
    make = _iterate_polygons if as_polygons else _iterate_masks
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": task.labels[0].value if task.instances else one["value"],
            "iscrowd": 0,
            **{key: item for key, item in one.items() if key != "value"},
            **({"object": one["value"]} if task.instances else {}),
        }
        for number, one in enumerate(make(lying), start=first_id)
    ]


write_coco_polygons = partial(write_coco, as_polygons=True)


def compress_run_lengths(runs: NDArray[np.int64]) -> str:
    """Return run lengths as COCO's text: base-32 digits; from the third on, the difference to the one two before."""
    text = []
    lengths = runs.tolist()
    for index, run in enumerate(lengths):
        number = run - lengths[index - 2] if index > 2 else run
        while True:
            digit = number & (_MORE - 1)
            number >>= _BITS
            has_more = number != (-1 if digit & _SIGN else 0)
            text.append(chr((digit | (_MORE if has_more else 0)) + _FIRST_CHARACTER))
            if not has_more:
                break
    return "".join(text)


def _iterate_masks(lying: NDArray[Any]) -> Iterator[dict[str, Any]]:
    """Yield value, run lengths, area and box of each label or object."""
    values, inverse = np.unique(lying, return_inverse=True)
    ranks = inverse.reshape(lying.shape).astype(np.int32) + 1
    for value, box in zip(values.tolist(), ndimage.find_objects(ranks), strict=True):
        if value == 0 or box is None:
            continue
        inside = lying[box] == value
        yield {
            "value": value,
            "segmentation": _make_run_lengths(inside, box, (lying.shape[0], lying.shape[1])),
            "area": int(inside.sum()),
            "bbox": [box[1].start, box[0].start, inside.shape[1], inside.shape[0]],
        }


def _iterate_polygons(lying: NDArray[Any]) -> Iterator[dict[str, Any]]:
    """Yield value, polygons, area and box of each object; of labels without numbers, of each piece."""
    by_value: dict[int, list[Region]] = {}
    for region in trace_regions(lying):
        by_value.setdefault(region.value, []).append(region)
    masks = {one["value"]: one for one in _iterate_masks(lying)}
    for value, regions in by_value.items():
        whole = masks[value]
        if not any(region.holes for region in regions):
            whole["segmentation"] = [region.outer[:, ::-1].ravel().tolist() for region in regions]
        yield whole


def _make_run_lengths(inside: NDArray[np.bool_], box: tuple[slice, slice], shape: tuple[int, int]) -> dict[str, Any]:
    """Return the run lengths of a mask that is zero outside of its box; the picture itself is not built."""
    height, width = shape
    edges = np.diff(np.pad(inside.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, stops = (np.stack(np.nonzero(edges == sign), axis=1) for sign in (1, -1))
    begin, end = ((at[:, 0] + box[1].start) * height + at[:, 1] + box[0].start for at in (starts, stops))
    joined = np.concatenate([[True], begin[1:] != end[:-1]])  # a run may go on in the next column
    begin, end = begin[joined], end[np.concatenate([joined[1:], [True]])]
    borders = np.stack([begin, end], axis=1).ravel()
    runs = np.diff(np.concatenate([[0], borders, [height * width]])).astype(np.int64)
    return {"size": [height, width], "counts": compress_run_lengths(runs if runs[-1] else runs[:-1])}
