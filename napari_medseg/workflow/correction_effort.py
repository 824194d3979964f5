"""What correcting costs a person with each version: the reason for retraining, measured on their own cases."""

from dataclasses import dataclass
from statistics import fmean

from napari_medseg.workflow.cases import corrections_in_force
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class Effort:
    """Mean seconds and edited voxels of the accepted cases that a version had predicted."""

    model: str
    n_cases: int
    seconds: float
    changed_voxels: float


def efforts(ws: Workspace, task: str) -> list[Effort]:
    """Return the effort with each version, in the order in which they first predicted; blank starts are left out."""
    by_model: dict[str, list[tuple[float, int]]] = {}
    for _, correction in sorted(corrections_in_force(ws, task), key=lambda pair: pair[1].id):
        if correction.model:
            by_model.setdefault(correction.model, []).append((correction.seconds, correction.changed_voxels))
    return [
        Effort(model, len(cases), fmean(seconds for seconds, _ in cases), fmean(voxels for _, voxels in cases))
        for model, cases in by_model.items()
    ]


def effort_text(found: list[Effort]) -> str:
    """Say it in one line: of the last version, and of the one before it where there is one; empty without any."""
    if not found:
        return ""
    last = found[-1]
    if len(found) == 1:
        return f"{_minutes(last.seconds)}, {last.changed_voxels:,.0f} voxels a case"
    before = found[-2]
    return (
        f"per case {_minutes(before.seconds)} → {_minutes(last.seconds)}, "
        f"{before.changed_voxels:,.0f} → {last.changed_voxels:,.0f} voxels"
    )


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"
