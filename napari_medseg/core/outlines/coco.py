"""COCO annotations (JSON): polygons and run-length masks of the objects in a folder of images.

Format: Lin et al., Microsoft COCO, ECCV 2014. Run lengths are in column-major order. In the compressed form each run
length is a base-32 number in printable characters; from the third on it is the difference to the one two before.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.outlines.objects import AnnotatedObject, RunLengths, make_ring

COCO_SUFFIX = ".json"
MAX_PIXELS = 1 << 40
_MAX_SHIFT = 60
_BITS, _SIGN, _MORE, _FIRST_CHARACTER = 5, 0x10, 0x20, 48


class _CocoModel(BaseModel):
    """A part of the file; keys that are not needed for labels are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _ImageEntry(_CocoModel):
    id: int
    file_name: str
    height: int = Field(0, ge=0)
    width: int = Field(0, ge=0)


class _RunLengths(_CocoModel):
    size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    counts: list[int] | str


class _Annotation(_CocoModel):
    image_id: int
    category_id: int
    segmentation: list[list[float]] | _RunLengths = []


class _Category(_CocoModel):
    id: int
    name: str


class _FileContent(_CocoModel):
    images: list[_ImageEntry]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image of the file: its name, its (height, width) or `None` if not given, and its objects."""

    file_name: str
    shape: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]


@dataclass(frozen=True, eq=False)
class CocoFile:
    """All images of a file, also those without objects, and the category names in the order of their ids."""

    images: tuple[CocoImage, ...]
    categories: tuple[str, ...]


def read_coco(path: Path) -> CocoFile:
    """Read a file of annotations.

    Raises
    ------
    MedSegError
        If the file is not a COCO file, or a mask or reference in it is damaged; the text says where.
    """
    content = read_json_model(path, _FileContent, "holds no COCO annotations", "Export it again.")
    names = {category.id: category.name for category in content.categories}
    of_picture: dict[int, list[AnnotatedObject]] = {picture.id: [] for picture in content.images}
    for number, annotation in enumerate(content.annotations):
        where = f"{path.name}, annotation {number}"
        if annotation.image_id not in of_picture or annotation.category_id not in names:
            raise MedSegError(f"{where} refers to an image or category that the file does not list. Export it again.")
        of_picture[annotation.image_id].append(_make_object(annotation, names[annotation.category_id], where))
    pictures = tuple(_make_image(picture, of_picture[picture.id]) for picture in content.images)
    return CocoFile(pictures, tuple(names[number] for number in sorted(names)))


def parse_run_lengths(counts: list[int] | str, shape: tuple[int, int]) -> RunLengths:
    """Return the run lengths of a mask of (height, width); the first run is background. No mask is expanded.

    Raises
    ------
    ValueError
        If the runs do not cover the image exactly, or a character is not valid.
    """
    runs = _decompress_run_lengths(counts) if isinstance(counts, str) else counts
    n_pixels = shape[0] * shape[1]
    if n_pixels > MAX_PIXELS:
        raise ValueError(f"an image of {shape[1]} x {shape[0]} pixels is too large")
    if any(run < 0 for run in runs) or sum(runs) != n_pixels:
        raise ValueError(f"the runs cover {sum(runs)} pixels of {n_pixels}")
    return RunLengths(shape, np.array(runs, np.int64))


def _make_image(picture: _ImageEntry, outlines: list[AnnotatedObject]) -> CocoImage:
    shape = (picture.height, picture.width) if picture.height and picture.width else None
    name = PurePosixPath(picture.file_name.replace("\\", "/")).name
    return CocoImage(name, shape, tuple(outlines))


def _make_object(annotation: _Annotation, name: str, where: str) -> AnnotatedObject:
    drawn = annotation.segmentation
    try:
        if isinstance(drawn, list):
            rings = tuple(make_ring(ring)[:, ::-1] for ring in drawn)
            return AnnotatedObject(name, rings)
        return AnnotatedObject(name, run_lengths=parse_run_lengths(drawn.counts, drawn.size))
    except ValueError as error:
        raise MedSegError(f"{where} is damaged: {error}. Export it again.") from error


def _decompress_run_lengths(text: str) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character) - _FIRST_CHARACTER
        if not 0 <= code < 2 * _MORE:
            raise ValueError(f"{character!r} is not a valid character of a run length")
        number |= (code & (_MORE - 1)) << shift
        shift += _BITS
        if shift > _MAX_SHIFT:
            raise ValueError("a run length has too many characters")
        if code & _MORE:
            continue
        if code & _SIGN:
            number |= -1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("the last run length is incomplete")
    return runs
