"""Damaged files of the program itself: project, registry, run folders, exports and benchmarks."""

import hashlib
import json
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from fuzzing import Family, list_files
from training_phantoms import small_recipe
from workflow_phantoms import accepted, phantom, predicted, write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import read_case_labels, read_image_copy, write_image_copy
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.review_region import (
    RegionOutline,
    ReviewRegion,
    read_review_region,
    read_reviewed_pixels,
)
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.records import Case, Correction, Prediction, Review, Run, RunState
from napari_medseg.core.tasks.catalog import write_task
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.cases import CaseRow, find_last_task, list_cases
from napari_medseg.workflow.data_checks import check_corrections
from napari_medseg.workflow.hold_out.content_check import find_shared_cases
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.output.predictions import PredictionFolder
from napari_medseg.workflow.preferences import Preferences, read_preferences, write_preferences
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.benchmark.runner import PlannedRun
from training.benchmark.suite import SuiteRow, read_suite
from training.benchmark.table import read_suite_figures, read_table_rows
from training.evaluation.hold_out_evaluation import (
    EvaluationRequest,
    read_evaluation_request,
    write_evaluation_request,
)
from training.evaluation.run_verdict import write_earlier_comparisons
from training.from_folders.base_recipe import read_model_recipe
from training.from_folders.default_recipe import read_recipe_overrides
from training.recipe import read_recipe, write_recipe
from training.reports.case_figure import CaseFigure, write_case_figures
from training.reports.evaluation_report import LABEL_METRICS
from training.run_folder import (
    COST_FILE,
    EVALUATION_FILE,
    EXAMPLE_FIGURES_FILE,
    PROCESS_FILE,
    RECIPE_FILE,
    SNAPSHOT_FILE,
    Compared,
    EpochEnded,
    Finished,
    Notice,
    append_event,
)

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    """The project and the registry in a folder, as a start of the program opens them."""
    place = folder / "project"
    project = Project.open(place) if (place / DATABASE).exists() else Project.create(place)
    try:
        ws = Workspace(project, ModelRegistry(folder / "registry", folder / "bundled"), Engine(), samples=folder)
        yield ws
    finally:
        project.close()


def make_project(folder: Path) -> None:
    """Three accepted cases, one of them partly reviewed, a draft with strokes, a custom task and a run that ended."""
    write_version(folder / "bundled" / "lungs-unet" / "1")
    with opened(folder) as ws:
        for number in range(3):
            accepted(ws, number)
        region = ReviewRegion(outlines=(RegionOutline(corners=((2, 2), (2, 40), (30, 40), (30, 2))),))
        image = phantom(3)
        case, prediction = predicted(ws, image)
        draft = open_review(ws, case, prediction)
        draft.record([7], 0, 1)
        draft.save_review_region(region)
        accept(ws, draft, draft.labels, image)
        case, prediction = predicted(ws, phantom(4))
        draft = open_review(ws, case, prediction)
        for number in range(12):
            draft.record([100 + number, 300 + number], [0, 0], [1 + number % 2] * 2)
        draft.undo()
        draft.save_review_region(region)
        draft.close()
        for row in list_cases(ws):
            write_image_copy(ws.project.folder, phantom(row.case.id - 1))
        write_task(make_custom_task("larynx", ["fold", "glottis"]), ws.project.folder / "tasks")
        check_corrections(ws, "lungs")
        cases = [row.case for row in list_cases(ws, "lungs") if row.state == "accepted"]
        find_shared_cases(ws.project.folder, cases[:2], cases[2:])
        _make_run(ws)


def _make_run(ws: Workspace) -> None:
    ws.project.set_hold_out("patient 2", True)
    snapshot, _ = build_snapshot(ws, "lungs")
    folder = ws.project.folder / "runs" / "r1"
    write_version(folder, version=2, weights=b"candidate", parent="lungs-unet@1")
    (folder / SNAPSHOT_FILE).write_text(snapshot.model_dump_json(), encoding="utf-8")
    write_recipe(small_recipe(base="../../bundled/lungs-unet/1"), folder / RECIPE_FILE)
    write_earlier_comparisons(folder, 2)
    (folder / PROCESS_FILE).write_text(json.dumps({"pid": 2**22 + 1, "started": 1.0}))
    append_event(folder, Notice("a notice"))
    append_event(folder, EpochEnded(1, 3, 0.5, 0.6, True, 1.0, 2.0))
    for number in range(4):
        append_event(folder, Compared(f"slice {number}", "", 0.5, 0.6, {"right lung": 0.5}, {"right lung": 0.6}))
    append_event(folder, Finished(3, 0.9, False, 10.0))
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 3, None, "2025"))


def make_database(folder: Path) -> list[Path]:
    make_project(folder)
    return [Path("project") / DATABASE]


