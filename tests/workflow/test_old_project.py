"""A project and a registry that were made in November 2026, before the rooms of the code moved, open as they are."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import SHAPE

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Correction, Prediction, Run, RunState
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow import retrain
from napari_medseg.workflow.cases import list_cases, load_image
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.review import open_review
from napari_medseg.workflow.workspace import Workspace
from training.recipe import read_recipe

ARCHIVE = Path(__file__).parents[1] / "data" / "project_before_rooms.zip"


@pytest.fixture
def old(tmp_path: Path) -> Workspace:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    registry = ModelRegistry(tmp_path / "registry", tmp_path / "bundled")
    return Workspace(Project.open(tmp_path / "project"), registry, Engine(), samples=tmp_path)


def test_its_cases_keep_their_state_and_their_side(old: Workspace) -> None:
    rows = list_cases(old, "lungs")
    assert sorted(row.state for row in rows) == ["accepted"] * 8 + ["draft", "predicted"]
    clear = old.project.identities.read_groups()
    held_out = {clear[row.case.group] for row in rows if row.case.held_out}
    assert held_out >= {f"patient {n}" for n in (1, 2, 3, 4, 5)}
    assert load_image(old, rows[0].case).spatial_shape == SHAPE


def test_its_draft_goes_on_where_it_stood(old: Workspace) -> None:
    (row,) = (row for row in list_cases(old, "lungs") if row.state == "draft")
    prediction = next(one for one in old.project.read_records(Prediction) if one.case_id == row.case.id)
    draft = open_review(old, row.case, prediction)
    flat = draft.labels.ravel()
    assert flat[[5, 6, 7, 8]].tolist() == [2, 2, 2, 1]
    assert draft.changed_voxels == 4
    draft.undo()
    draft.undo()
    assert not draft.labels.ravel()[[5, 6, 7, 8]].any()
    draft.close()


def test_its_run_its_versions_and_its_own_task_are_read(old: Workspace) -> None:
    (run,) = old.project.read_records(Run)
    assert run.state is RunState.PROMOTED
    comparison = retrain.read_comparison(old, run)
    assert comparison.verdict.decision is Decision.BETTER
    assert [round(row.score_change, 2) for row in comparison.rows] == [0.02, 0.05, 0.1, 0.15, 0.2]
    assert old.registry.get_live_card("lungs").id == "lungs-unet@2"
    assert retrain.roll_back(old, "lungs").id == "lungs-unet@1"
    assert [label.name for label in old.registry.read_task_catalog().get_task("vocal").labels] == ["folds", "tissue"]
    recipe = read_recipe(old.project.folder / run.folder / "recipe.json")
    made = recipe.run
    assert (made.name, made.version, made.budget_s, len(recipe.resolve_stages())) == ("lungs-unet", 2, 90.0, 2)


def test_its_run_on_windows_keeps_its_cases_here(old: Workspace) -> None:
    (run,) = old.project.read_records(Run)
    snapshot = old.project.folder / run.folder / "snapshot.json"
    before = retrain.read_comparison(old, run).rows
    content = json.loads(snapshot.read_text(encoding="utf-8"))
    for item in content["items"]:
        for kind in ("image", "labels"):
            item[kind] = "C:\\projects\\lungs\\" + item[kind].replace("/", "\\")
    snapshot.write_text(json.dumps(content), encoding="utf-8")
    assert all(row.case for row in before)
    assert retrain.read_comparison(old, run).rows == before


def test_its_corrections_are_exported(old: Workspace, tmp_path: Path) -> None:
    assert len(old.project.read_records(Correction)) == 8
    items = read_export_items(old, list_accepted_rows(old, "lungs"))
    paths = export_corrections(items, tmp_path / "out", ".tif", with_images=False)
    assert sum(path.suffix == ".tif" for path in paths) == 8
    assert all(set(np.unique(item.labels)) <= {0, 1, 2} for item in items)
