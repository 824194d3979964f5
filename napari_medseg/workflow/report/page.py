"""The page: sections of each task as tables, a graph and pictures for the template."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_medseg.core.grouping.keyed_groups import choose_group_noun, count_groups
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Correction, ReviewState
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.meter.figures import MeterFigures
from napari_medseg.workflow.report import agreement, effort, remarks
from napari_medseg.workflow.report.data_card import DataCard, is_closed_as
from napari_medseg.workflow.report.effort import format_seconds
from napari_medseg.workflow.report.label_scan import LabelScan
from napari_medseg.workflow.report.lineage import LineageGraph
from napari_medseg.workflow.report.people import Names
from napari_medseg.workflow.report.retrains import Retrain
from napari_medseg.workflow.second_reader.hidden import describe_left_out
from training.reports.html import Cell, Figure, Table

MAX_LISTED_CASES = 5000
_UNITS = {"ml": "ml", "mm2": "mm²", "px": "px"}


@dataclass
class TaskReport:
    """All that is known of one task; `notes` has what is said about each case, by its id."""

    task: Task
    histories: Sequence[CaseHistory]
    notes: remarks.Notes
    figures: MeterFigures
    data: DataCard
    scan: LabelScan
    retrains: Sequence[Retrain]
    lineage: LineageGraph
    live: ModelCard | None
    pictures: Sequence[Figure] = field(default_factory=list)

    @property
    def corrections(self) -> list[Correction]:
        """All corrections of the task, in the order of acceptance."""
        return [row.correction for row in self.figures.records.rows]


def build_section(report: TaskReport, names: Names) -> dict[str, object]:
    """Return what the template shows of a task."""
    read_twice = report.figures.records.read_twice
    return {
        "title": report.task.title,
        "tiles": _build_tiles(report),
        "work": effort.build_work_table(report.figures.records.rows, names),
        "versions": effort.build_version_table(report.figures),
        "savings": effort.list_savings(report.figures),
        "n_read_twice": len(read_twice),
        "agreement": agreement.build_agreement_table(report.figures.agreement),
        "read_twice": _cut(agreement.build_read_twice_table(report.task, read_twice, names)),
        "retrains": _build_retrain_table(report),
        "verdicts": _list_verdicts(report),
        "lineage": report.lineage,
        "live": report.live.id if report.live else "",
        "pictures": report.pictures,
        "hold_out": _describe_hold_out(report.data),
        "hold_out_groups": _build_hold_out_table(report, names),
        "data": _build_data_table(report),
        "labels": _build_label_table(report.scan),
        "sources": _build_source_table(report.live),
        "reasons": remarks.build_reason_table(report.histories, report.notes, names),
        "rejected": _cut(remarks.build_rejected_table(report.histories, report.notes, names)),
        "remarks": _cut(remarks.build_remark_table(report.histories, report.notes, names)),
        "cases": _build_case_table(report, names),
        "read_blind": describe_left_out(len(report.figures.records.unread)),
        "n_cases_left_out": max(0, len(report.corrections) - MAX_LISTED_CASES),
    }


def _build_tiles(report: TaskReport) -> list[tuple[str, str]]:
    data = report.data
    tiles = [("cases", f"{data.n_cases:,}"), ("accepted", f"{data.n_accepted:,}")]
    if data.n_rejected:
        tiles.append(("rejected", f"{data.n_rejected:,}"))
    if n_flagged := remarks.count_flags(report.histories, report.notes):
        tiles.append(("flagged", f"{n_flagged:,}"))
    if report.corrections:
        tiles.append(("time of work", format_seconds(sum(one.seconds for one in report.corrections))))
    if report.live is not None:
        tiles.append(("live model", report.live.id))
    scored = [one for one in report.retrains if one.new is not None]
    if scored:
        tiles.append((f"{scored[-1].metric} after the last retrain", f"{scored[-1].new:.3f}"))
    return tiles


def _cut(table: Table | None) -> Table | None:
    return table and Table(table.header, table.rows[:MAX_LISTED_CASES])


def _build_retrain_table(report: TaskReport) -> Table | None:
    rows: list[list[Cell]] = []
    for one in report.retrains:
        change = "" if one.old is None or one.new is None else f"{one.new - one.old:+.4f}"
        rows.append(
            [
                one.run.created[:16].replace("T", " "),
                one.run.base_model or "first model",
                one.run.result_model or "",
                one.state,
                "" if one.old is None else one.old,
                "" if one.new is None else one.new,
                change,
                "" if one.worst_change is None else f"{one.worst_change:+.4f}",
                one.n_compared,
                one.run.n_corrections,
                "" if one.seconds is None else format_seconds(one.seconds),
            ]
        )
    header = [
        "started",
        "before",
        "after",
        "decision",
        "old",
        "new",
        "change",
        "worst case",
        "compared",
        "corrections read",
    ]
    return Table([*header, "duration"], rows) if rows else None


def _describe_hold_out(data: DataCard) -> str:
    if not data.n_held_out_groups:
        return "Nothing is held out yet, so no version can be compared on images that no training saw."
    text = (
        f"{data.n_held_out_groups:,} of {data.n_groups:,} groups are held out, with {data.n_held_out_cases:,} of "
        f"{data.n_cases:,} cases. No run trains on them."
    )
    if data.coverage is not None:
        text += (
            f" {data.n_held_out_accepted:,} of {data.n_accepted:,} accepted cases ({data.coverage:.0%}) are held out."
        )
    return text.replace("%)", " %)")


def _list_verdicts(report: TaskReport) -> list[str]:
    """Return what the promotion gate said of each run that was compared."""
    return [f"{one.run.created[:16].replace('T', ' ')}: {one.verdict}" for one in report.retrains if one.verdict]


def _build_hold_out_table(report: TaskReport, names: Names) -> Table | None:
    groups: dict[str, list[CaseHistory]] = {}
    for history in report.histories:
        if history.case.held_out:
            groups.setdefault(history.case.group, []).append(history)
    rows: list[list[Cell]] = [
        [names.name_group(group), len(of), sum(is_closed_as(one, ReviewState.ACCEPTED) for one in of)]
        for group, of in groups.items()
    ]
    return Table(["group", "cases", "accepted"], rows) if rows else None


def _build_data_table(report: TaskReport) -> Table:
    data = report.data
    rows: list[list[str]] = [
        ["cases", f"{data.n_cases:,} of {count_groups(data.n_groups, choose_group_noun(report.task))}"],
        ["kinds of image", "; ".join(f"{kind}: {n:,}" for kind, n in data.kinds.items()) or "none"],
    ]
    for axis, size in data.spacing_mm.items():
        rows.append([f"spacing, {axis}", f"{size.format()} mm"])
    if data.n_without_spacing:
        rows.append(["without spacing", f"{data.n_without_spacing:,} cases: sizes are in pixels"])
    if data.n_imported:
        rows.append(["labels from masks of elsewhere", f"{data.n_imported:,} cases"])
    rows.append(["licence of the images", "not recorded in a project"])
    return Table(["", ""], rows)


def _build_label_table(scan: LabelScan) -> Table | None:
    rows: list[list[Cell]] = []
    for total in scan.totals.values():
        unit = _UNITS[total.unit]
        rows.append(
            [
                total.name,
                len(total.values),
                "" if total.n_objects is None else f"{total.n_objects:,}",
                f"{_format_size(total.median)} {unit}",
                f"{_format_size(min(total.values))} to {_format_size(max(total.values))} {unit}",
                f"{_format_size(sum(total.values))} {unit}",
            ]
        )
    header = ["label", "cases with it", "objects", "median per case", "range", "all cases"]
    if not any(total.n_objects is not None for total in scan.totals.values()):
        header, rows = [*header[:2], *header[3:]], [[*row[:2], *row[3:]] for row in rows]
    return Table(header, rows) if rows else None


def _format_size(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _build_source_table(live: ModelCard | None) -> Table | None:
    """Return the training data of the live version with their licences, from its card."""
    if live is None or not live.training_data:
        return None
    rows: list[list[Cell]] = [
        [source.name, source.n_images, source.groups, source.licence] for source in live.training_data
    ]
    return Table(["data of the live model", "images", "groups", "licence"], rows)


def _build_case_table(report: TaskReport, names: Names) -> Table | None:
    rows: list[list[Cell]] = []
    for row in report.figures.records.shown_rows[-MAX_LISTED_CASES:][::-1]:
        one = row.correction
        remark = ("hold-out" * row.case.held_out, "second reading" * (one.reading == SECOND))
        rows.append(
            [
                names.name_case(row.case),
                names.name_reader(one.who),
                one.created[:16].replace("T", " "),
                one.model_title if one.adapted_sha256 else effort.describe_draft(one),
                format_seconds(one.seconds),
                f"{one.changed_voxels:,}",
                ", ".join(filter(None, remark)),
            ]
        )
    header = ["case", "accepted by", "at (UTC)", "model of the draft", "time", "edited voxels", ""]
    return Table(header, rows) if rows else None
