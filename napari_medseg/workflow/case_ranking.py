"""Order of the cases for review: highest expected benefit per minute of correction first."""

from collections.abc import Sequence

from napari_medseg.core.records import Case
from napari_medseg.workflow.cases import CaseRow


def find_next_case(rows: Sequence[CaseRow], after: Case | None = None) -> Case | None:
    """Return the next case that is neither accepted nor rejected; `None` if there is none.

    Predicted cases come first: those that are unlike the images that the model learnt from, because it may be wrong on
    them without being unsure; then by uncertainty per expected minute of work. The other cases follow in the order of
    import. If `after` is undecided, the case after it is returned; otherwise the first case.

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
    """Return the undecided cases in the order in which they should be corrected."""
    return sorted((row for row in rows if not row.is_decided), key=_make_ranking_key)


def find_case_to_predict(rows: Sequence[CaseRow], model: str) -> Case | None:
    """Return the first undecided case without edits that has no prediction, or one by another version.

    A draft is left alone, such as one from a mask of elsewhere: a prediction would fill what its person left empty.
    """
    for row in rank_undecided_cases(rows):
        if row.state == "new" or (
            row.prediction is not None and row.state == "predicted" and row.prediction.model != model
        ):
            return row.case
    return None


def _make_ranking_key(row: CaseRow) -> tuple[bool, bool, float, int]:
    """Sort by uncertainty per plane, assuming that each plane takes the same time to correct; unlike images first."""
    if row.uncertainty is None:
        return True, True, 0.0, row.case.id
    return False, not row.is_unlike, -row.uncertainty / _count_planes(row.case), row.case.id


def _count_planes(case: Case) -> int:
    return case.shape[0] if case.axes.startswith("Z") else 1
