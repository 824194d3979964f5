"""Who worked how long with which version, and what each version saved: all figures are those of the meter."""

from collections.abc import Callable, Sequence

from napari_medseg.core.records import Correction
from napari_medseg.workflow.meter.figures import MeterFigures
from napari_medseg.workflow.meter.rows import MeterRow
from napari_medseg.workflow.meter.statistics import MIN_CASES, Estimate
from napari_medseg.workflow.meter.texts import describe_saving, explain_no_saving, format_minutes
from napari_medseg.workflow.meter.trend import VersionWork
from napari_medseg.workflow.report.people import Names
from training.reports.html import Cell, Table


def build_work_table(rows: Sequence[MeterRow], names: Names) -> Table | None:
    """Return the work of each reader with the drafts of each version, in order of first use; all corrections count."""
    found: dict[tuple[str, str], list[Correction]] = {}
    for row in rows:
        found.setdefault((row.correction.who, describe_draft(row.correction)), []).append(row.correction)
    lines: list[list[Cell]] = [
        [
            names.name_reader(who),
            draft,
            len(of),
            format_seconds(sum(one.seconds for one in of)),
            f"{sum(one.changed_voxels for one in of):,}",
            sum(not one.changed_voxels for one in of),
            min(one.created for one in of)[:10],
            max(one.created for one in of)[:10],
        ]
        for (who, draft), of in found.items()
    ]
    header = ["reader", "model of the draft", "corrections", "time of work", "edited voxels", "unchanged"]
    return Table([*header, "first", "last"], lines) if lines else None


def build_version_table(figures: MeterFigures) -> Table | None:
    """Return medians per case with intervals for each version and kind of image; too few cases give no figure."""
    worst: dict[tuple[str, str], float] = {}
    for row in figures.records.rows:
        if row.counts and row.dice is not None:
            key = (row.kind, row.model)
            worst[key] = min(row.dice, worst.get(key, 1.0))
    lines = [_list_version_cells(work, worst.get((work.kind, work.model))) for work in figures.work]
    header = ["model", "kind of image", "cases", "time per case", "edited share", "Dice of its drafts", "worst draft"]
    return Table(header, lines) if lines else None


def list_savings(figures: MeterFigures) -> list[str]:
    """Return the minutes saved by each later version with their interval, or why there is no figure."""
    return [describe_saving(one) for one in figures.savings] or [explain_no_saving(figures.work)]


def describe_draft(correction: Correction) -> str:
    """Return the version that made the draft of a correction, adapted or not, or where its labels are from."""
    if correction.adapted_sha256:
        return f"{correction.model}, adapted"
    return correction.model or ("mask of elsewhere" if correction.imported else "drawn without a model")


def format_seconds(seconds: float) -> str:
    """Return ``45 s``, ``3:05 min`` or ``2.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d} min" if whole < 7200 else f"{whole / 3600:.1f} h"


def _list_version_cells(work: VersionWork, worst: float | None) -> list[Cell]:
    return [
        work.model,
        work.kind,
        work.n_cases,
        _format(work.seconds, work.n_timed, _format_clock, " min"),
        _format(work.edited_share, work.n_cases, _format_per_cent, " %"),
        _format(work.dice, work.n_cases, "{:.3f}".format),
        "" if worst is None else f"{worst:.3f}",
    ]


def _format(estimate: Estimate | None, n_known: int, show: Callable[[float], str], unit: str = "") -> str:
    if estimate is None:
        return f"{n_known} of {MIN_CASES} needed" if n_known < MIN_CASES else "not measured"
    return f"{show(estimate.value)}{unit} ({show(estimate.low)} to {show(estimate.high)})"


def _format_clock(seconds: float) -> str:
    return format_minutes(seconds).removesuffix(" min")


def _format_per_cent(share: float) -> str:
    return f"{100 * share:.1f}"
