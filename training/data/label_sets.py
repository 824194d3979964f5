"""Labels that stand for several classes: "a lesion, of one kind or the other", "a nucleus, at any depth".

Such a pixel has the code `128 + sum(2**class)` on the network's grid. `IGNORE_INDEX` is the same code with all seven
classes: nothing is known. The code of one class alone means that it is certain, as a person painted it or called it
right. The losses understand these codes, see `training.losses.label_sets`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.metrics import compute_dice
from napari_medseg.core.snapshot import IGNORE_INDEX

FIRST_SET_CODE = 128
MAX_CLASSES = 7
"""Networks with more classes, including background, cannot learn from sets."""


_CERTAIN_CODES = FIRST_SET_CODE + 2 ** np.arange(MAX_CLASSES)
_CLASS_OF = np.arange(IGNORE_INDEX + 1, dtype=np.uint8)
_CLASS_OF[_CERTAIN_CODES] = np.arange(MAX_CLASSES)


def mark_certain(
    classes: NDArray[np.integer[Any]], certain: NDArray[np.bool_], n_classes: int
) -> NDArray[np.integer[Any]]:
    """Return classes with the code of a certain class where a person set the label; pixels of a set keep it.

    Parameters
    ----------
    classes, certain
        Classes on the network's grid, or codes, and which of them a person set; of one shape.
    n_classes
        Classes of the network; with more than `MAX_CLASSES` all pixels count alike.
    """
    where = certain & (classes < n_classes)
    if n_classes > MAX_CLASSES or not where.any():
        return classes
    coded = classes.astype(np.uint8)
    coded[where] = _CERTAIN_CODES[classes[where]]
    return coded


def unmark_certain(coded: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Return the classes without the mark of `mark_certain`; sets and ignored pixels stay."""
    classes: NDArray[np.uint8] = _CLASS_OF[coded]
    return classes


def get_certain_code(value: int) -> int:
    """Return the code of a certain class, or the class itself if no code exists for it."""
    return int(_CERTAIN_CODES[value]) if 0 <= value < MAX_CLASSES else value


def encode_label_set(classes: Iterable[int]) -> int:
    """Return the code of a set of at least two foreground classes.

    Raises
    ------
    MedSegError
        If the set has fewer than two classes, or one that is not from 1 to 6.
    """
    members = sorted(set(classes))
    if len(members) < 2 or members[0] < 1 or members[-1] >= MAX_CLASSES:
        raise MedSegError(
            f"the label set {members} is not valid. Name at least two classes from 1 to {MAX_CLASSES - 1}."
        )
    return FIRST_SET_CODE + sum(1 << member for member in members)


def is_set_code(value: int, n_classes: int = MAX_CLASSES) -> bool:
    """Whether a value on the grid of a network with `n_classes` classes is a set, and not a class or ignored."""
    return n_classes <= MAX_CLASSES and FIRST_SET_CODE < value < IGNORE_INDEX


def list_members(value: int, n_classes: int = MAX_CLASSES) -> tuple[int, ...]:
    """Return the classes that a value stands for: those of a set, or the class itself."""
    if not is_set_code(value, n_classes):
        return (value,)
    return tuple(member for member in range(MAX_CLASSES) if (value - FIRST_SET_CODE) >> member & 1)


def replace_by_sets(
    classes: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    label_sets: Mapping[int, Sequence[int]],
    n_classes: int,
    sides: tuple[int, int] | None = None,
) -> NDArray[np.integer[Any]]:
    """Return classes with the code of a set where the labels have a value that stands for one.

    Parameters
    ----------
    classes, labels
        Classes of the network and label values of the file, of one shape.
    label_sets
        Classes of the network that each label value stands for.
    n_classes
        Classes of the network, including background.
    sides
        Labels of right and left, which a mirrored patch exchanges.

    Raises
    ------
    MedSegError
        If a set is not valid, the network lacks one of its classes or has too many, or it has one side only.
    """
    if not label_sets:
        return classes
    coded = classes.astype(np.uint8)
    for value, members in label_sets.items():
        code = encode_label_set(members)
        if n_classes > MAX_CLASSES or max(members) >= n_classes:
            raise MedSegError(
                f"the label {value} stands for the classes {sorted(members)}, but the network has {n_classes} classes. "
                f"Sets need a network with all of them and at most {MAX_CLASSES}, including background."
            )
        if sides is not None and len({*sides} & {*members}) == 1:
            raise MedSegError(
                f"the label {value} stands for the classes {sorted(members)}, which include one side only. "
                "A mirrored image would have the other side. Name both sides or none."
            )
        coded[labels == value] = code
    return coded


def compute_dice_per_value(
    predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], values: Iterable[int], n_classes: int
) -> dict[int, float]:
    """Return the Dice of each value, class or set, that the labels of a plane tell; ignored pixels do not count.

    A class is left out if the plane has a set with this class: then nobody knows where the class is.

    Parameters
    ----------
    predicted, labels
        (h, w): classes, and classes or sets.
    values
        Classes and sets.
    n_classes
        Classes of the network, including background.
    """
    counted = labels != IGNORE_INDEX
    members_of = {int(value): {*list_members(int(value), n_classes)} for value in np.unique(labels[counted])}
    scores: dict[int, float] = {}
    for value in values:
        wanted = {*list_members(value, n_classes)}
        if any(members & wanted and members - wanted for members in members_of.values()):
            continue
        inside = [one for one, members in members_of.items() if members <= wanted]
        scores[value] = compute_dice(np.isin(predicted, [*wanted]) & counted, np.isin(labels, inside) & counted)
    return scores