def use_database(folder: Path, target: Path) -> Hashable:
    """Open the project; read all that lists show; open the draft."""
    with opened(folder) as ws:
        for kind in (Case, Prediction, Review, Correction, Run):
            ws.project.read_records(kind)
        ws.project.read_hold_out_groups()
        ws.project.identities.read_pattern()
        ws.project.read_run_items()
        find_last_task(ws)
        rows = list_cases(ws)
        run_control.find_running_run(ws)
        retrain.count_unlearnt_corrections(ws, "lungs")
        for row in rows:
            if row.state == "draft":
                open_review(ws, row.case, row.prediction).close()
        return len(rows)


def make_project_files(folder: Path) -> list[Path]:
    make_project(folder)
    return list_files(folder, "project/images/*", "project/labels/*", "project/checks/*", "project/tasks/*")


def use_project_files(folder: Path, target: Path) -> Hashable:
    """Read what depends on the file as the window does; what fails costs its case."""
    read: list[tuple[str, str]] = []
    with opened(folder) as ws:
        for row in list_cases(ws):
            for kind in ("image", "correction", "prediction"):
                with suppress(MedSegError):
                    read += _read_digest(ws.project.folder, row, kind, target)
        if target.parent.name == "checks":
            for check in (check_corrections, _find_copies):
                with suppress(MedSegError):
                    check(ws, "lungs")
    return tuple(read)


def _find_copies(ws: Workspace, task: str) -> None:
    cases = [row.case for row in list_cases(ws, task) if row.state == "accepted"]
    find_shared_cases(ws.project.folder, cases[:2], cases[2:])


def _read_digest(place: Path, row: CaseRow, kind: str, target: Path) -> list[tuple[str, str]]:
    name = f"{row.case.id} {kind}"
    if kind == "image":
        is_meant = row.case.content_hash == target.stem
        return [(name, read_image_copy(place, row.case).content_hash)] if is_meant else []
    record = getattr(row, kind)
    if isinstance(record, Correction) and Path(record.reviewed_file).stem == target.stem:
        read_review_region(place, row.case, record)
        return [(name, hashlib.sha256(read_reviewed_pixels(place, row.case, record)).hexdigest())]
    if record is None or Path(record.labels_file).name != target.name:
        return []
    return [(name, hashlib.sha256(np.ascontiguousarray(read_case_labels(place, row.case, record))).hexdigest())]


def is_checked(path: Path) -> bool:
    return path.suffix == ".tif"


def is_part_of(intact: tuple[object, ...], found: tuple[object, ...]) -> bool:
    """Whether everything that was read is as it was written."""
    return set(found) <= set(intact)


def make_journal(folder: Path) -> list[Path]:
    make_project(folder)
    return list_files(folder, "project/journal/*")


def use_journal(folder: Path, target: Path) -> Hashable:
    """Open every journal and its review region; draw one more stroke, which must not be lost."""
    strokes: list[str] = []
    for path in sorted((folder / "project" / "journal").glob("*.journal")):
        journal = StrokeJournal(path)
        try:
            strokes += [f"{path.name} {stroke.indices} {stroke.old} {stroke.new}" for stroke in journal.applied_strokes]
            while journal.undo() is not None:
                pass
        finally:
            journal.close()
    with opened(folder) as ws:
        for row in list_cases(ws):
            if row.state == "draft":
                draft = open_review(ws, row.case, row.prediction)
                _ = draft.review_region
                draft.close()
    return tuple(strokes)


def make_registry(folder: Path) -> list[Path]:
    for number in (1, 2):
        write_version(folder / "bundled" / "lungs-unet" / str(number), number)
    registry = ModelRegistry(folder / "registry", folder / "bundled")
    write_version(folder / "new", 3, b"other")
    model = registry.add(folder / "new").id
    registry.promote(model, "a reason")
    write_preferences(registry, Preferences(budget_s=30.0))
    write_task(make_custom_task("larynx", ["fold"]), folder / "registry" / "tasks")
    return list_files(folder, "registry/*.json", "registry/*/*.json", "registry/*/*/*", "bundled/*/*/card.json")


def use_registry(folder: Path, target: Path) -> Hashable:
    """All that a start reads, then a promotion, a roll-back and new preferences."""
    registry = ModelRegistry(folder / "registry", folder / "bundled")
    registry.read_task_catalog(folder / "registry" / "tasks")
    read_preferences(registry)
    for card in registry.list_versions():
        registry.get_folder(card.id)
        card.model_dump_json()
        registry.find_next_version(card.name)
    for task in ("lungs", "larynx"):
        registry.get_live_id(task)
        registry.read_history(task)
    with suppress(MedSegError):
        registry.promote("lungs-unet@1")
        registry.roll_back("lungs")
    write_preferences(registry, Preferences(budget_s=60.0))
    assert read_preferences(registry).budget_s == 60.0
    return None


