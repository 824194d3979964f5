"""Correction effort per model version, measured on the cases of the user."""

from dataclasses import dataclass
from statistics import fmean

from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class CorrectionEffort:
    """Mean seconds and mean changed voxels per accepted case that a version predicted."""

    model: str
    n_cases: int
    seconds: float
    changed_voxels: float


def compute_efforts(ws: Workspace, task: str) -> list[CorrectionEffort]:
    """Return the effort for each version, in order of first use.

    Cases without a prediction, and those whose labels came from a mask of elsewhere, are excluded.
    """
    by_model: dict[str, list[tuple[float, int]]] = {}
    for _, correction in sorted(list_current_corrections(ws, task), key=lambda pair: pair[1].id):
        if correction.model and not correction.imported:
            by_model.setdefault(correction.model, []).append((correction.seconds, correction.changed_voxels))
    return [
        CorrectionEffort(
            model, len(cases), fmean(seconds for seconds, _ in cases), fmean(voxels for _, voxels in cases)
        )
        for model, cases in by_model.items()
    ]


def format_effort(efforts: list[CorrectionEffort]) -> str:
    """Return one line with the effort of the last version and the one before it, if any; empty without data."""
    if not efforts:
        return ""
    last = efforts[-1]
    if len(efforts) == 1:
        return f"{_format_minutes(last.seconds)}, {last.changed_voxels:,.0f} voxels a case"
    before = efforts[-2]
    return (
        f"per case {_format_minutes(before.seconds)} → {_format_minutes(last.seconds)}, "
        f"{before.changed_voxels:,.0f} → {last.changed_voxels:,.0f} voxels"
    )


def _format_minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"
