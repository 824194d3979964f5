"""Time and edited voxels per case, for each reader and model version."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_medseg.core.records import Correction


@dataclass(frozen=True)
class Work:
    """What a reader did with the drafts of one version; `model` is empty if cases were drawn without one."""

    reader: str
    model: str
    n_cases: int
    median_seconds: float
    median_voxels: float
    n_unchanged: int
    first: str
    last: str


def summarise_work(corrections: Sequence[Correction]) -> list[Work]:
    """Return the work of each reader (by account) with each version, in order of first use.

    Labels that came from a mask of elsewhere are left out: their time and voxels say nothing about a model.
    """
    found: dict[tuple[str, str], list[Correction]] = {}
    for one in corrections:
        if not one.imported:
            found.setdefault((one.who, one.model), []).append(one)
    return [_summarise(reader, model, of) for (reader, model), of in found.items()]


def summarise_models(corrections: Iterable[Correction]) -> list[Work]:
    """Return the work of all readers together with each version, in order of first use."""
    found: dict[str, list[Correction]] = {}
    for one in corrections:
        if not one.imported and one.model:
            found.setdefault(one.model, []).append(one)
    return [_summarise("", model, of) for model, of in found.items()]


def format_seconds(seconds: float) -> str:
    """Return ``45 s``, ``3:05 min`` or ``2.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min" if whole < 7200 else f"{whole / 3600:.1f} h"


def _summarise(reader: str, model: str, of: Sequence[Correction]) -> Work:
    return Work(
        reader=reader,
        model=model,
        n_cases=len(of),
        median_seconds=statistics.median(one.seconds for one in of),
        median_voxels=statistics.median(one.changed_voxels for one in of),
        n_unchanged=sum(not one.changed_voxels for one in of),
        first=min(one.created for one in of)[:10],
        last=max(one.created for one in of)[:10],
    )
