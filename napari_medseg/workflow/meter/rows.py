"""The rows of the meter: one for each correction, with its case, person and model version."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.readings.agreement import compute_agreement
from napari_medseg.core.readings.records import DraftAgreement
from napari_medseg.core.records import Case, Correction, Prediction, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.meter.kinds import describe_kind
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class MeterRow:
    """The work on one correction.

    Parameters
    ----------
    case, correction
        The case and its correction; seconds are those of work, without idle time.
    kind
        Kind of image, as of `kinds.describe_kind`: only cases of one kind are compared.
    agreement
        Of the draft as it was proposed and the correction; `None` if it is not measured (yet).
    is_repeat
        Whether the reader had accepted the case before: then it started from accepted labels, not from a draft.
    """

    case: Case
    correction: Correction
    kind: str
    agreement: DraftAgreement | None
    is_repeat: bool

    @property
    def model(self) -> str:
        """Version that made the draft; empty without one."""
        return self.correction.model

    @property
    def counts(self) -> bool:
        """Whether it tells how much work a draft of its version is: no repeat, and no mask of elsewhere."""
        return bool(self.model) and not self.correction.imported and not self.is_repeat

    @property
    def is_timed(self) -> bool:
        """Whether it counts and its time is known; labels that no person accepted in a window have none."""
        return self.counts and self.correction.seconds > 0

    @property
    def dice(self) -> float | None:
        """Dice of draft and correction; `None` if it is not measured, or neither has a label."""
        return None if self.agreement is None else self.agreement.dice

    @property
    def edited_share(self) -> float | None:
        """Edited voxels by the voxels with a label before or after, in [0, 1]; `None` if it is not measured."""
        if self.agreement is None:
            return None
        changed = self.correction.changed_voxels
        return min(1.0, changed / self.agreement.labelled_voxels) if self.agreement.labelled_voxels else 0.0


def list_meter_rows(ws: Workspace, task: str) -> list[MeterRow]:
    """Return a row for each correction of a task, in the order of acceptance; call it in the main thread."""
    cases = {case.id: case for case in ws.project.read_records(Case, "task", task)}
    agreements = {one.correction_id: one for one in ws.project.read_records(DraftAgreement)}
    rows, seen = [], set()
    for correction in ws.project.read_records(Correction):
        if (case := cases.get(correction.case_id)) is None:
            continue
        reading = (case.id, correction.reading)
        rows.append(
            MeterRow(case, correction, describe_kind(case), agreements.get(correction.id), is_repeat=reading in seen)
        )
        seen.add(reading)
    return rows


@dataclass(frozen=True)
class Unmeasured:
    """A correction whose agreement with its draft is not known yet, and the prediction that was its draft."""

    case: Case
    correction: Correction
    prediction: Prediction


def list_unmeasured(ws: Workspace, rows: Sequence[MeterRow]) -> list[Unmeasured]:
    """Return the counting corrections of older versions of the program whose draft is known; in the main thread."""
    missing = [row for row in rows if row.counts and row.agreement is None]
    if not missing:
        return []
    drafts: dict[tuple[int, str], list[Prediction]] = {}
    for prediction in ws.project.read_records(Prediction):
        drafts.setdefault((prediction.case_id, prediction.model), []).append(prediction)
    found = []
    for row in missing:
        known = drafts.get((row.case.id, row.model), [])
        before = [one for one in known if one.created <= row.correction.created]
        if before or known:
            found.append(Unmeasured(row.case, row.correction, (before or known)[-1]))
    return found


def measure_drafts(folder: Path, task: Task, unmeasured: Sequence[Unmeasured]) -> Iterator[DraftAgreement]:
    """Compare stored drafts with their corrections, in any thread; damaged files are left out and reported.

    Give each result to `store_draft_agreement`.
    """
    for one in unmeasured:
        try:
            correction = read_case_labels(folder, one.case, one.correction)
            draft = read_case_labels(folder, one.case, one.prediction)
            seen = read_reviewed_pixels(folder, one.case, one.correction)
            agreement = compute_agreement(correction, draft, task, seen)
        except MedSegError as error:
            report_damage(f"the draft of {one.case.name} cannot be compared with its correction: {error}")
            continue
        yield DraftAgreement(0, one.correction.id, agreement.dice, agreement.labelled_voxels, now())


def store_draft_agreement(ws: Workspace, agreement: DraftAgreement) -> None:
    """Write one result of `measure_drafts` unless it is known; in the main thread."""
    if not ws.project.read_records(DraftAgreement, "correction_id", agreement.correction_id):
        ws.project.insert(agreement)
