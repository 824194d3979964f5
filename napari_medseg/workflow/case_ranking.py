"""Which case next: the one that teaches most per minute of correction, as far as that can be known."""

from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow.cases import CaseRow, list_cases
from napari_medseg.workflow.workspace import Workspace

DEFAULT_S_PER_PLANE = 30.0


def find_next_case(ws: Workspace, after: Case | None = None) -> Case | None:
    """Return the next case that nobody has decided on; `None` when all are done.

    Predicted cases come first, the most uncertain per expected minute leading, then the others in the order in which
    they came. Without `after`, or where it is done, that order is begun from its start; else it goes on behind `after`.
    """
    cases = [row.case for row in rank_undecided_cases(ws, None if after is None else after.task)]
    ids = [case.id for case in cases]
    if after is None or after.id not in ids:
        return cases[0] if cases else None
    if len(cases) == 1:
        return None
    return cases[(ids.index(after.id) + 1) % len(cases)]


def rank_undecided_cases(ws: Workspace, task: str | None = None) -> list[CaseRow]:
    """Cases that nobody has decided on, in the order in which they should be corrected."""
    per_plane = estimate_seconds_per_plane(ws)
    undone = [row for row in list_cases(ws, task) if not row.is_decided]
    return sorted(undone, key=lambda row: _ranking_key(row, per_plane))


def estimate_seconds_per_plane(ws: Workspace) -> float:
    """Seconds that a person needed for a plane so far (a guess before the first correction)."""
    planes = {case.id: _count_planes(case) for case in ws.project.read_records(Case)}
    corrections = ws.project.read_records(Correction)
    worked = sum(correction.seconds for correction in corrections)
    n_planes = sum(planes[correction.case_id] for correction in corrections)
    return worked / n_planes if worked > 0 else DEFAULT_S_PER_PLANE


def _ranking_key(row: CaseRow, per_plane_s: float) -> tuple[bool, float, int]:
    if row.uncertainty is None:
        return True, 0.0, row.case.id
    minutes = per_plane_s * _count_planes(row.case) / 60.0
    return False, -row.uncertainty / minutes, row.case.id


def _count_planes(case: Case) -> int:
    return case.shape[0] if case.axes.startswith("Z") else 1
