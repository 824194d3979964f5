"""Import masks as drafts or as accepted corrections, one pair after the other.

Each pair is written whole or not at all, so an import can end at any time, and a second one goes on: a pair that is
known by the hash of its files is skipped. Labels that a person touched are never replaced. `begin_import` and
`end_import` use the database, so they belong in the main thread; reading and `write_import` may run in a worker thread.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Case, ImportedMask, Review, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow import review
from napari_medseg.workflow.accepted_files import AcceptedFiles, write_accepted_files
from napari_medseg.workflow.cases import add_cases, get_case_row
from napari_medseg.workflow.draft_opening import ReviewStart, begin_review, load_draft, withdraw_review
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.masks.pairs import MaskPair
from napari_medseg.workflow.masks.read_pair import MaskSettings, ReadMask, read_pair
from napari_medseg.workflow.masks.second_readings import begin_second_reading
from napari_medseg.workflow.workspace import Workspace

OutcomeState = Literal["draft", "accepted", "second reading", "already there", "refused"]


@dataclass(frozen=True)
class ImportOutcome:
    """What became of one pair: its name, the state of its labels, the reason of a refusal, and remarks."""

    name: str
    state: OutcomeState
    text: str = ""
    notes: tuple[str, ...] = ()
    case: Case | None = None


@dataclass(frozen=True, eq=False)
class ImportStart:
    """A case and its open review, into which a mask is written.

    Parameters
    ----------
    case, start
        The case; its review, or `None` if it has these labels already and nothing is left to do.
    known_labels
        Hashes of the labels that earlier imports made.
    n_imports
        Imports into this review. A draft with more strokes than these was touched by a person, also if its labels equal
        those of an import: a person can call voxels right.
    """

    case: Case
    start: ReviewStart | None
    known_labels: frozenset[str]
    n_imports: int = 0


def import_pairs(
    ws: Workspace, pairs: Sequence[MaskPair], settings: MaskSettings, *, accepts: bool, force: bool = False
) -> Iterator[ImportOutcome]:
    """Import pairs one after the other, and say what became of each. One that does not fit is refused, others go on.

    Parameters
    ----------
    ws, pairs, settings
        Open project, pairs of `find_pairs`, and how masks are read.
    accepts
        Whether the labels become accepted corrections at once, which those of a second reader do; else drafts.
    force
        Whether to add images that modality, body part or view rule out for the task.
    """
    for pair in pairs:
        try:
            with translate_errors():
                outcome = _import_pair(ws, pair, settings, accepts=accepts or settings.is_second, force=force)
        except (GridMismatchError, HeaderMismatchError) as error:
            outcome = ImportOutcome(pair.name, "refused", f"{error}{_advise_on_grid(settings, error)}")
        except MedSegError as error:
            outcome = ImportOutcome(pair.name, "refused", str(error))
        yield outcome


def begin_import(
    ws: Workspace,
    image: Image,
    task: Task,
    labels: NDArray[Any],
    *,
    accepts: bool,
    force: bool = False,
    second_reader: str = "",
) -> ImportStart:
    """Add the image as a case, or find it, and open its review; call this in the main thread.

    Parameters
    ----------
    ws, image, task, labels, accepts, force
        As of `import_pairs`.
    second_reader
        As of `MaskSettings`.

    Raises
    ------
    MedSegError
        If the task does not accept the image, or a person rejected the case or accepted other labels of it; of a second
        reading, as of `begin_second_reading`.
    """
    with ws.project.transaction():  # a mask that is refused leaves no case behind
        if second_reader:
            case, start = begin_second_reading(ws, image, task, labels, second_reader)
            return ImportStart(case, start, frozenset())
        return _begin_import(ws, add_cases(ws, [image], task.name, force=force)[0], labels, accepts=accepts)


def withdraw_import(ws: Workspace, begun: ImportStart) -> None:
    """Remove the review that was opened for an import that failed, as `withdraw_review`; in the main thread."""
    if begun.start is not None:
        withdraw_review(ws, begun.start)


def _begin_import(ws: Workspace, case: Case, labels: NDArray[Any], *, accepts: bool) -> ImportStart:
    row = get_case_row(ws, case)
    known = frozenset(one.labels_sha256 for one in ws.project.read_records(ImportedMask, "case_id", case.id))
    if row.reading == SECOND:
        raise MedSegError("the case waits for a second reading, which is blind. Open it in the window to read it.")
    if row.state == "rejected":
        raise MedSegError("the case was rejected. Open it in the window and predict it, if it is usable after all.")
    if row.state == "accepted" and row.correction is not None:
        present = read_case_labels(ws.project.folder, case, row.correction)
        if np.array_equal(present, labels):
            return ImportStart(case, None, known)
        is_of_import = row.correction.imported and hash_labels(present) in known
        if not is_of_import or ws.project.get_record(Review, row.correction.review_id).seconds > 0:
            raise MedSegError("a person accepted other labels of it. Open it in the window to change them.")
    if not accepts and not labels.any():
        raise MedSegError(
            "the mask is empty: a draft of it would be no labels at all. Accept it as empty instead: Accept in the "
            "window, --accept on the command line."
        )
    start = begin_review(ws, case, row.prediction)
    return ImportStart(case, start, known, len(ws.project.read_records(ImportedMask, "review_id", start.review.id)))


class ImportedDraft(NamedTuple):
    """A draft with the labels of a mask: whether an earlier import had made them, and whether this one did."""

    draft: Draft
    is_there: bool
    is_changed: bool

    def take_back(self) -> None:
        """Undo the stroke of this import, as it cannot be finished: else the draft would look edited by a person."""
        if self.is_changed:
            self.draft.undo()


def write_import(begun: ImportStart, labels: NDArray[Any]) -> ImportedDraft:
    """Load the draft of a review and make it these labels, as one stroke; call this in any thread.

    Raises
    ------
    MedSegError
        If a person has edited the draft, and it differs.
    """
    assert begun.start is not None
    draft = load_draft(begun.start)
    try:
        is_same = np.array_equal(draft.labels, labels)
        is_untouched = hash_labels(draft.labels) in begun.known_labels and draft.n_paint_strokes <= begun.n_imports
        if not is_same and draft.can_undo and not is_untouched:
            raise MedSegError(
                "it has a draft that a person edited. Drop the mask on the open case in the window to replace it, or "
                "to compare both."
            )
        draft.record_missed_changes(labels)
    except MedSegError:
        draft.close()
        raise
    return ImportedDraft(draft, is_same and hash_labels(labels) in begun.known_labels, not is_same)


def end_import(
    ws: Workspace, draft: Draft, labels: NDArray[Any], read: ReadMask, source_sha256: str, written: AcceptedFiles | None
) -> OutcomeState:
    """Write where the labels of a draft come from, and the correction if its files are written; in the main thread."""
    with ws.project.transaction():
        ws.project.insert(
            ImportedMask(
                id=0,
                case_id=draft.case.id,
                review_id=draft.review.id,
                source_sha256=source_sha256,
                labels_sha256=hash_labels(labels),
                meaning=read.meaning,
                how=read.how,
                who=draft.review.who,
                created=now(),
            )
        )
        is_second = draft.review.reading == SECOND
        if is_second:
            ws.second_readings.choose(draft.case, is_chosen=True)
        if written is not None:
            review.record_correction(ws, draft, labels, written, draft.review.who if is_second else "")
    draft.close()
    return "second reading" if is_second else "draft" if written is None else "accepted"


def hash_labels(labels: NDArray[Any]) -> str:
    """Return the SHA-256 of labels; it does not depend on the integer type that holds them."""
    smallest = labels.astype(np.min_scalar_type(int(labels.max(initial=0))), order="C", copy=False)
    return hashlib.sha256(smallest.data).hexdigest()


def _import_pair(ws: Workspace, pair: MaskPair, settings: MaskSettings, *, accepts: bool, force: bool) -> ImportOutcome:
    sha256 = pair.compute_sha256(settings.describe())
    if not settings.is_second and (known := _find_earlier(ws, sha256, accepts=accepts)) is not None:
        return ImportOutcome(pair.name, "already there", case=known)
    image, read = read_pair(pair, settings)
    begun = begin_import(
        ws, image, settings.task, read.labels, accepts=accepts, force=force, second_reader=settings.second_reader
    )
    if begun.start is None:
        return ImportOutcome(pair.name, "already there", case=begun.case)
    try:
        state = _write_pair(ws, begun, image, read, settings.task, sha256, accepts=accepts)
    except BaseException:
        withdraw_import(ws, begun)
        raise
    notes = () if state == "already there" else (*image.notes, *read.notes)
    return ImportOutcome(pair.name, state, "", notes, begun.case)


def _write_pair(
    ws: Workspace, begun: ImportStart, image: Image, read: ReadMask, task: Task, sha256: str, *, accepts: bool
) -> OutcomeState:
    imported = write_import(begun, read.labels)
    draft = imported.draft
    try:
        if imported.is_there and not accepts:
            return "already there"
        written = None
        if accepts:
            written = write_accepted_files(ws.project.folder, task, begun.case, read.labels, image, draft.review_region)
        return end_import(ws, draft, read.labels, read, sha256, written)
    except BaseException:
        imported.take_back()
        raise
    finally:
        draft.close()


def _find_earlier(ws: Workspace, sha256: str, *, accepts: bool) -> Case | None:
    """Return the case of a pair that was imported before, so that nothing is left to do; `None` if there is none."""
    removed = ws.project.read_removed_case_ids()
    for one in ws.project.read_records(ImportedMask, "source_sha256", sha256):
        row = get_case_row(ws, ws.project.get_record(Case, one.case_id))
        newest = ws.project.read_records(ImportedMask, "case_id", one.case_id)[-1]
        if one == newest and row.case.id not in removed and (row.state == "accepted" or not accepts):
            return row.case
    return None


def _advise_on_grid(settings: MaskSettings, error: MedSegError) -> str:
    if settings.resamples:
        return ""
    same = " Or add --same-voxels if only its header is wrong." if isinstance(error, HeaderMismatchError) else ""
    return f" Add --resample to bring it to the grid of the image by nearest neighbour.{same}"
