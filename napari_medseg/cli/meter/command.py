"""`medseg meter`: work per case, person and model version, what retraining saved, and how far two readers agree."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    ClearNamesOption,
    JsonOption,
    MaxMemoryOption,
    RegistryOption,
    TaskOption,
    check_output_file,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.workflow.meter import texts
from napari_medseg.workflow.meter.figures import (
    MeterFigures,
    compute_figures,
    measure_missing,
    read_meter,
    store_measured,
)
from napari_medseg.workflow.meter.saturation import (
    Saturation,
    compare_versions,
    find_retrain_pair,
    list_to_compare,
    store_version_agreement,
)
from napari_medseg.workflow.meter.table import describe_row, write_meter_csv
from napari_medseg.workflow.second_reader.hidden import describe_left_out
from napari_medseg.workflow.second_reader.readings import ReadTwice
from napari_medseg.workflow.workspace import Workspace


def meter(
    project: Annotated[
        Path | None, typer.Argument(metavar="PROJECT", help="Project folder.", show_default="that of the window")
    ] = None,
    task: TaskOption = DEFAULT_TASK,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", callback=check_output_file, help="Also write one row for each correction."
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Also compare the versions of the last two retrains on undecided cases.",
        ),
    ] = False,
    readers: Annotated[bool, typer.Option("--readers", help="Only the agreement of two readers.")] = False,
    clear_names: ClearNamesOption = False,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Measure the work on a project.

    Seconds, edited voxels and Dice of draft and correction per model version; minutes saved against the first version;
    what the rest of the list will take; whether more corrections still help; how far two readers agree.
    """
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        names = ws.project.identities.read_readers() if clear_names else None
        if compare:
            _compare_versions(ws, task)
        figures = _measure(ws, task)
        if csv is not None:
            write_meter_csv(csv, figures.records.shown_rows, names)
    content, lines = _describe_readers(figures)
    if not readers:
        rows = [describe_row(row, names) for row in figures.records.shown_rows]
        content = _describe_figures(figures) | content | {"corrections": rows}
        lines = [*_list_lines(figures), *lines]
    if as_json:
        echo_json(content | ({} if names is None else {"names": names}))
        return
    for line in lines:
        echo(line)
    if csv is not None and (left_out := describe_left_out(len(figures.records.unread))):
        echo(f"From the rows of single corrections {left_out}")
    for label, name in (names or {}).items():
        echo(f"{label} is {name}")


def _measure(ws: Workspace, task: str) -> MeterFigures:
    records = read_meter(ws, task)
    for agreement in measure_missing(records):
        store_measured(ws, agreement)
    return compute_figures(records if records.is_measured else read_meter(ws, task))


def _compare_versions(ws: Workspace, task: str) -> None:
    if (pair := find_retrain_pair(ws, task)) is not None:
        for agreement in compare_versions(ws, pair, list_to_compare(ws, pair, ws.project.listed.read_waiting(task))):
            store_version_agreement(ws, agreement)


def _describe_figures(figures: MeterFigures) -> dict[str, Any]:
    return {
        "versions": [asdict(one) for one in figures.work],
        "savings": [asdict(one) | {"minutes": asdict(one.minutes)} for one in figures.savings],
        "forecast": asdict(figures.forecast),
        "saturation": [_describe_evidence(one) for one in figures.saturation],
    }


def _list_lines(figures: MeterFigures) -> list[str]:
    return [texts.count_rows(figures.records.rows), *texts.list_work_lines(figures), texts.METHOD]


def _describe_evidence(one: Saturation) -> dict[str, Any]:
    return asdict(one) | {"no_longer_helps": one.no_longer_helps, "text": one.text}


def _describe_readers(figures: MeterFigures) -> tuple[dict[str, Any], list[str]]:
    read = figures.records.read_twice
    labels = [asdict(one) for one in figures.agreement]
    content = {"readers": {"cases": [_describe_read(one) for one in read], "labels": labels}}
    return content, [*texts.list_reader_lines(figures), *map(texts.describe_read_twice, read)]


def _describe_read(read: ReadTwice) -> dict[str, Any]:
    agreement = read.agreement
    scores = [] if agreement is None else agreement.scores
    return {
        "case": read.case.id,
        "name": read.case.name,
        "first": read.first.who,
        "second": read.second_who,
        "second_accepted": read.second is not None,
        "counts": "second" if read.uses_second else "first",
        "unit": None if agreement is None else agreement.unit,
        "scores": [{"label": value, "dice": dice, "hd95": hd95} for value, dice, hd95 in scores],
    }
