"""Where masks come from: label files, Aperio XML, or one COCO file for all pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError, OtherGridError
from napari_medseg.core.formats.aperio import APERIO_SUFFIX, read_aperio
from napari_medseg.core.formats.coco import COCO_SUFFIX, CocoPicture, read_coco
from napari_medseg.core.formats.discovery import suffix_of
from napari_medseg.core.formats.polygons import Outline, painted
from napari_medseg.core.image import Image
from training.data.labelled_cases import stem_of
from training.from_folders.name_matching import key_of_image, name_key

Labels = NDArray[np.integer[Any]]


class UnknownValueError(MedSegError):
    """A mask says something that no label means."""


@dataclass(frozen=True, eq=False)
class MaskFile:
    """Labels of one image: a file of pixels, a file of outlines, or a picture in a COCO file."""

    path: Path
    picture: CocoPicture | None = None

    @property
    def title(self) -> str:
        """For messages."""
        return self.path.name if self.picture is None else f"{self.picture.file_name} in {self.path.name}"

    @property
    def is_drawn(self) -> bool:
        """Whether it holds outlines with names of categories instead of values."""
        return self.picture is not None or suffix_of(self.path) == APERIO_SUFFIX

    @property
    def is_exact(self) -> bool:
        """Whether the file keeps each pixel's value; JPEG does not."""
        return self.is_drawn or suffix_of(self.path) not in formats.JPEG_SUFFIXES

    def read(self, image: Image, values: Mapping[str, int] | None) -> Labels:
        """Return labels on the image's grid.

        Parameters
        ----------
        image
            The image that they belong to.
        values
            Label of each category's name in small letters and digits; `None` numbers the objects. Values of pixels
            are left as they are.

        Raises
        ------
        MedSegError
            If the file cannot be read; `OtherGridError` where it is of another size, `UnknownValueError` where a
            category is no label.
        """
        if not self.is_drawn:
            return formats.read_labels(self.path, image)
        if len(image.spatial_shape) != 2:
            raise OtherGridError(f"{self.title}: outlines lie on one plane, but {image.name} is a volume.")
        height, width = image.spatial_shape
        if self.picture is not None and self.picture.shape not in (None, (height, width)):
            said = self.picture.shape
            raise OtherGridError(
                f"{self.title} has {said[1]} x {said[0]} pixels, but the image has {width} x {height}."
            )
        outlines = read_aperio(self.path) if self.picture is None else self.picture.outlines
        return painted(outlines, (height, width), None if values is None else _values(outlines, values, self.title))


def find_masks(masks: Path, *, by_ending: bool) -> dict[str, MaskFile]:
    """List masks by name: those of a folder, or of a COCO file.

    Parameters
    ----------
    masks
        The folder or the file. A folder that holds nothing but one JSON file of annotations is that file.
    by_ending
        Whether only files whose name ends like a mask's are meant.

    Raises
    ------
    MedSegError
        If there is no such folder or file, or the file holds no annotations.
    """
    if masks.is_file() and suffix_of(masks) == COCO_SUFFIX:
        return _in_coco(masks)
    if not masks.is_dir():
        raise MedSegError(f"{masks} is neither a folder of masks nor a COCO file (.json).")
    files = [path for path in sorted(masks.iterdir()) if path.is_file() and not path.name.startswith(".")]
    wanted = {*formats.WRITERS, APERIO_SUFFIX}
    found = {
        stem_of_mask(path): MaskFile(path)
        for path in files
        if (suffix_of(path) in wanted or formats.can_read(path))
        and not (by_ending and suffix_of(path) != APERIO_SUFFIX and key_of_image(stem_of_mask(path)) is not None)
    }
    annotations = [path for path in files if suffix_of(path) == COCO_SUFFIX]
    return _in_coco(annotations[0]) if not found and len(annotations) == 1 else found


def stem_of_mask(path: Path) -> str:
    """Return the name of a mask file without its suffix."""
    return path.stem if suffix_of(path) == APERIO_SUFFIX else stem_of(path)


def categories_in(masks: Path) -> tuple[str, ...]:
    """Return the names of the categories that a COCO file brings; none of other masks."""
    if masks.is_file() and suffix_of(masks) == COCO_SUFFIX:
        return read_coco(masks).categories
    return ()


def _in_coco(path: Path) -> dict[str, MaskFile]:
    return {stem_of(Path(picture.file_name)): MaskFile(path, picture) for picture in read_coco(path).pictures}


def _values(outlines: list[Outline] | tuple[Outline, ...], values: Mapping[str, int], title: str) -> dict[str, int]:
    """Return the label of each category that occurs; with one label and none of its name, all are meant."""
    keys = {outline.name: name_key(outline.name) for outline in outlines}
    if len(values) == 1 and not values.keys() & set(keys.values()):
        return dict.fromkeys(keys, next(iter(values.values())))
    if unknown := sorted(name for name, key in keys.items() if key not in values):
        raise UnknownValueError(f"{title} has the categories {', '.join(unknown)}, which are no labels")
    return {name: values[key] for name, key in keys.items()}
