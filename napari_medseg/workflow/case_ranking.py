"""Which case next: the one that teaches most per minute of correction, as far as that can be known."""

from collections.abc import Sequence

from napari_medseg.core.records import Case
from napari_medseg.workflow.cases import CaseRow


def find_next_case(rows: Sequence[CaseRow], after: Case | None = None) -> Case | None:
    """Return the next case that nobody has decided on; `None` when all are done.

    Predicted cases come first, the most uncertain per expected minute leading, then the others in the order in which
    they came. Without `after`, or where it is done, that order is begun from its start; else it goes on behind `after`.

    Parameters
    ----------
    rows
        The list of cases, as `cases.list_cases` gives it.
    after
        Case that is open now.
    """
    cases = [row.case for row in rank_undecided_cases(rows)]
    ids = [case.id for case in cases]
    if after is None or after.id not in ids:
        return cases[0] if cases else None
    if len(cases) == 1:
        return None
    return cases[(ids.index(after.id) + 1) % len(cases)]


def rank_undecided_cases(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Cases that nobody has decided on, in the order in which they should be corrected."""
    return sorted((row for row in rows if not row.is_decided), key=_make_ranking_key)


def find_case_to_predict(rows: Sequence[CaseRow], model: str) -> Case | None:
    """Return the first undecided case without a prediction, or with one by another version and no work on it."""
    for row in rank_undecided_cases(rows):
        if row.prediction is None or (row.state == "predicted" and row.prediction.model != model):
            return row.case
    return None


def _make_ranking_key(row: CaseRow) -> tuple[bool, float, int]:
    """Uncertainty per plane: a person needs about as long for each, and how long changes nothing in the order."""
    if row.uncertainty is None:
        return True, 0.0, row.case.id
    return False, -row.uncertainty / _count_planes(row.case), row.case.id


def _count_planes(case: Case) -> int:
    return case.shape[0] if case.axes.startswith("Z") else 1
