"""Cases that two persons read: whose labels count, and how far both agree.

The labels of the first reader are the ground truth, for training and export, until a person chooses those of the second
one. If the case is accepted again after that, the new labels count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.readings.agreement import MILLIMETRES, PIXELS, compute_label_scores
from napari_medseg.core.readings.records import FIRST, SECOND, GroundTruthChoice, ReaderAgreement
from napari_medseg.core.records import Case, Correction, Review, ReviewState, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class ReadTwice:
    """A case with the newest correction of its first and of its second reader.

    `second` is `None` if the second reader rejected the case; `second_who` is the label of that person. `used` is the
    correction that counts, `None` if the case was rejected since. `agreement` is `None` until it was computed.
    """

    case: Case
    first: Correction
    second: Correction | None
    second_who: str
    used: Correction | None
    agreement: ReaderAgreement | None

    @property
    def uses_second(self) -> bool:
        """Whether the labels of the second reader count."""
        return self.used is not None and self.used == self.second


@dataclass(frozen=True)
class LabelSummary:
    """Agreement of two readers on one label over all cases in which at least one of them has it.

    `dice`, `median_dice` and `lowest_dice` are its mean, median and minimum; `hd95` and `highest_hd95` are the median
    and the maximum of the distances in `unit`, over the cases in which both have it, or `None` if there are none.
    """

    label: str
    n_cases: int
    dice: float
    median_dice: float
    lowest_dice: float
    hd95: float | None
    highest_hd95: float | None
    unit: str


def list_read_twice(ws: Workspace, task: str) -> list[ReadTwice]:
    """Return the cases of a task whose second reading is done, in the order of import; in the main thread."""
    done = [one for one in ws.project.read_records(Review, "reading", SECOND) if one.state is not ReviewState.OPEN]
    known = {(one.first_id, one.second_id): one for one in ws.project.read_records(ReaderAgreement)}
    used = {case.id: correction for case, correction in ws.project.read_accepted_cases(task)}
    cases = {case.id: case for case in ws.project.read_records(Case, "task", task)} if done else {}
    read_twice = {one.case_id for one in done} & cases.keys()
    corrections_of: dict[int, list[Correction]] = {case_id: [] for case_id in read_twice}
    for correction in ws.project.read_records(Correction) if read_twice else ():
        if correction.case_id in read_twice:
            corrections_of[correction.case_id].append(correction)
    found = []
    for review in {one.case_id: one for one in done}.values():
        if review.case_id not in read_twice:
            continue
        case, corrections = cases[review.case_id], corrections_of[review.case_id]
        firsts = [one for one in corrections if one.reading == FIRST]
        seconds = [one for one in corrections if one.review_id == review.id]
        if firsts:
            second = seconds[-1] if seconds else None
            agreement = None if second is None else known.get((firsts[-1].id, second.id))
            found.append(ReadTwice(case, firsts[-1], second, review.who, used.get(case.id), agreement))
    return sorted(found, key=lambda one: one.case.id)


def use_reading(ws: Workspace, case: Case, reading: int) -> Correction:
    """Choose whose labels of a case count from now on: the first or the second reading; return them.

    Nothing is overwritten: the other choice takes it back.

    Raises
    ------
    MedSegError
        If the case has no labels of that reading, or was rejected since.
    """
    found = next((one for one in list_read_twice(ws, case.task) if one.case.id == case.id), None)
    if found is None or found.second is None:
        raise MedSegError(f"{case.name} has no labels of a second reader. Choose a case that two persons accepted.")
    if found.used is None:
        raise MedSegError(f"{case.name} was rejected since, so no labels of it count. Accept it again first.")
    chosen = found.first if reading == FIRST else found.second
    if chosen != found.used:
        choice = GroundTruthChoice(0, case.id, chosen.id, found.first.id, ws.reader.key(), now())
        ws.project.insert(choice)
    return chosen


def compute_missing_agreements(folder: Path, task: Task, read: Sequence[ReadTwice]) -> Iterator[ReaderAgreement]:
    """Compare the readers of the cases that were not compared yet, in any thread; a damaged file is reported.

    Only what both reviewed is compared. Give each result to `store_agreement`.
    """
    for one in read:
        if one.second is None or one.agreement is not None:
            continue
        try:
            yield _compare_readings(folder, task, one.case, one.first, one.second)
        except MedSegError as error:
            report_damage(f"the readings of {one.case.name} cannot be compared: {error}")


def store_agreement(ws: Workspace, agreement: ReaderAgreement) -> None:
    """Write how far two readers agree; in the main thread. What is written already stays."""
    known = ws.project.read_records(ReaderAgreement, "first_id", agreement.first_id)
    if all(one.second_id != agreement.second_id for one in known):
        ws.project.insert(agreement)


def summarise_agreement(task: Task, read: Sequence[ReadTwice]) -> list[LabelSummary]:
    """Return the agreement per label; millimetres and pixels are not mixed, so a label may have a row of each."""
    names = {label.value: label.name for label in task.labels}
    found: dict[tuple[int, str], list[tuple[float, float | None]]] = {}
    for one in read:
        if one.agreement is not None:
            for value, dice, hd95 in one.agreement.scores:
                if dice is not None:
                    found.setdefault((value, one.agreement.unit), []).append((dice, hd95))
    rows = []
    for (value, unit), scores in sorted(found.items()):
        dices, distances = [dice for dice, _ in scores], [hd95 for _, hd95 in scores if hd95 is not None]
        rows.append(
            LabelSummary(
                label=names.get(value, f"label {value}"),
                n_cases=len(scores),
                dice=fmean(dices),
                median_dice=median(dices),
                lowest_dice=min(dices),
                hd95=median(distances) if distances else None,
                highest_hd95=max(distances, default=None),
                unit=unit,
            )
        )
    return rows


def _compare_readings(folder: Path, task: Task, case: Case, first: Correction, second: Correction) -> ReaderAgreement:
    one, other = read_case_labels(folder, case, first), read_case_labels(folder, case, second)
    for correction in (first, second):
        if (seen := read_reviewed_pixels(folder, case, correction)) is not None:
            one, other = np.where(seen, one, 0), np.where(seen, other, 0)
    scores = compute_label_scores(one, other, task, case.spacing_mm)
    rows = tuple((score.value, score.dice, score.hd95) for score in scores)
    unit = MILLIMETRES if case.spacing_mm else PIXELS
    return ReaderAgreement(0, first.id, second.id, unit, rows, now())