def make_runs(folder: Path) -> list[Path]:
    make_project(folder)
    return list_files(folder, "project/runs/*/*.json*", "project/runs/*/*.txt")


def use_runs(folder: Path, target: Path) -> Hashable:
    """Open the project, follow the run, show its comparison, keep its version."""
    with opened(folder) as ws:
        run_control.find_running_run(ws)
        run_control.find_paused_run(ws, "lungs")
        run = ws.project.get_record(Run, "r1")
        run_control.poll_run(ws, run)
        retrain.read_comparison(ws, run)
        run_control.can_resume(ws, run)
        retrain.count_unlearnt_corrections(ws, "lungs")
        for read in (
            lambda: read_recipe(ws.project.folder / run.folder / RECIPE_FILE),
            lambda: retrain.promote(ws, run, "a reason"),
        ):
            with suppress(MedSegError):
                read()
    return None


def make_exports(folder: Path) -> list[Path]:
    make_project(folder)
    with opened(folder) as ws:
        items = read_export_items(ws, list_accepted_rows(ws, "lungs"))
        export_corrections(items, folder / "export", ".nii.gz", True)
        out = PredictionFolder(folder / "predictions", ".png", "lungs", "lungs-unet@1")
        for number in range(3):
            entry = out.claim(phantom(number).content_hash, [folder / f"{number}.tif"], f"slice {number}")
            out.record(entry)
            out.get_path(entry).write_bytes(b"labels")
    return [Path("export/provenance.json"), Path("predictions/predictions.jsonl")]


def use_exports(folder: Path, target: Path) -> Hashable:
    """Export and predict into the same folders again."""
    if target.name == "predictions.jsonl":
        out = PredictionFolder(folder / "predictions", ".png", "lungs", "lungs-unet@1", overwrite=True)
        for number in range(4):
            out.record(out.claim(phantom(number).content_hash, [folder / f"{number}.tif"], f"slice {number}"))
        return None
    with opened(folder) as ws:
        items = read_export_items(ws, list_accepted_rows(ws, "lungs")[:1])
        export_corrections(items, folder / "export", ".nii.gz", True)
    return None


def make_benchmark(folder: Path) -> list[Path]:
    run_dir = folder / "run"
    run_dir.mkdir()
    numbers = dict.fromkeys(["mean_dice", "miou", "agreement", "foreground_dice", "seconds"], 0.5)
    of_labels = {f"{metric}_{label}": 0.5 for metric in LABEL_METRICS for label in ("left", "right")}
    row = {"name": "a", "group": "a", "source": "s", "unit": "px", "swapped": 0, **numbers, **of_labels}
    (run_dir / EVALUATION_FILE).write_text(json.dumps({"images": [row, row | {"source": "t"}]}))
    (run_dir / COST_FILE).write_text(json.dumps({"seconds": 3, "peak_mb": 1, "parameters": 1, "device": "cpu"}))
    write_case_figures([CaseFigure("a", 0.5, np.zeros((9, 9, 3), np.uint8))], run_dir / EXAMPLE_FIGURES_FILE)
    write_evaluation_request(EvaluationRequest(labels_by="me"), run_dir)
    append_event(run_dir, EpochEnded(1, 3, 0.5, 0.6, True, 1.0, 2.0))
    (folder / "changes.toml").write_text('[recipe.schedule]\nn_epochs = 5\n[architecture]\nname = "Unet"\n')
    (folder / "changes.json").write_text('{"recipe": {"schedule": {"n_epochs": 5}}}')
    (folder / "base.json").write_bytes((ROOT / "training/recipes/lungs.json").read_bytes())
    (folder / "suite.toml").write_bytes((ROOT / "training/suites/a_lungs_pspnet.toml").read_bytes())
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def use_benchmark(folder: Path, target: Path) -> Hashable:
    planned = [PlannedRun(SuiteRow(name="a"), None, folder / "run")]  # type: ignore[arg-type]
    read_table_rows(planned, {})
    dict(read_suite_figures(planned))
    for read in (
        lambda: read_evaluation_request(folder / "run"),
        lambda: read_recipe_overrides(folder / "changes.toml"),
        lambda: read_recipe_overrides(folder / "changes.json"),
        lambda: read_model_recipe(folder / "base.json"),
        lambda: list(read_suite(folder / "suite.toml").build_recipes([])),
    ):
        with suppress(MedSegError):
            read()
    return None


OWN = (
    Family("database", make_database, use_database),
    Family("project-files", make_project_files, use_project_files, is_checked, is_part_of),
    Family("journal", make_journal, use_journal, lambda path: path.suffix == ".journal", is_part_of),
    Family("registry", make_registry, use_registry),
    Family("runs", make_runs, use_runs),
    Family("exports", make_exports, use_exports),
    Family("benchmark", make_benchmark, use_benchmark),
)
