"""Nothing identifies a patient outside the table `identities`: planted names are searched in all bytes written."""

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest
from planted_identities import FOLDER, find_identities, find_in_text, plant_pictures, plant_series
from workflow_phantoms import ONE_EPOCH, phantom_labels, real_version

from napari_medseg.cli.main import main
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Run
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.events import PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.cases import add_cases, load_image
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.output.image_names import make_namer
from napari_medseg.workflow.preferences import Preferences, write_preferences
from napari_medseg.workflow.review import accept, open_review, record_prediction
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import fill_run
from training.from_folders.mask_values import MaskEncoding
from training.run_folder import Failed, Finished


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a user; what is written lies elsewhere."""
    folder = tmp_path_factory.mktemp("of_the_user") / FOLDER
    plant_series(folder / "series")
    plant_pictures(folder / "pictures")
    return folder


@pytest.fixture
def written(tmp_path: Path) -> Path:
    real_version(tmp_path / "bundled" / "lungs-unet" / "1")
    return tmp_path


def open_workspace(written: Path) -> Workspace:
    folder = written / "project"
    project = Project.open(folder) if folder.exists() else Project.create(folder)
    registry = ModelRegistry(written / "registry", written / "bundled")
    return Workspace(project, registry, Engine(), samples=written / "bundled")


def read_all(sources: Path) -> list[Image]:
    return [formats.read(sources / "series"), *map(formats.read, sorted((sources / "pictures").iterdir()))]


def predict_and_accept(ws: Workspace, predictor: Predictor, image: Image) -> Case:
    (case,) = add_cases(ws, [image], "lungs", force=True)
    write_image_copy(ws.project.folder, image)
    image = load_image(ws, case)
    result = next(event for event in predictor.predict(image) if isinstance(event, PredictionResult))
    draft = open_review(ws, case, record_prediction(ws, case, result, "lungs-unet@1"))
    draft.record([5, 6], 0, 1)
    labels = np.broadcast_to(phantom_labels(), image.spatial_shape).copy()
    accept(ws, draft, labels, image)
    return case


def train(ws: Workspace) -> Run:
    run = retrain.start_run(ws, "lungs", budget_s=60.0, changes=ONE_EPOCH)
    events, offset, began = [], 0, time.monotonic()
    while not any(isinstance(event, Finished | Failed) for event in events):
        assert time.monotonic() - began < 90
        time.sleep(0.1)
        new, offset = run_control.poll_run(ws, run, offset)
        events += new
    ws.child_processes[run.id].wait()
    assert isinstance(events[-1], Finished), events[-1]
    return run


def test_no_identity_leaves_the_table(sources: Path, written: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("napari_medseg", "training"):
        caplog.set_level(logging.DEBUG, logger=name)
    ws = open_workspace(written)
    predictor = Predictor.load(written / "bundled" / "lungs-unet" / "1", "cpu")
    cases = [predict_and_accept(ws, predictor, image) for image in read_all(sources)]
    for number, case in enumerate(cases):
        set_held_out(ws, case.group, number == 1)
    for suffix in formats.WRITERS:
        rows = list_accepted_rows(ws, "lungs")
        rows = [row for row in rows if suffix != ".png" or row[0].axes == "YX"]
        items = read_export_items(ws, rows)
        namer = make_namer("group", ws.registry.user_dir)
        export_corrections(items, written / f"exported{suffix}", suffix, True, namer, straighten=True)
    run = train(ws)
    retrain.promote(ws, run, "a test")
    write_preferences(ws.registry, Preferences(export_suffix=".tif"))
    ws.close()

    assert find_identities(sources.parent), "the search finds what was planted"
    assert find_identities(written) == []
    assert find_in_text(caplog.text) == []
    assert (written / "project" / run.folder / "report.html").exists()
    entries = json.loads((written / "exported.tif" / "provenance.json").read_text(encoding="utf-8"))["cases"]
    assert {entry["labels_file"] for entry in entries} >= {"patient-1_case-1_labels.tif"}


def test_the_same_patient_dropped_twice_is_one_group(sources: Path, written: Path) -> None:
    ws = open_workspace(written)
    first, second = (
        add_cases(ws, [formats.read(sources / "series" / f"ZQFILE_{number}.dcm")], "lungs")[0] for number in (0, 1)
    )
    assert first.group == second.group
    assert (first.name, second.name) == ("patient 1 case 1", "patient 1 case 2")
    assert first.file_name == "ZQFILE_0", "the window can show it"
    ws.close()


def test_commands_without_a_project_write_nothing_from_a_header(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their files are named after the files of the user, as the user asked."""
    registry, labels = tmp_path / "models", tmp_path / "labels"
    real_version(registry / "lungs-unet" / "77", version=77)
    ModelRegistry(registry, tmp_path / "none").promote("lungs-unet@77")
    for path in (sources / "series").iterdir():
        formats.write_labels(labels / f"{path.stem}.tif", phantom_labels(), formats.read(path))
    out, series = tmp_path / "out", sources / "series"
    own = ["--registry", str(registry), "--json"]
    printed = ""
    for command in (
        ["predict", str(series), str(sources / "pictures"), "-o", str(out / "labels"), "--force", *own],
        ["predict", str(series), "-o", str(out / "by_group"), "--names", "group", "--force", *own],
        ["evaluate", "--images", str(series), "--labels", str(labels), "-o", str(out / "scores"), *own],
    ):
        with pytest.raises(SystemExit) as end:
            main(command)
        output = capsys.readouterr()
        assert not end.value.code, output.err
        printed += output.out + output.err
    data = FolderData("cells", series, labels, MaskEncoding(get_task("lungs")))
    fill_run(data, check_folder_data(data).cases, [], out / "run", RecipeOverrides(weights="none"))
    assert (out / "run" / "snapshot.json").exists()
    assert find_identities(out, named_after_files=True) == []
    assert not [mark for mark in find_in_text(printed) if mark not in ("zqfile", "zqfolder")]
