"""Write the report of a project: `report.html`, one file that needs no network."""

import re
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, collect_damage
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Prediction, Review, Run, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow.case_notes.notes import read_case_notes
from napari_medseg.workflow.meter.figures import (
    MeterFigures,
    compute_figures,
    measure_missing,
    read_meter,
    store_measured,
)
from napari_medseg.workflow.meter.statistics import MIN_CASES
from napari_medseg.workflow.report import data_card, label_scan
from napari_medseg.workflow.report.case_picture import CORRECTION_COLOUR, DRAFT_COLOUR, draw_case
from napari_medseg.workflow.report.label_scan import AcceptedCase
from napari_medseg.workflow.report.lineage import draw_lineage
from napari_medseg.workflow.report.page import TaskReport, build_section
from napari_medseg.workflow.report.people import Names, choose_names
from napari_medseg.workflow.report.retrains import read_retrains
from napari_medseg.workflow.storage.archived_models import list_needed_versions
from napari_medseg.workflow.storage.pack import Progress
from napari_medseg.workflow.storage.project_copy import open_project_copy
from napari_medseg.workflow.workspace import Workspace
from training.reports.html import Figure, make_figure, render_page

_FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:;\"'<>|][^/\\:;\"'<>|\n]*[/\\])+")
"""All folders of an absolute path; the last part stays."""
REPORT_FILE = "report.html"
N_PICTURES = 6
"""Of each task; a page of many tasks stays small."""


@dataclass(frozen=True)
class ReportOptions:
    """What the page shows: clear names, and pictures of the worst cases (names burnt into an image stay in them)."""

    clear_names: bool = False
    pictures: bool = True


def write_project_report(
    folder: Path, registry: ModelRegistry, out: Path, options: ReportOptions = ReportOptions()
) -> Generator[Progress, None, Path]:
    """Write the report of a project; a window may have it open.

    Only files are used, so it may run in a worker thread; `registry` must be one of its own there.

    Parameters
    ----------
    folder, registry
        The project and the models of the user.
    out
        Folder of the page; an older page of this name is replaced.
    options
        What the page shows.

    Yields
    ------
    Progress
        In accepted cases.

    Raises
    ------
    MedSegError
        If there is no project, its database is damaged, or the folder cannot be written to. Damaged files of cases and
        runs are named on the page.
    """
    with collect_damage() as damage, open_project_copy(folder) as project:
        names = choose_names(project, clear=options.clear_names)
        ws = Workspace(project, registry, Engine())  # of the copy: what is measured for the page stays in it
        ws.tasks = registry.read_task_catalog(folder / TASKS_FOLDER)
        wanted = dict.fromkeys(case.task for case in project.read_records(Case))
        reports: list[TaskReport] = []
        problems: list[str] = []
        for name in wanted:
            if name in ws.tasks:
                report = yield from _read_task(ws, folder, ws.tasks.get_task(name), names, problems)
                if options.pictures:
                    report.pictures = _draw_worst(ws, folder, report.figures, names, problems)
                reports.append(report)
            else:
                problems.append(f"the task {name} is not known here; its cases are not shown.")
        sections = [build_section(report, names) for report in reports]
        own = (project.folder, folder, registry.user_dir, registry.bundled_dir)
        said = [_hide_folders(text, *own) for text in (*problems, *damage)]
    values = {
        "sections": sections,
        "clear_names": options.clear_names,
        "pictures": options.pictures,
        "written": now()[:16].replace("T", " "),
        "min_cases": MIN_CASES,
        "problems": list(dict.fromkeys(said)),
        "draft_colour": DRAFT_COLOUR,
        "correction_colour": CORRECTION_COLOUR,
    }
    atomic_write_text(out / REPORT_FILE, render_page("project_report.html", "Report of a project", values))
    return out / REPORT_FILE


def _read_task(
    ws: Workspace, folder: Path, task: Task, names: Names, problems: list[str]
) -> Generator[Progress, None, TaskReport]:
    project, registry = ws.project, ws.registry
    histories = project.read_case_histories(task.name)
    scan = yield from label_scan.scan_labels(folder, task, _list_accepted(project, task.name))
    problems += scan.problems
    figures = yield from _measure(ws, folder, task.name)
    unread = project.listed.count_unread_corrections()
    runs = [
        replace(run, n_corrections=run.n_corrections - unread.get(run.id, 0))
        for run in project.read_records(Run, "task", task.name)
    ]
    known = None if names.are_clear else {case.name for case in project.read_records(Case)}
    needed = [card for card in list_needed_versions(project, registry).cards if card.task == task.name]
    live = registry.find_live_card(task.name)
    made_here = {run.result_model for run in runs if run.result_model}
    return TaskReport(
        task=task,
        histories=histories,
        notes=read_case_notes(ws),
        figures=figures,
        data=data_card.build_data_card(folder, histories),
        scan=scan,
        retrains=read_retrains(folder, runs, known, problems),
        lineage=draw_lineage(needed, live.id if live else "", made_here),
        live=live,
    )


def _measure(ws: Workspace, folder: Path, task: str) -> Generator[Progress, None, MeterFigures]:
    """Return the figures of the meter; comparisons that the project lacks are made for the page."""
    records = replace(read_meter(ws, task), folder=folder)
    n_missing = len(records.unmeasured) + sum(one.agreement is None for one in records.read_twice)
    for number, compared in enumerate(measure_missing(records), start=1):
        store_measured(ws, compared)
        yield Progress(number, n_missing)
    return compute_figures(read_meter(ws, task) if n_missing else records)


def _list_accepted(project: Project, task: str) -> list[AcceptedCase]:
    predictions = {one.id: one for one in project.read_records(Prediction)}
    began_with = {review.id: review.prediction_id for review in project.read_records(Review)}
    return [
        AcceptedCase(case, correction, predictions.get(began_with.get(correction.review_id) or 0))
        for case, correction in project.read_accepted_cases(task)
    ]


def _hide_folders(text: str, *folders: Path) -> str:
    """Drop the paths of folders from a message: they may hold the account of a reader, or a patient's name."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), "the project")
    return _FOLDERS.sub("", text)


def _draw_worst(ws: Workspace, folder: Path, figures: MeterFigures, names: Names, problems: list[str]) -> list[Figure]:
    """Draw the drafts with the lowest Dice of which the correction still counts."""
    accepted = {one.correction.id: one for one in _list_accepted(ws.project, figures.records.task.name)}
    drafts = [
        (row.dice, accepted[row.correction.id])
        for row in figures.records.shown_rows
        if row.counts and row.dice is not None and row.correction.id in accepted
    ]
    pictures = []
    for dice, one in sorted(drafts, key=lambda draft: draft[0])[:N_PICTURES]:
        caption = f"{names.name_case(one.case)}, draft of {one.correction.model_title}: Dice {dice:.3f}"
        try:
            pictures.append(make_figure(draw_case(folder, one), caption))
        except MedSegError as error:
            problems.append(str(error))
    return pictures
