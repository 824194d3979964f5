"""A task of one's own, from its making to its first model, which is trained for real."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import ONE_EPOCH, SHAPE, phantom_labels, write_version

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import read_card, write_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.review import accept, open_review, predict
from napari_medseg.workflow.tasks.custom_tasks import add_task, remove_task
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides
from training.run_folder import Event, Finished

TrainHere = Callable[[Callable[[], Run]], Run]

N_CASES, N_HELD_OUT = 16, 5
FIRST = RecipeOverrides(recipe={"n_epochs": 6, "steps_per_epoch": 8, "batch_size": 4, "patch_px": 64})


def frame(number: int) -> Image:
    """A red picture with a green and a blue field."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 60, (*SHAPE, 3))
    pixels[..., 0] += 120
    for value, channel in ((1, 1), (2, 2)):
        pixels[phantom_labels() == value] = rng.integers(0, 30, 3)
        pixels[phantom_labels() == value, channel] = 220
    return Image(pixels.astype(np.uint8), "YXC", units="rgb", name=f"frame {number}", group=f"video {number}")


def draw_by_hand(ws: Workspace, number: int) -> Case:
    (case,) = add_cases(ws, [frame(number)], "larynx")
    draft = open_review(ws, case, None)
    labels = phantom_labels()
    draft.record(np.flatnonzero(labels), np.zeros(np.count_nonzero(labels), np.uint8), labels[labels > 0])
    accept(ws, draft, draft.labels, frame(number))
    return case


@pytest.fixture
def larynx(ws: Workspace) -> Workspace:
    add_task(ws, make_custom_task("larynx", ["vocal_folds", "glottis"], kind="endoscopy"))
    return ws


def hear_all(ws: Workspace, run: Run) -> list[Event]:
    events, _ = run_control.poll_run(ws, run)
    return events


def test_a_task_is_made_once_and_removed_only_while_nothing_uses_it(larynx: Workspace) -> None:
    with pytest.raises(MedSegError, match="there is a task 'larynx' already"):
        add_task(larynx, make_custom_task("larynx", ["other"]))
    add_task(larynx, make_custom_task("knee", ["bone"], kind="mr"))
    remove_task(larynx, "knee")
    assert "knee" not in larynx.tasks
    add_cases(larynx, [frame(1)], "larynx")
    with pytest.raises(MedSegError, match="is used by 1 cases"):
        remove_task(larynx, "larynx")
    with pytest.raises(MedSegError, match="built-in task"):
        remove_task(larynx, "lungs")


def test_a_project_takes_its_task_along_to_another_registry(larynx: Workspace, tmp_path: Path) -> None:
    draw_by_hand(larynx, 1)
    folder = larynx.project.folder
    larynx.close()
    with_nothing = ModelRegistry(tmp_path / "another", tmp_path / "bundled")
    moved = Workspace(Project.open(folder), with_nothing, Engine(), samples=tmp_path)
    try:
        assert [label.name for label in moved.tasks.get_task("larynx").labels] == ["vocal folds", "glottis"]
        paths = export_corrections(
            read_export_items(moved, list_accepted_rows(moved, "larynx")), tmp_path / "out", ".tif", False
        )
    finally:
        moved.close()
    entry = json.loads((tmp_path / "out" / "provenance.json").read_text())["cases"][0]
    assert entry["labels"] == {"1": "vocal folds", "2": "glottis"}
    assert [measured["voxels"] for measured in entry["measurements"]] == [28 * 20, 28 * 20]
    np.testing.assert_array_equal(formats.read_labels(paths[0]), phantom_labels())


def test_values_that_are_no_label_of_the_task_are_refused(larynx: Workspace) -> None:
    (case,) = add_cases(larynx, [frame(1)], "larynx")
    draft = open_review(larynx, case, None)
    draft.record([3], 0, 3)
    with pytest.raises(
        MedSegError, match=r"values 3 are no labels of Larynx, which has 1 \(vocal folds\), 2 \(glottis"
    ):
        accept(larynx, draft, draft.labels, frame(1))


def test_a_version_for_other_labels_of_the_same_name_is_refused(larynx: Workspace, tmp_path: Path) -> None:
    (case,) = add_cases(larynx, [frame(1)], "larynx")
    folder = larynx.registry.user_dir / "larynx-unet" / "1"
    card = read_card(write_version(folder) / "card.json")
    other = make_custom_task("larynx", ["glottis", "vocal folds"])
    changes = {"name": "larynx-unet", "task": "larynx", "own_task": other}
    write_card(card.model_copy(update=changes), folder / "card.json")
    with pytest.raises(MedSegError, match="larynx-unet@1 was made for other labels"):
        predict(larynx, case, frame(1), "larynx-unet@1")


def test_the_first_model_is_trained_from_nothing_but_accepted_cases(larynx: Workspace, train_here: TrainHere) -> None:
    with pytest.raises(MedSegError, match="no correction to learn from"):
        retrain.start_run(larynx, "larynx")
    for number in range(N_CASES):
        draw_by_hand(larynx, number)
    assert retrain.count_unlearnt_corrections(larynx, "larynx") == N_CASES - N_HELD_OUT
    run = train_here(lambda: retrain.start_run(larynx, "larynx", budget_s=None, changes=FIRST))
    assert run.base_model == ""
    assert isinstance(hear_all(larynx, run)[-1], Finished)
    folder = run_control.get_run_folder(larynx, run)
    assert json.loads((folder / "snapshot.json").read_text())["own_task"]["labels"][0]["name"] == "vocal folds"
    view = retrain.read_comparison(larynx, run)
    assert [row.compared.old for row in view.rows] == [0.0] * len(view.rows), "an empty answer finds nothing"
    assert len(view.rows) >= 3
    assert view.verdict.decision is Decision.BETTER, view.verdict.text
    assert larynx.registry.get_live_id("larynx") == ""
    card = retrain.promote(larynx, run)
    assert card.id == "larynx-unet@1" == larynx.registry.get_live_id("larynx")
    assert card.own_task == larynx.tasks.get_task("larynx")
    assert card.lineage.parent is None
    assert card.lineage.n_corrections == N_CASES - N_HELD_OUT
    assert "random weights" in " ".join(card.weaknesses), "the registry of this test has no version with 3 channels"
    assert larynx.project.get_record(Run, run.id).state is RunState.PROMOTED
    assert retrain.count_unlearnt_corrections(larynx, "larynx") == 0
    again = train_here(lambda: retrain.start_run(larynx, "larynx", budget_s=None, changes=ONE_EPOCH))
    assert again.base_model == "larynx-unet@1"
    assert isinstance(hear_all(larynx, again)[-1], Finished)
    kept = retrain.keep_old(larynx, again)
    assert (kept.lineage.parent, kept.own_task) == ("larynx-unet@1", card.own_task)
