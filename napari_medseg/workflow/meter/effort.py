"""The work of the last two model versions in one line, by the definition of the meter: medians, of one kind of image.

The meter has all versions with their intervals (`trend.list_version_work`). This line is read whenever the list
changes, so it comes from one query.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from napari_medseg.workflow.meter.kinds import describe_kind
from napari_medseg.workflow.meter.statistics import MIN_CASES
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class CorrectionEffort:
    """Median seconds and median changed voxels of the timed cases that a version drafted."""

    model: str
    n_cases: int
    seconds: float
    changed_voxels: float


def read_efforts(ws: Workspace, task: str) -> list[CorrectionEffort]:
    """Return the effort for each version with `MIN_CASES` timed cases, in order of first use.

    Only the kind of image with the most cases is told. What counts is what counts in the meter: the first correction of
    a draft by each reader, no mask of elsewhere.
    """
    timed = [one for one in ws.project.listed.read_first_corrections(task) if one.seconds > 0]
    if not timed:
        return []
    kinds = [describe_kind(one.case) for one in timed]
    usual = Counter(kinds).most_common(1)[0][0]
    by_model: dict[str, list[tuple[float, int]]] = {}
    for one, kind in zip(timed, kinds, strict=True):
        if kind == usual:
            by_model.setdefault(one.model, []).append((one.seconds, one.changed_voxels))
    return [
        CorrectionEffort(model, len(work), median(s for s, _ in work), median(v for _, v in work))
        for model, work in by_model.items()
        if len(work) >= MIN_CASES
    ]


def format_effort(efforts: Sequence[CorrectionEffort]) -> str:
    """Return one line with the effort of the last version and the one before it, if any; empty without data."""
    if not efforts:
        return ""
    last = efforts[-1]
    if len(efforts) == 1:
        return f"median {_format_minutes(last.seconds)}, {last.changed_voxels:,.0f} vox a case"
    before = efforts[-2]
    return (
        f"median per case {_format_minutes(before.seconds)} → {_format_minutes(last.seconds)}, "
        f"{before.changed_voxels:,.0f} → {last.changed_voxels:,.0f} voxels"
    )


def _format_minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min"
