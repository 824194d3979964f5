"""Sources of masks: label files, Aperio XML files, or one COCO file for all images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.errors import GridMismatchError, MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.mask_placement import (
    AS_STATED,
    MaskOrientation,
    MaskPlacement,
    PlacedMask,
    get_row_storage,
    place_mask,
)
from napari_medseg.core.image import Image
from napari_medseg.core.name_matching import unify_name
from napari_medseg.core.outlines.aperio import APERIO_SUFFIX, read_aperio
from napari_medseg.core.outlines.coco import COCO_SUFFIX, CocoImage, read_coco
from napari_medseg.core.outlines.objects import AnnotatedObject, rasterise_labels
from training.data.labelled_cases import get_stem
from training.from_folders.name_matching import find_mask_names, normalise_name, pair_names

LABEL_FOLDER_NAMES = ("segmentations", "segmentation", "labels", "masks")


class UnknownValueError(MedSegError):
    """A mask has a value or category that belongs to no label."""


@dataclass(frozen=True, eq=False)
class MaskFile:
    """Labels of one image: a pixel file, a file of outlines, an image entry in a COCO file, or several pixel files.

    `parts` are the names and files of these, one for each label or object; `path` is their folder.
    """

    path: Path
    coco_image: CocoImage | None = None
    parts: tuple[tuple[str, Path], ...] = ()

    @property
    def title(self) -> str:
        """Name of the mask in messages."""
        return self.path.name if self.coco_image is None else f"{self.coco_image.file_name} in {self.path.name}"

    @property
    def has_outlines(self) -> bool:
        """Whether it contains outlines with category names instead of pixel values."""
        return self.coco_image is not None or get_suffix(self.path) == APERIO_SUFFIX

    @property
    def is_exact(self) -> bool:
        """Whether the file keeps each pixel's value; JPEG does not."""
        return self.has_outlines or get_suffix(self.path) not in formats.JPEG_SUFFIXES

    def read(self, image: Image, values: Mapping[str, int] | None, placement: MaskPlacement = AS_STATED) -> PlacedMask:
        """Return the mask on the image's grid.

        Parameters
        ----------
        image
            The image to which the mask belongs.
        values
            Label value of each category name (lower-case letters and digits only). `None`: the objects are numbered.
            Values of pixel files are not changed.
        placement
            How masks lie that do not say so.

        Returns
        -------
        PlacedMask
            Array (y, x) or (z, y, x), with integers for outlines and values as in the file for pixels.

        Raises
        ------
        MedSegError
            If the file cannot be read. `GridMismatchError` if its size differs from the image, `UnknownValueError` if
            a category is not a label.
        """
        if not self.has_outlines:
            return formats.read_mask(self.path, image, placement)
        if len(image.spatial_shape) != 2:
            raise GridMismatchError(f"{self.title}: outlines are for one plane, but {image.name} is a volume.")
        outlines = read_aperio(self.path) if self.coco_image is None else self.coco_image.objects
        numbers = None if values is None else _map_categories(outlines, values, self.title)
        labels = rasterise_labels(outlines, self._find_outline_shape(image, placement), numbers)
        return place_mask(labels, image, placement, MaskOrientation.SHOWN)

    def _find_outline_shape(self, image: Image, placement: MaskPlacement) -> tuple[int, int]:
        """Return rows and columns of the picture that was annotated: the image as it is shown, or as it is stored."""
        height, width = image.spatial_shape
        stored = tuple(image.spatial_shape[axis] for axis in np.argsort(get_row_storage(image).permutation))
        said = None if self.coco_image is None else self.coco_image.shape
        if said is None:
            return stored if placement.orientation is MaskOrientation.STORED else (height, width)  # type: ignore[return-value]
        if said not in ((height, width), stored):
            raise GridMismatchError(
                f"{self.title} has {said[1]} x {said[0]} pixels, but the image has {width} x {height}."
            )
        return said


def find_masks(masks: Path, *, by_word: bool) -> tuple[dict[str, MaskFile], list[str]]:
    """List the masks of a folder or of a COCO file by name, and the names that several files have.

    Parameters
    ----------
    masks
        The folder or the file. If a folder contains no masks but exactly one JSON file, that file is read.
    by_word
        Whether to use only files that are named as masks, such as ``1_mask`` or ``MASK_1``.

    Raises
    ------
    MedSegError
        If the folder or file does not exist, or the file contains no annotations.
    """
    if masks.is_file() and get_suffix(masks) == COCO_SUFFIX:
        return _list_coco_masks(masks)
    if not masks.is_dir():
        raise MedSegError(f"{masks} is neither a folder of masks nor a COCO file (.json).")
    files = [path for path in sorted(masks.iterdir()) if path.is_file() and not path.name.startswith(".")]
    wanted = {*formats.MASK_SUFFIXES, APERIO_SUFFIX}
    named = list_names_of_masks(masks) if by_word else set()
    used = [
        path
        for path in files
        if (get_suffix(path) in wanted or formats.can_read(path))
        and not (by_word and get_suffix(path) != APERIO_SUFFIX and get_mask_stem(path) not in named)
    ]
    annotations = [path for path in files if get_suffix(path) == COCO_SUFFIX]
    if not used and len(annotations) == 1:
        return _list_coco_masks(annotations[0])
    return _list_once([(get_mask_stem(path), MaskFile(path)) for path in used])


