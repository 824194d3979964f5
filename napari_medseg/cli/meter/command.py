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
    open_workspace,
)
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.meter import texts
from napari_medseg.workflow.meter.rows import (
    MeterRow,
    list_meter_rows,
    list_unmeasured,
    measure_drafts,
    store_draft_agreement,
)
from napari_medseg.workflow.meter.saturation import (
    Saturation,
    compare_versions,
    find_retrain_pair,
    judge_saturation,
    list_to_compare,
    store_version_agreement,
)
from napari_medseg.workflow.meter.table import describe_row, write_meter_csv
from napari_medseg.workflow.meter.trend import forecast_rest, list_savings, list_version_work
from napari_medseg.workflow.second_reader.readings import (
    ReadTwice,
    compute_missing_agreements,
    list_read_twice,
    store_agreement,
    summarise_agreement,
)
from napari_medseg.workflow.workspace import Workspace


def meter(
    project: Annotated[
        Path | None, typer.Argument(metavar="PROJECT", help="Project folder.", show_default="that of the window")
    ] = None,
    task: TaskOption = DEFAULT_TASK,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write one row for each correction.")
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
        names = ws.project.identities.read_readers() if clear_names else None
        content, lines = _measure_readers(ws, task)
        if not readers:
            rows = _measure_rows(ws, task)
            if compare:
                _compare_versions(ws, task)
            work, shown = _summarise(ws, task, rows)
            content, lines = work | content, [*shown, *lines]
            content["corrections"] = [describe_row(row, names) for row in rows]
            if csv is not None:
                write_meter_csv(csv, rows, names)
    if as_json:
        echo_json(content | ({} if names is None else {"names": names}))
        return
    for line in lines:
        echo(line)
    for label, name in (names or {}).items():
        echo(f"{label} is {name}")


def _measure_rows(ws: Workspace, task: str) -> list[MeterRow]:
    rows = list_meter_rows(ws, task)
    missing = list_unmeasured(ws, rows)
    for agreement in measure_drafts(ws.project.folder, ws.tasks.get_task(task), missing):
        store_draft_agreement(ws, agreement)
    return list_meter_rows(ws, task) if missing else rows


def _compare_versions(ws: Workspace, task: str) -> None:
    if (pair := find_retrain_pair(ws, task)) is not None:
        for agreement in compare_versions(ws, pair, list_to_compare(ws, pair, list_cases(ws, task))):
            store_version_agreement(ws, agreement)


def _summarise(ws: Workspace, task: str, rows: list[MeterRow]) -> tuple[dict[str, Any], list[str]]:
    cases = list_cases(ws, task)
    work, savings = list_version_work(rows), list_savings(rows)
    forecast = forecast_rest(rows, [row.case for row in cases if not row.is_decided])
    evidence = judge_saturation(ws, task, rows, cases)
    content = {
        "versions": [asdict(one) for one in work],
        "savings": [asdict(one) | {"minutes": asdict(one.minutes)} for one in savings],
        "forecast": asdict(forecast),
        "saturation": [_describe_evidence(one) for one in evidence],
    }
    lines = [texts.count_rows(rows)]
    for kind in dict.fromkeys(one.kind for one in work):
        lines += [f"{kind}:", *(f"  {texts.describe_work(one)}" for one in work if one.kind == kind)]
    lines += [texts.describe_saving(one) for one in savings]
    lines += [texts.describe_forecast(forecast), *(one.text for one in evidence), texts.METHOD]
    return content, lines


def _describe_evidence(one: Saturation) -> dict[str, Any]:
    return asdict(one) | {"no_longer_helps": one.no_longer_helps, "text": one.text}


def _measure_readers(ws: Workspace, name: str) -> tuple[dict[str, Any], list[str]]:
    task = ws.tasks.get_task(name)
    for agreement in compute_missing_agreements(ws.project.folder, task, list_read_twice(ws, name)):
        store_agreement(ws, agreement)
    read = list_read_twice(ws, name)
    summary = summarise_agreement(task, read)
    content = {"readers": {"cases": [_describe_read(one) for one in read], "labels": [asdict(one) for one in summary]}}
    if not read:
        return content, ["No case has a second reading."]
    lines = [f"{texts.count(len(read), 'case')} read by two persons", *map(texts.describe_agreement, summary)]
    return content, [*lines, *map(texts.describe_read_twice, read)]


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
