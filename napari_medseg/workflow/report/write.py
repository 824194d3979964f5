"""Write the report of a project: `report.html`, one file that needs no network."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, collect_damage
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Correction, Prediction, Review, Run, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.workflow.report import data_card, label_scan
from napari_medseg.workflow.report.case_picture import CORRECTION_COLOUR, DRAFT_COLOUR, draw_case
from napari_medseg.workflow.report.label_scan import AcceptedCase, LabelScan
from napari_medseg.workflow.report.lineage import draw_lineage
from napari_medseg.workflow.report.page import TaskReport, build_section
from napari_medseg.workflow.report.people import Names, choose_names
from napari_medseg.workflow.report.retrains import read_retrains
from napari_medseg.workflow.storage.archived_models import list_needed_versions
from napari_medseg.workflow.storage.pack import Progress
from napari_medseg.workflow.storage.project_copy import open_project_copy
from training.reports.html import Figure, make_figure, render_page

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
        tasks = registry.read_task_catalog(folder / TASKS_FOLDER)
        wanted = dict.fromkeys(case.task for case in project.read_records(Case))
        reports: list[TaskReport] = []
        problems: list[str] = []
        for name in wanted:
            if name in tasks:
                report = yield from _read_task(project, folder, registry, tasks.get_task(name), problems)
                if options.pictures:
                    report.figures = _draw_worst(folder, report.scan, names, problems)
                reports.append(report)
            else:
                problems.append(f"the task {name} is not known here; its cases are not shown.")
        sections = [build_section(report, names) for report in reports]
        said = [_hide_folders(text, project.folder, folder, registry.user_dir) for text in (*problems, *damage)]
    values = {
        "sections": sections,
        "clear_names": options.clear_names,
        "pictures": options.pictures,
        "written": now()[:16].replace("T", " "),
        "problems": list(dict.fromkeys(said)),
        "draft_colour": DRAFT_COLOUR,
        "correction_colour": CORRECTION_COLOUR,
    }
    atomic_write_text(out / REPORT_FILE, render_page("project_report.html", "Report of a project", values))
    return out / REPORT_FILE


def _read_task(
    project: Project, folder: Path, registry: ModelRegistry, task: Task, problems: list[str]
) -> Generator[Progress, None, TaskReport]:
    histories = project.read_case_histories(task.name)
    ids = {history.case.id for history in histories}
    accepted = _list_accepted(project, task)
    scan = yield from label_scan.scan_labels(folder, task, accepted, N_PICTURES)
    problems += scan.problems
    runs = project.read_records(Run, "task", task.name)
    needed = [card for card in list_needed_versions(project, registry).cards if card.task == task.name]
    live = registry.find_live_card(task.name)
    made_here = {run.result_model for run in runs if run.result_model}
    return TaskReport(
        task=task,
        histories=histories,
        corrections=[one for one in project.read_records(Correction) if one.case_id in ids],
        data=data_card.build_data_card(folder, histories),
        scan=scan,
        retrains=read_retrains(folder, runs, problems),
        lineage=draw_lineage(needed, live.id if live else "", made_here),
        live=live,
    )


def _list_accepted(project: Project, task: Task) -> list[AcceptedCase]:
    predictions = {one.id: one for one in project.read_records(Prediction)}
    began_with = {review.id: review.prediction_id for review in project.read_records(Review)}
    return [
        AcceptedCase(case, correction, predictions.get(began_with.get(correction.review_id) or 0))
        for case, correction in project.read_accepted_cases(task.name)
    ]


def _hide_folders(text: str, *folders: Path) -> str:
    """Drop the paths of folders from a message: they may hold the account of a reader."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), "the project")
    return text


def _draw_worst(folder: Path, scan: LabelScan, names: Names, problems: list[str]) -> list[Figure]:
    figures = []
    for one in scan.worst:
        caption = f"{names.name_case(one.accepted.case)}, draft of {one.accepted.correction.model}: Dice {one.dice:.3f}"
        try:
            figures.append(make_figure(draw_case(folder, one.accepted), caption))
        except MedSegError as error:
            problems.append(str(error))
    return figures