def list_names_of_masks(folder: Path) -> set[str]:
    """Return the names without suffix, of files in a folder of both images and masks, that are those of masks."""
    return find_mask_names({get_mask_stem(path) for path in folder.iterdir() if not path.name.startswith(".")})


def get_mask_stem(path: Path) -> str:
    """Return the name of a mask file without its suffix."""
    return unify_name(path.stem) if get_suffix(path) == APERIO_SUFFIX else get_stem(path)


Masks = dict[str, MaskFile]
"""Masks by name."""


class MaskFinder:
    """Finds the mask of an image: in a COCO file, which is read once, or the file itself."""

    def __init__(self) -> None:
        self._listed: dict[Path, Masks] = {}

    def find(self, path: Path, image_name: str) -> MaskFile:
        """Return the mask.

        Raises
        ------
        MedSegError
            If a COCO file cannot be read, or has no mask, or several, for this image.
        """
        if get_suffix(path) != COCO_SUFFIX:
            return MaskFile(path)
        if path not in self._listed:
            self._listed[path] = _list_coco_masks(path)[0]
        masks = self._listed[path]
        for stem in (image_name, get_stem(Path(image_name))):
            if (name := pair_names([stem], list(masks)).get(stem)) is not None:
                return masks[name]
        raise MedSegError(f"{path.name} has no mask for {image_name}, or several. Correct the name in it.")


def find_label_folders(masks: Path, images: Sequence[str], images_folder: Path) -> Masks:
    """List masks of several files by name: a folder for each label, or a folder for each image.

    Chest X-rays of Montgomery County have the masks of the left lungs in one folder and those of the right lungs in
    another, TotalSegmentator has a folder of label files for each image.

    Parameters
    ----------
    masks
        A folder of folders.
    images
        Names of the images, which tell what the folders are.
    images_folder
        Where the images are; these are no masks.

    Returns
    -------
    dict
        Empty if no image has such a mask.

    Raises
    ------
    MedSegError
        If folders may be labels as well as images: one wrong guess would exchange the masks of images.
    """
    readings = _list_label_folders(masks, images_folder.resolve())
    n_pairs = sorted(((len(pair_names(images, list(found))), found) for found in readings), key=lambda pair: -pair[0])
    if not n_pairs or not n_pairs[0][0]:
        return {}
    (most, found), others = n_pairs[0], n_pairs[1:]
    if any(fewer and 2 * fewer >= most for fewer, _ in others):
        raise MedSegError(
            f"the folders in {masks} may be labels or images: both they and their files have names of images. "
            "Rename the files in them, such as object_1."
        )
    return found


def _list_label_folders(masks: Path, images: Path) -> list[Masks]:
    """Return the masks by name if folders are labels, and if they are images; nothing for a file."""
    folders = [each for each in sorted(masks.iterdir()) if each.is_dir()] if masks.is_dir() else []
    by_label: dict[str, list[tuple[str, Path]]] = {}
    by_image: dict[str, list[tuple[str, Path]]] = {}
    for folder in (each for each in folders if not each.name.startswith(".")):
        places = [place for place in (folder, *(folder / name for name in LABEL_FOLDER_NAMES)) if place.is_dir()]
        places = [place for place in places if place.resolve() != images]
        for path in next((files for files in map(list_mask_files, places) if files), ()):
            by_label.setdefault(get_mask_stem(path), []).append((folder.name, path))
            by_image.setdefault(unify_name(folder.name), []).append((get_mask_stem(path), path))
    return [
        {name: MaskFile(masks, parts=tuple(parts)) for name, parts in listed.items()}
        for listed in (by_label, by_image)
        if listed
    ]


def list_mask_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that labels can be read from, by name."""
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and get_suffix(path) in formats.MASK_SUFFIXES
    )


def read_categories(masks: Path) -> tuple[str, ...]:
    """Return the category names of a COCO file; empty for other masks."""
    if masks.is_file() and get_suffix(masks) == COCO_SUFFIX:
        return read_coco(masks).categories
    return ()


def _list_coco_masks(path: Path) -> tuple[dict[str, MaskFile], list[str]]:
    pictures = read_coco(path).images
    stems = [get_stem(Path(use_slashes(picture.file_name))) for picture in pictures]
    return _list_once([(stem, MaskFile(path, picture)) for stem, picture in zip(stems, pictures, strict=True)])


def _list_once(masks: Sequence[tuple[str, MaskFile]]) -> tuple[dict[str, MaskFile], list[str]]:
    """Return the masks whose name no other mask has, and the names of the others."""
    times = Counter(name for name, _ in masks)
    return {name: mask for name, mask in masks if times[name] == 1}, sorted(
        n for n, count in times.items() if count > 1
    )


def _map_categories(
    outlines: list[AnnotatedObject] | tuple[AnnotatedObject, ...], values: Mapping[str, int], title: str
) -> dict[str, int]:
    """Return the label value of each category. If there is one label and no category has its name, all map to it."""
    keys = {outline.name: normalise_name(outline.name) for outline in outlines}
    if len(values) == 1 and not values.keys() & set(keys.values()):
        return dict.fromkeys(keys, next(iter(values.values())))
    if unknown := sorted(name for name, key in keys.items() if key not in values):
        raise UnknownValueError(f"{title} has the categories {', '.join(unknown)}, which are not labels of the task")
    return {name: values[key] for name, key in keys.items()}
