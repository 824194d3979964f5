"""Compare the labels of a draft with those of a mask: where they differ, and Dice of each label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError
from napari_medseg.core.formats.labels import format_size
from napari_medseg.core.tasks.bundled_tasks import Task

ONLY_MINE, ONLY_THEIRS, OTHER_LABEL = 1, 2, 3


@dataclass(frozen=True, eq=False)
class LabelComparison:
    """Where two label arrays differ.

    Parameters
    ----------
    differences
        uint8 of the shape of the labels: 0 where they agree, else `ONLY_MINE`, `ONLY_THEIRS`, or `OTHER_LABEL` where
        both have a label, but not the same.
    dice
        Dice (2 A and B / (A + B)) of each label by its name; `None` for a label that neither has.
    """

    differences: NDArray[np.uint8]
    dice: dict[str, float | None]

    @property
    def text(self) -> str:
        """Dice of each label as text, such as ``Dice: right lung 0.972, left lung in neither``."""
        parts = [f"{name} {'in neither' if dice is None else f'{dice:.3f}'}" for name, dice in self.dice.items()]
        return f"Dice: {', '.join(parts)}"


def compare_labels(mine: NDArray[Any], theirs: NDArray[Any], task: Task) -> LabelComparison:
    """Compare two label arrays of the same shape, (y, x) or (z, y, x).

    Numbers of objects mean nothing between two masks: in an instance task, only where there is an object counts.

    Raises
    ------
    GridMismatchError
        If the shapes differ.
    """
    if mine.shape != theirs.shape:
        raise GridMismatchError(
            f"the mask has {format_size(theirs.shape)} voxels, but the labels have {format_size(mine.shape)}."
        )
    has_mine, has_theirs = mine != 0, theirs != 0
    differences = np.zeros(mine.shape, np.uint8)
    differences[has_mine & ~has_theirs] = ONLY_MINE
    differences[has_theirs & ~has_mine] = ONLY_THEIRS
    if task.instances:
        return LabelComparison(differences, {task.labels[0].name: _compute_dice(has_mine, has_theirs)})
    differences[has_mine & has_theirs & (mine != theirs)] = OTHER_LABEL
    dice = {label.name: _compute_dice(mine == label.value, theirs == label.value) for label in task.labels}
    return LabelComparison(differences, dice)


def _compute_dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float | None:
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else None
