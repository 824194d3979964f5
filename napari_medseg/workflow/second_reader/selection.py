"""Which cases a second person reads, and what that person sees of them: the model's draft and nothing of the first.

A case is read a second time if a person chose it, or by a hash of its content: the same cases in every project, and
more of the same if the share grows. It goes to whoever did not make its correction, once that was accepted. When two
persons have read it, it goes to nobody else.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.project.database import Project
from napari_medseg.core.readings.records import (
    FIRST,
    SECOND,
    GroundTruthChoice,
    SecondReadingChoice,
    SecondReadingShare,
)
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState, now
from napari_medseg.workflow.second_reader.current_reader import CurrentReader

_HASH_BYTES = 8
_N_HASHES = 2.0 ** (8 * _HASH_BYTES)


def is_in_share(content_hash: str, share: float) -> bool:
    """Whether a case belongs to this share, in [0, 1], of all cases by the hash of its content."""
    digest = hashlib.sha256(f"second reading {content_hash}".encode()).digest()
    return bool(int.from_bytes(digest[:_HASH_BYTES]) < share * _N_HASHES)


@dataclass(frozen=True)
class _Stored:
    """What the database says about second readings; by the id of the case."""

    share: float
    choices: dict[int, bool]
    reviews: dict[int, list[Review]]
    corrections: dict[int, list[Correction]]
    ground_truth: dict[int, GroundTruthChoice]


class SecondReadings:
    """The second readings of an open project; `Workspace.second_readings`. Use it in the main thread.

    Parameters
    ----------
    project, reader
        The project, and the person who works now.
    """

    def __init__(self, project: Project, reader: CurrentReader) -> None:
        self._project = project
        self._reader = reader
        self._stored: tuple[tuple[int, ...], _Stored] | None = None
        self._label: tuple[tuple[int, str], str] | None = None
        self._beginnings: dict[int, Prediction | None] = {}
        self._seen_changes = -1

    @property
    def share(self) -> float:
        """The share of the accepted cases, in [0, 1], that a second person reads; 0 at first."""
        return self._read().share

    @property
    def are_made(self) -> bool:
        """Whether any case is to be read a second time."""
        stored = self._read()
        return stored.share > 0 or any(stored.choices.values())

    def set_share(self, share: float) -> None:
        """Set the share; raise `MedSegError` outside [0, 1]."""
        if not 0.0 <= share <= 1.0:
            raise MedSegError(
                f"the share of second readings is {share:g}; it must be from 0 to 1. Nothing was changed."
            )
        if share != self.share:
            self._project.insert(SecondReadingShare(0, share, self._reader.key(), now()))

    def choose(self, case: Case, is_chosen: bool) -> None:
        """Choose a case for a second reading by hand, or take it out, whatever the share says."""
        if is_chosen != self.is_selected(case):
            self._project.insert(SecondReadingChoice(0, case.id, is_chosen, self._reader.key(), now()))

    def is_selected(self, case: Case) -> bool:
        """Whether a case is to be read a second time, by the share or by hand."""
        stored = self._read()
        return stored.choices.get(case.id, is_in_share(case.content_hash, stored.share))

    def was_compared(self, case: Case) -> bool:
        """Whether a person chose among the readings of a case."""
        return case.id in self._read().ground_truth

    def count_waiting(self, histories: Iterable[CaseHistory]) -> int:
        """Return how many of these cases wait for the second reading of the person who works now."""
        shown = [self.show_to_reader(one) for one in histories]
        return sum(one.reading == SECOND and one.closed_review is None for one in shown)

    def show_to_reader(self, history: CaseHistory) -> CaseHistory:
        """Return what the person who works now may see of a case: of a second reading, only the own records.

        The prediction is that with which the first review began: a later one may have learnt from the first labels.
        """
        stored = self._read()
        if not (stored.share or stored.choices) or not self._is_blind(history, stored):
            return history
        label = self._find_label()
        mine = [review for review in stored.reviews.get(history.case.id, ()) if review.who == label]
        opened = [review for review in mine if review.state is ReviewState.OPEN]
        closed = [review for review in mine if review.state is not ReviewState.OPEN]
        corrections = [one for one in stored.corrections.get(history.case.id, ()) if one.who == label]
        return replace(
            history,
            prediction=self._find_beginning(history.case),
            correction=corrections[-1] if corrections else None,
            open_review=opened[-1] if opened else None,
            closed_review=closed[-1] if closed else None,
            reading=SECOND,
        )

    def _is_blind(self, history: CaseHistory, stored: _Stored) -> bool:
        case, closed, first = history.case, history.closed_review, history.correction
        if first is None or closed is None or closed.state is not ReviewState.ACCEPTED:
            return False
        if not stored.choices.get(case.id, is_in_share(case.content_hash, stored.share)):
            return False
        choice = stored.ground_truth.get(case.id)
        if choice is not None and choice.correction_id == first.id:  # both readings were compared
            return False
        label = self._find_label()
        done_by = {one.who for one in stored.reviews.get(case.id, ()) if one.state is not ReviewState.OPEN}
        return first.reading == FIRST and label not in (first.who, closed.who) and not done_by - {label}

    def is_blind(self, case: Case) -> bool:
        """Whether a case is a second reading for the person who works now, not yet closed or closed by that person."""
        stored = self._read()
        if not stored.choices.get(case.id, is_in_share(case.content_hash, stored.share)):
            return False
        return self._is_blind(self._project.read_case_history(case.id), stored)

    def list_unread(self, task: str | None = None) -> frozenset[int]:
        """Return the ids of cases, of a task or of all, that the person who works now reads blind and has not decided.

        Until then, nothing that was made from the first reading of such a case is shown to that person.
        """
        if not self.are_made:
            return frozenset()
        accepted = [case.id for case, _ in self._project.read_accepted_cases(task) if self.is_selected(case)]
        histories = map(self._project.read_case_history, accepted)
        shown = [self.show_to_reader(one) for one in histories]
        return frozenset(one.case.id for one in shown if one.reading == SECOND and one.closed_review is None)

    def is_awaited(self, case: Case) -> bool:
        """Whether a second person is still to read an accepted case, whoever works now."""
        stored = self._read()
        if case.id in stored.ground_truth or not self.is_selected(case):
            return False
        return all(review.state is ReviewState.OPEN for review in stored.reviews.get(case.id, ()))

    def _find_beginning(self, case: Case) -> Prediction | None:
        """Return the prediction with which the first review began, else the last one before it was accepted."""
        if case.id not in self._beginnings:
            reviews = self._project.read_records(Review, "case_id", case.id)
            first = next(one for one in reviews if one.reading == FIRST and one.state is ReviewState.ACCEPTED)
            known = self._project.read_records(Prediction, "case_id", case.id)
            own = [one for one in known if one.id == first.prediction_id]
            before = [one for one in known if one.created <= (first.closed or "")]
            chosen = own or before
            self._beginnings[case.id] = chosen[-1] if chosen else None
        return self._beginnings[case.id]

    def _find_label(self) -> str:
        """Return the label of the person who works now; looked up once for a whole list."""
        key = self._project.n_changes, self._reader.name
        if self._label is None or self._label[0] != key:
            self._label = key, self._reader.label
        return self._label[1]

    def _read(self) -> _Stored:
        if self._stored is not None and self._seen_changes == self._project.n_changes:
            return self._stored[1]  # a list asks twice for each row
        self._seen_changes = self._project.n_changes
        version = self._project.listed.read_version_of_readings()
        if self._stored is None or self._stored[0] != version:
            self._stored = version, _read_stored(self._project)
        return self._stored[1]


def _read_stored(project: Project) -> _Stored:
    shares = project.read_records(SecondReadingShare)
    reviews: dict[int, list[Review]] = {}
    corrections: dict[int, list[Correction]] = {}
    for review in project.read_records(Review, "reading", SECOND):
        reviews.setdefault(review.case_id, []).append(review)
    for correction in project.read_records(Correction, "reading", SECOND):
        corrections.setdefault(correction.case_id, []).append(correction)
    return _Stored(
        shares[-1].share if shares else 0.0,
        {choice.case_id: choice.is_chosen for choice in project.read_records(SecondReadingChoice)},
        reviews,
        corrections,
        {choice.case_id: choice for choice in project.read_records(GroundTruthChoice)},
    )
