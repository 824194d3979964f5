"""Read one mask as labels of a task: on the grid of its image, and with the meaning of its values."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import HeaderMismatchError, MedSegError
from napari_medseg.core.formats.labels import cast_to_labels
from napari_medseg.core.formats.mask_placement import MaskPlacement, PlacedMask
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.label_names import find_label
from training.from_folders.mask_files import MaskFile, MaskFinder, UnknownValueError
from training.from_folders.mask_values import (
    Labels,
    MaskEncoding,
    binarise_mask,
    convert_mask_to_labels,
    has_soft_borders,
)
from training.from_folders.name_matching import normalise_name

logger = logging.getLogger(__name__)


def read_mask_labels(
    mask: MaskFile, image: Image, encoding: MaskEncoding, placement: MaskPlacement | None = None
) -> tuple[Labels, PlacedMask]:
    """Return the labels of a mask, and the mask as it was read.

    Parameters
    ----------
    mask
        The file. Outlines become labels of their categories, or numbered objects; so do several files by their names.
    image
        The image that the mask belongs to.
    encoding
        The meaning of the values; unlabelled pixels get `encoding.ignored_value`.
    placement
        How the mask lies if it does not say so; `None`: as in the encoding.

    Raises
    ------
    MedSegError
        If the file cannot be read, the sizes differ, or a value or category is not a label.
    """
    if mask.parts:
        placed = _read_parts(mask, image, encoding, placement or encoding.placement)
        return placed.pixels, placed
    task = encoding.task
    one_for_all = task.instances or encoding.binarise
    names = None if one_for_all else {normalise_name(label.name): label.value for label in task.labels}
    placed = mask.read(image, names, placement or encoding.placement)
    return convert_to_labels(mask, placed.pixels, encoding), placed


def _read_parts(mask: MaskFile, image: Image, encoding: MaskEncoding, placement: MaskPlacement) -> PlacedMask:
    """Join files of one label or object each; where labels lie over each other, the last one of the task counts."""
    task, found = encoding.task, list[tuple[int, Path]]()
    for number, (name, path) in enumerate(mask.parts, start=1):
        value = number if task.instances else 1 if encoding.binarise else find_label(name, task)
        if value is not None:
            found.append((value, path))
    if not found:
        names = ", ".join(dict.fromkeys(name for name, _ in mask.parts[:4]))
        raise UnknownValueError(f"no file or folder is named after a label of {task.title}: {names}. Rename them.")
    labels: Labels = np.zeros(image.spatial_shape, np.uint32 if task.instances else np.uint8)
    ignored, n_doubled, placed = np.zeros(labels.shape, bool), 0, list[PlacedMask]()
    for value, path in sorted(found):
        placed.append(formats.read_mask(path, image, placement))
        pixels = placed[-1].pixels
        unlabelled = np.zeros(labels.shape, bool) if encoding.ignore is None else pixels == encoding.ignore
        counted = np.where(unlabelled, 0, pixels)
        if task.instances and not encoding.binarise:
            _refuse_several_objects(counted, path)
        drawn = binarise_mask(counted, exact=MaskFile(path).is_exact) > 0
        n_doubled += int(np.count_nonzero(drawn & (labels > 0) & (labels != value)))
        labels[drawn], ignored = value, ignored | unlabelled
    if encoding.ignored_value is not None:
        labels[ignored & (labels == 0)] = encoding.ignored_value
    notes = [note for one in placed for note in one.notes]
    if n_doubled:
        notes.append(f"{n_doubled:,} pixels have several labels; the last label of the task was taken")
    return PlacedMask(labels, tuple(dict.fromkeys(notes)), placed[0].orientation, any(one.is_guess for one in placed))


def _refuse_several_objects(pixels: NDArray[Any], path: Path) -> None:
    """Raise `UnknownValueError` if a file of one object has numbers of several, which would become one."""
    n_values = len(np.unique(pixels[pixels != 0]))
    if n_values > 1 and MaskFile(path).is_exact and not has_soft_borders(pixels):
        raise UnknownValueError(
            f"{path.parent.name}/{path.name} has {n_values} values besides 0, but as one of several files it is one "
            f"object. If its values are objects, choose the folder {path.parent.name} as the folder of masks."
        )


def convert_to_labels(mask: MaskFile, values: NDArray[Any], encoding: MaskEncoding) -> Labels:
    """Return the labels of a mask that is read already, with the errors of `read_mask_labels`.

    Parameters
    ----------
    mask
        The file, for messages; JPEG does not keep values.
    values
        What was read, (y, x) or (z, y, x): values of pixels, or labels of outlines.
    encoding
        The meaning of the values.
    """
    if mask.has_outlines:
        is_binary = encoding.binarise and not encoding.task.instances
        return (values > 0).astype(np.uint8) if is_binary else values
    numbers = values if encoding.binarise else _take_whole_numbers(mask, values)
    return convert_mask_to_labels(numbers, encoding, exact=mask.is_exact)


def make_label_reader(encoding: MaskEncoding) -> Callable[..., Labels]:
    """Return a function that reads a file as labels on the grid of an image, and logs what had to be assumed.

    It raises as `read_mask_labels`, and adds which option may help. It takes the `parts` of a `MaskFile`, too.
    """
    finder = MaskFinder()

    def read(path: Path, image: Image, parts: tuple[tuple[str, Path], ...] = ()) -> Labels:
        try:
            mask = MaskFile(path, parts=parts) if parts else finder.find(path, image.name)
            labels, placed = read_mask_labels(mask, image, encoding)
        except MedSegError as error:
            name = "" if path.name in str(error) else f"{path.name}: "
            raise type(error)(f"{name}{error}{advise_on(error)}") from error
        for note in placed.notes:
            logger.warning("%s: %s", path.name, note)
        return labels

    return read


def advise_on(error: MedSegError) -> str:
    """Return which option may help against an error of a mask; empty if none."""
    if isinstance(error, HeaderMismatchError):
        return " If its voxels are those of the image in the same order, add --same-voxels to ignore its header."
    return ""


def _take_whole_numbers(mask: MaskFile, values: NDArray[Any]) -> Labels:
    """Return mask values as labels; raise `UnknownValueError` naming --binarise if they cannot be."""
    if not mask.is_exact:
        raise UnknownValueError(
            f"{mask.title}: JPEG does not keep values exactly. Export PNG or TIFF, or add --binarise if it shows one "
            "label."
        )
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise UnknownValueError(
            f"{mask.title} holds fractions such as {values[values != np.rint(values)][0]:.3g}; labels are whole "
            "numbers. Add --binarise to use the values above half as the only label."
        )
    labels: Labels = cast_to_labels(values, mask.title)
    return labels
