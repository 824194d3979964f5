"""The most useful cases first, for the command line, and which case is predicted next."""

from collections.abc import Sequence

from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Case
from napari_medseg.workflow.case_list.order import CaseOrder, collect_features, sort_places
from napari_medseg.workflow.cases import CaseRow


def find_next_case(rows: Sequence[CaseRow], after: Case | None = None) -> Case | None:
    """Return the next case that is neither accepted nor rejected, the most useful first; `None` if there is none.

    If `after` is undecided, the case after it is returned; otherwise the first case.

    Parameters
    ----------
    rows
        The list of cases, as returned by `cases.list_cases`.
    after
        The open case.
    """
    cases = [row.case for row in rank_undecided_cases(rows)]
    ids = [case.id for case in cases]
    if after is None or after.id not in ids:
        return cases[0] if cases else None
    if len(cases) == 1:
        return None
    return cases[(ids.index(after.id) + 1) % len(cases)]


def rank_undecided_cases(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Return the undecided cases in the order in which they should be corrected, see `CaseOrder.USEFUL`.

    Those whose image is known to be missing or damaged come last.
    """
    ranked = [rows[place] for place in sort_places(collect_features(rows), CaseOrder.USEFUL)]
    return sorted((row for row in ranked if not row.is_decided), key=lambda row: row.image_problem is not None)


def needs_prediction(row: CaseRow, model: str, adapted_sha256: str | None = None) -> bool:
    """Whether a case is undecided, without edits, and has no prediction or one by another version.

    With `adapted_sha256`, a prediction by other adapted weights of the version counts as one by another version; empty
    stands for the version itself. With `None`, all states of a version count alike.

    A draft is left alone, such as one from a mask of elsewhere: a prediction would fill what its person left empty.
    So is a second reading: a newer version may have learnt from the first reader's labels of the same case.
    """
    if row.reading == SECOND:
        return False
    made_by = row.prediction
    is_outdated = made_by is not None and (
        made_by.model != model or adapted_sha256 not in (None, made_by.adapted_sha256)
    )
    is_outdated = is_outdated and row.state == "predicted"
    return row.state == "new" or is_outdated
