"""What the values of a mask mean: labels, the background, or that nobody decided."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.core.task_definitions import Task
from training.from_folders.mask_files import UnknownValueError

Labels = NDArray[np.integer[Any]]
BINARY_VALUE = 255
WHITE_VALUES = (255, 65535)
IGNORED_OBJECT = 2**32 - 1
MIN_SOFT_GREYS, MAX_GREY_TO_WHITE_RATIO = 8, 4
SHOWN_VALUES = 5


@dataclass(frozen=True)
class MaskEncoding:
    """How masks become labels.

    Parameters
    ----------
    task
        Whose labels they are.
    values
        Values in the masks of each label, in order; empty: 1, 2, ... , or whatever one value, where there is one label.
    binarise
        Whether whatever is drawn is the one label; see `binarise_mask`.
    ignore
        Value in the masks of what nobody decided on.

    Raises
    ------
    MedSegError
        If these contradict one another.
    """

    task: Task
    values: tuple[tuple[int, ...], ...] = ()
    binarise: bool = False
    ignore: int | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
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
            raise MedSegError(f"--values cannot be, as {other}. Leave it out.")
        if self.binarise and n_labels != 1:
            raise MedSegError(f"--binarise is for one label, but there are {n_labels}. Name one, or leave it out.")
        self._check_ignore_value(named)

    def _check_ignore_value(self, named: list[int]) -> None:
        if self.ignore is None:
            return
        known = named or ([] if self.binarise or self.task.instances else [label.value for label in self.task.labels])
        if self.ignore < 1 or self.ignore in known:
            taken = "the background" if self.ignore == 0 else "a label"
            reason = f"{self.ignore} is {taken}" if self.ignore >= 0 else "it is below 0"
            raise MedSegError(f"--ignore cannot be {self.ignore}: {reason}. Give the value of what nobody decided on.")

    @property
    def ignored_value(self) -> int | None:
        """What marks in labels of the task that nobody decided; no label and no object has that value."""
        if self.ignore is None:
            return None
        return IGNORED_OBJECT if self.task.instances else IGNORE_INDEX


def convert_mask_to_labels(mask: NDArray[Any], encoding: MaskEncoding, *, exact: bool = True) -> Labels:
    """Translate the values of a mask into labels of the task, or numbers of its objects.

    Parameters
    ----------
    mask
        (y, x) or (z, y, x), values as they lie in the file; fractions only where they are binarised.
    encoding
        What they mean.
    exact
        Whether the file keeps the values that were drawn; JPEG does not.

    Raises
    ------
    UnknownValueError
        Naming the values that mean nothing, or if a file that is not exact has values to be told from others.
    """
    if encoding.ignore is not None and not exact:
        raise UnknownValueError(
            f"a JPEG does not keep values, so that {encoding.ignore} (--ignore) cannot be told. Export PNG or TIFF."
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
    """Say where the border was set, if a mask is binarised and its borders are soft; arguments as of
    `convert_mask_to_labels`.
    """
    decided = _clear_ignored(mask, encoding)
    if not encoding.binarise or (exact and not has_soft_borders(decided)):
        return ""
    return f"its borders are soft; values above {decided.max(initial=0) / 2:g} became the label"


def map_to_label_values(mask: Labels, encoding: MaskEncoding) -> Labels:
    """Translate the values of a mask into label values.

    Raises
    ------
    UnknownValueError
        Naming the values that mean nothing.
    """
    task = encoding.task
    found = [int(value) for value in np.unique(mask) if value]
    pairs = zip(encoding.values, task.labels, strict=False)
    meant = {value: label.value for values, label in pairs for value in values}
    if not meant:
        meant = {label.value: label.value for label in task.labels}
        if len(task.labels) == 1 and found == [BINARY_VALUE]:
            meant = {BINARY_VALUE: task.labels[0].value}
    if unknown := [value for value in found if value not in meant]:
        shown = ", ".join(map(str, unknown[:SHOWN_VALUES])) + (" ..." if len(unknown) > SHOWN_VALUES else "")
        known = ", ".join(f"{value} ({task.get_label_name(label)})" for value, label in meant.items())
        ignored = "" if encoding.ignore is None else f", {encoding.ignore} (not looked at)"
        raise UnknownValueError(f"the values {shown} mean nothing; known are 0 (background), {known}{ignored}")
    translated = np.zeros(mask.shape, np.uint8)
    for value in found:
        translated[mask == value] = meant[value]
    return translated


def binarise_mask(mask: NDArray[Any], *, exact: bool = True) -> NDArray[np.uint8]:
    """Return label 1 wherever something is drawn; where borders are soft, above half of the largest value.

    Parameters
    ----------
    mask, exact
        As of `convert_mask_to_labels`.
    """
    largest = mask.max(initial=0)
    threshold = largest / 2 if not exact or has_soft_borders(mask) else 0
    return (mask > threshold).astype(np.uint8)


def has_soft_borders(mask: NDArray[Any]) -> bool:
    """Whether greys between 0 and white are borders that a program smoothed, and not values of their own.

    Fractions always are. Whole numbers are where white is the most frequent of them, and the greys are either narrower
    than three pixels everywhere or many: numbers of objects and labels are seldom so.
    """
    white = mask.max(initial=0)
    between = (mask > 0) & (mask < white)
    if mask.dtype.kind == "f" and not np.array_equal(mask, np.rint(mask)):
        return True
    n_white = int((mask == white).sum())
    greys, counts = np.unique(mask[between], return_counts=True)
    if (
        white not in WHITE_VALUES
        or not len(greys)
        or n_white <= counts.max()
        or n_white * MAX_GREY_TO_WHITE_RATIO < counts.sum()
    ):
        return False
    block = np.ones((1,) * (mask.ndim - 2) + (3, 3), bool)
    return len(greys) >= MIN_SOFT_GREYS or not ndimage.binary_erosion(between, block).any()


def _clear_ignored(mask: NDArray[Any], encoding: MaskEncoding) -> NDArray[Any]:
    """Return the mask with background where nobody decided."""
    return mask if encoding.ignore is None else np.where(mask == encoding.ignore, 0, mask).astype(mask.dtype)


def number_objects(mask: Labels) -> Labels:
    """Give each object of a mask with one value for all a number; touching ones are one, as nobody parted them."""
    if len(np.unique(mask[mask > 0])) != 1:
        return mask
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0].astype(np.uint32)  # type: ignore[no-any-return]
