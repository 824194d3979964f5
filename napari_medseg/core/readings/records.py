"""The records of readings and of agreement as frozen types. Rows are only inserted; the last one of a case counts."""

from dataclasses import dataclass

FIRST, SECOND = 1, 2
"""Numbers of readings: `Review.reading` and `Correction.reading`."""


@dataclass(frozen=True)
class DraftAgreement:
    """How far the labels that the model proposed agree with the correction that they became.

    `dice` is as in `agreement.compute_agreement`; `None` if neither has a label. `labelled_voxels` is the number of
    voxels with a label in either, so that the edited share is `Correction.changed_voxels` by it.
    """

    id: int
    correction_id: int
    dice: float | None
    labelled_voxels: int
    created: str


@dataclass(frozen=True)
class VersionAgreement:
    """Dice of the labels of two model versions for one case; `None` if neither found anything."""

    id: int
    case_id: int
    older: str
    newer: str
    dice: float | None
    created: str


@dataclass(frozen=True)
class ReaderAgreement:
    """How far two corrections of one case agree, by two readers.

    `scores` has a row for each label: its value, Dice and the 95 % Hausdorff distance in `unit` (``"mm"`` or ``"px"``).
    Dice is `None` for a label that neither has; the distance is `None` also for one that only one of them has.
    """

    id: int
    first_id: int
    second_id: int
    unit: str
    scores: tuple[tuple[int, float | None, float | None], ...]
    created: str


@dataclass(frozen=True)
class SecondReadingShare:
    """The share of the accepted cases, in [0, 1], that goes to a second reader."""

    id: int
    share: float
    who: str
    created: str


@dataclass(frozen=True)
class SecondReadingChoice:
    """Whether a person chose a case for a second reading, or took it out, whatever the share says."""

    id: int
    case_id: int
    is_chosen: bool
    who: str
    created: str


@dataclass(frozen=True)
class GroundTruthChoice:
    """The correction that a person chose among the readings of a case.

    It counts until the first reading is accepted again: until it has a correction with an id above `made_after`.
    """

    id: int
    case_id: int
    correction_id: int
    made_after: int
    who: str
    created: str
