"""Convert the values of a mask: to labels, background, or unlabelled pixels that are ignored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskPlacement
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.core.tasks.bundled_tasks import Task
from training.from_folders.mask_files import UnknownValueError

Labels = NDArray[np.integer[Any]]
WHITE_VALUES = (255, 65535, 2**32 - 1)
"""The largest values of 8, 16 and 32 bits: programs write one of them for the only label."""
IGNORED_OBJECT = 2**32 - 1
MIN_SOFT_GREYS, MAX_GREY_TO_WHITE_RATIO = 8, 4
NOISE_SHARE, MIN_NOISY_SHARE = 0.15, 0.9
"""Lossy compression changes values by up to this share of white, and leaves at least this share of the pixels there."""
MIN_LOSSY_WHITE = 32
"""A JPEG without a brighter value shows no drawing, only noise."""
SHOWN_VALUES = 5


@dataclass(frozen=True)
class MaskEncoding:
    """How mask values are converted to labels.

    Parameters
    ----------
    task
        The task of the labels.
    values
        Mask values of each label, in order. Empty: 1, 2, ...; with a single label, the largest value of 8, 16 or 32
        bits is accepted too.
    binarise
        Whether all values except 0 become the single label; see `binarise_mask`.
    ignore
        Mask value of unlabelled pixels.
    placement
        How masks lie that do not say so.
    background
        Mask values that are background like 0, such as the other organs of a mask of the whole body.
    others_are_background
        Whether all values are background that `values` does not name.

    Raises
    ------
    MedSegError
        If these settings contradict each other.
    """

    task: Task
    values: tuple[tuple[int, ...], ...] = ()
    binarise: bool = False
    ignore: int | None = None
    placement: MaskPlacement = AS_STATED
    background: tuple[int, ...] = ()
    others_are_background: bool = False

    def __post_init__(self) -> None:
        """Raise `MedSegError` if the settings contradict each other."""
        n_labels, named = len(self.task.labels), [value for values in self.values for value in values]
        if self.values and len(self.values) != n_labels:
            raise MedSegError(
                f"--values names {len(self.values)} values for {n_labels} labels. Give one for each, "
                "or several as in 31+32."
            )
        if doubled := sorted({value for value in named if named.count(value) > 1}):
            raise MedSegError(f"--values names {doubled} more than once. Each value means one label.")
        if 0 in named:
            raise MedSegError("--values names 0, which is the background. Give the values of labels only.")
        if self.values and (self.binarise or self.task.instances):
            other = "--binarise makes one label of all values" if self.binarise else "the values number the objects"
            raise MedSegError(f"--values cannot be used: {other}. Omit it.")
        if self.binarise and n_labels != 1:
            raise MedSegError(f"--binarise is for one label, but there are {n_labels}. Name one, or omit --binarise.")
        self._check_ignore_value(named)

    def _check_ignore_value(self, named: list[int]) -> None:
        if self.ignore is None:
            return
        known = named or ([] if self.binarise or self.task.instances else [label.value for label in self.task.labels])
        if self.ignore < 1 or self.ignore in known:
            taken = "the background" if self.ignore == 0 else "a label"
            reason = f"{self.ignore} is {taken}" if self.ignore >= 0 else "it is below 0"
            raise MedSegError(f"--ignore cannot be {self.ignore}: {reason}. Give the mask value of unlabelled pixels.")

    @property
    def ignored_value(self) -> int | None:
        """Value of unlabelled pixels in the converted labels, `None` for none; no label or object has this value."""
        if self.ignore is None:
            return None
        return IGNORED_OBJECT if self.task.instances else IGNORE_INDEX


def convert_mask_to_labels(mask: NDArray[Any], encoding: MaskEncoding, *, exact: bool = True) -> Labels:
    """Convert the values of a mask to labels of the task, or to object numbers in an instance task.

    Parameters
    ----------
    mask
        (y, x) or (z, y, x), values as in the file: integers, or floats if they are binarised.
    encoding
        The meaning of the values.
    exact
        Whether the file stores values without loss; JPEG does not.

    Returns
    -------
    Labels
        Integer array of the same shape.

    Raises
    ------
    UnknownValueError
        If the mask has unknown values, which the text lists, or if `encoding.ignore` is used with a lossy file.
    """
    if encoding.ignore is not None and not exact:
        raise UnknownValueError(
            f"JPEG does not keep values exactly, so {encoding.ignore} (--ignore) is unreliable. Export PNG or TIFF."
        )
    decided = _clear_ignored(mask, encoding)
    labels: Labels
    if encoding.binarise:
        labels = binarise_mask(decided, exact=exact)
    else:
        labels = decided if encoding.task.instances else map_to_label_values(decided, encoding)
    if encoding.task.instances:
        labels = number_objects(labels)
    if encoding.ignored_value is None:
        return labels
    kind = np.result_type(labels, np.min_scalar_type(encoding.ignored_value))
    marked: Labels = labels.astype(kind)
    marked[mask == encoding.ignore] = encoding.ignored_value
    return marked


def describe_soft_borders(mask: NDArray[Any], encoding: MaskEncoding, *, exact: bool = True) -> str:
    """Describe what was done with soft borders; return an empty text for a mask without them.

    Parameters are those of `convert_mask_to_labels`.
    """
    if not encoding.binarise and not encoding.task.instances:
        return ""
    decided = _clear_ignored(mask, encoding)
    if exact and not has_soft_borders(decided):
        return ""
    if not encoding.binarise:
        return "its values look like a drawing with soft borders, not like numbers of objects; add --binarise if so"
    return f"its borders are soft; values above {decided.max(initial=0) / 2:g} became the label"


def map_to_label_values(mask: Labels, encoding: MaskEncoding) -> Labels:
    """Convert the values of an integer mask (y, x) or (z, y, x) to label values, uint8.

    Raises
    ------
    UnknownValueError
        If the mask has unknown values; the text lists them.
    """
    task = encoding.task
    found = [int(value) for value in np.unique(mask) if value]
    pairs = zip(encoding.values, task.labels, strict=False)
    meant = {value: label.value for values, label in pairs for value in values}
    if not meant:
        meant = {label.value: label.value for label in task.labels}
        if len(task.labels) == 1 and len(found) == 1 and found[0] in WHITE_VALUES:
            meant = {found[0]: task.labels[0].value}
    if encoding.others_are_background:
        found = [value for value in found if value in meant]
    found = [value for value in found if value not in encoding.background]
    if unknown := [value for value in found if value not in meant]:
        shown = ", ".join(map(str, unknown[:SHOWN_VALUES])) + (" ..." if len(unknown) > SHOWN_VALUES else "")
        known = ", ".join(f"{value} ({task.get_label_name(label)})" for value, label in meant.items())
        ignored = "" if encoding.ignore is None else f", {encoding.ignore} (unlabelled)"
        raise UnknownValueError(
            f"the values {shown} are unknown; known are 0 (background), {known}{ignored}. {_advise(mask, encoding)}"
        )
    translated = np.zeros(mask.shape, np.uint8)
    for value in found:
        translated[mask == value] = meant[value]
    return translated


def _advise(mask: NDArray[Any], encoding: MaskEncoding) -> str:
    """Return which options explain the values of a mask."""
    names = [label.name for label in encoding.task.labels]
    found = [int(value) for value in np.unique(mask) if value]
    unlabelled = f", or --ignore {found[-1]} if that marks unlabelled pixels" if found[-1] in WHITE_VALUES else ""
    if len(names) > 1:
        example = found[: len(names)] if len(found) >= len(names) else range(1, len(names) + 1)
        values = ",".join(map(str, example))
        return (
            f"Add --values with the value of each label, such as --values {values} for {', '.join(names)}{unlabelled}"
        )
    if has_soft_borders(mask):
        return f"They look like the soft borders of a drawing: add --binarise to use those above half as {names[0]}"
    values = "+".join(map(str, found[:SHOWN_VALUES]))
    return f"Add --binarise if all values except 0 are {names[0]}, or name its values: --values {values}{unlabelled}"


def binarise_mask(mask: NDArray[Any], *, exact: bool = True) -> NDArray[np.uint8]:
    """Return label 1 where the mask is not 0, uint8. If borders are soft, the threshold is half of the largest value.

    Parameters
    ----------
    mask, exact
        As in `convert_mask_to_labels`.
    """
    largest = mask.max(initial=0)
    if not exact and largest < MIN_LOSSY_WHITE:
        return np.zeros(mask.shape, np.uint8)
    threshold = largest / 2 if not exact or has_soft_borders(mask) else 0
    return (mask > threshold).astype(np.uint8)


def has_soft_borders(mask: NDArray[Any]) -> bool:
    """Whether grey values between 0 and white are smoothed borders, and not separate label values.

    Fractional values are always soft borders. Integers are soft borders if white is the most frequent value and the
    greys are either less than three pixels wide everywhere, or many different values; or if many different values lie
    close to 0 and to white, as JPEG compression leaves them. Labels and object numbers rarely look like this.
    """
    white = mask.max(initial=0)
    between = (mask > 0) & (mask < white)
    if mask.dtype.kind == "f" and not np.array_equal(mask, np.rint(mask)):
        return True
    n_white = int((mask == white).sum())
    greys, counts = np.unique(mask[between], return_counts=True)
    if len(greys) >= MIN_SOFT_GREYS and _is_noisy_drawing(mask, white):
        return True
    if (
        white not in WHITE_VALUES
        or not len(greys)
        or n_white <= counts.max()
        or n_white * MAX_GREY_TO_WHITE_RATIO < counts.sum()
    ):
        return False
    block = np.ones((1,) * (mask.ndim - 2) + (3, 3), bool)
    return len(greys) >= MIN_SOFT_GREYS or not ndimage.binary_erosion(between, block).any()


def _is_noisy_drawing(mask: NDArray[Any], white: float) -> bool:
    """Whether nearly all values of an 8-bit mask lie close to 0 or to white, with several values at both ends."""
    if not MIN_LOSSY_WHITE < white <= 255 or not (mask == 0).any():
        return False
    low, high = (mask < NOISE_SHARE * white), (mask > (1 - NOISE_SHARE) * white)
    is_bright = white > (1 - NOISE_SHARE) * 255
    several = all(len(np.unique(mask[end])) > 2 for end in (low, high))
    return bool(is_bright and several and (low | high).mean() >= MIN_NOISY_SHARE)


def _clear_ignored(mask: NDArray[Any], encoding: MaskEncoding) -> NDArray[Any]:
    """Return the mask with background in unlabelled pixels."""
    return mask if encoding.ignore is None else np.where(mask == encoding.ignore, 0, mask).astype(mask.dtype)


def number_objects(mask: Labels) -> Labels:
    """Give numbers to the objects of a binary mask (y, x) or (z, y, x), uint32; touching objects count as one.

    A mask with several values is already numbered and is returned unchanged.
    """
    if len(np.unique(mask[mask > 0])) != 1:
        return mask
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0].astype(np.uint32)  # type: ignore[no-any-return]
