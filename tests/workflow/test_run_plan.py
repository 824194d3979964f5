"""What a run of a project begins with: the live version, another one, or a network that is new."""

from pathlib import Path

import pytest
from workflow_phantoms import accepted, write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import PostprocessingStep
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.workflow.run_plan import RunPlan, RunRequest, plan_run
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides
from training.recipe import update_recipe


def begun(ws: Workspace, base: str = "", budget_s: float | None = 60.0, **changes: object) -> RunPlan:
    return plan_run(ws, get_task("lungs"), RunRequest(budget_s, 3, base, RecipeOverrides.model_validate(changes)))


@pytest.fixture
def two(ws: Workspace) -> Workspace:
    """Version 1 is bundled, version 2 is live."""
    write_version(ws.registry.user_dir / "lungs-unet" / "2", version=2, parent="lungs-unet@1")
    ws.registry.promote("lungs-unet@2")
    return ws


def test_without_wishes_the_live_version_is_fine_tuned(two: Workspace) -> None:
    usual = begun(two)
    assert (usual.base, usual.baseline, usual.start) == (two.registry.get_live_card("lungs"),) * 2 + (None,)
    assert usual.recipe.run.base == str(two.registry.get_folder("lungs-unet@2"))
    assert (usual.recipe.run.compare_with, usual.recipe.run.version, usual.recipe.run.seed) == ("", 3, 3)
    assert usual.uses_replay


def test_a_recipe_changes_what_it_names_and_nothing_else(two: Workspace) -> None:
    usual = begun(two).recipe
    changed = begun(two, recipe={"loss": "focal_dice", "n_epochs": 7, "batch_size": 2})
    assert changed.start is None
    assert changed.recipe == update_recipe(usual, {"loss": "focal_dice", "n_epochs": 7, "batch_size": 2})
    same = begun(two, architecture={"name": "Unet"}, preprocessing={"max_side_px": 512, "mean": 0.5})
    assert same.start is None, "what the live version has already is no change"
    with pytest.raises(MedSegError, match="learning: Extra inputs"):
        begun(two, recipe={"learning": 1})
    with pytest.raises(MedSegError, match=r"changes base, version, which the project decides.*--from"):
        begun(two, recipe={"version": 9, "base": "elsewhere"})


def test_a_run_from_another_version_has_to_beat_the_live_one(two: Workspace) -> None:
    older = begun(two, "lungs-unet@1")
    assert older.base is not None
    assert older.base.id == "lungs-unet@1"
    assert older.recipe.run.base == str(two.registry.keep_copy("lungs-unet@1"))
    assert older.recipe.run.compare_with == str(two.registry.get_folder("lungs-unet@2"))
    assert older.baseline == two.registry.get_live_card("lungs")
    assert begun(two, "lungs-unet@2").recipe.run.compare_with == ""
    with pytest.raises(MedSegError, match=r"no version 'lungs-unet@9' .*\['lungs-unet@1', 'lungs-unet@2'\]"):
        begun(two, "lungs-unet@9")


def test_another_network_begins_anew_and_has_to_beat_the_live_one(two: Workspace, tmp_path: Path) -> None:
    new = begun(two, architecture={"name": "segnet", "encoder": ""}, preprocessing={"max_side_px": 384})
    assert new.start is not None
    card = new.start.card
    assert (card.architecture.name, card.architecture.classes, card.architecture.options) == ("segnet", 3, {})
    assert (card.preprocessing.max_side_px, card.preprocessing.min_side_px) == (384, 256)
    assert (card.name, new.recipe.run.version, new.recipe.run.base) == ("lungs-unet", 3, "start")
    assert new.recipe.run.compare_with == str(two.registry.get_folder("lungs-unet@2"))
    assert (new.start.weights_from, new.uses_replay) == ("", False)
    assert (card.lineage.began_with, card.weaknesses) == ("", []), "the run tries published weights"
    random = begun(two, architecture={"name": "segnet"}, weights="none").start
    assert random is not None
    assert random.encoder_weights == "none"
    assert random.card.architecture.encoder == "", "SegNet takes no MobileNet, which the live version has"
    unetpp = begun(two, architecture={"name": "unetplusplus", "encoder": "resnet18"}, weights="none").start
    assert unetpp is not None
    assert unetpp.card.architecture.encoder == "resnet18"
    assert begun(two, architecture={"name": "segnet"}, recipe={"replay_share": 0.25}).uses_replay
    weights = tmp_path / "encoder.safetensors"
    with pytest.raises(MedSegError, match="no file of encoder weights"):
        begun(two, weights=str(weights))
    weights.touch()
    encoded = begun(two, weights=str(weights)).start
    assert encoded is not None
    assert (encoded.encoder_weights, encoded.weights_from) == (str(weights), "")
    assert encoded.card.architecture == two.registry.get_live_card("lungs").architecture


def test_other_steps_before_or_behind_keep_the_weights_of_the_version_to_start_from(two: Workspace) -> None:
    for changes in (
        {"preprocessing": {"steps": ["clahe"]}},
        {"postprocessing": [PostprocessingStep(name="fill_holes")]},
    ):
        start = begun(two, "lungs-unet@1", **changes).start
        assert start is not None
        assert start.weights_from == str(two.registry.get_folder("lungs-unet@1"))
        assert start.card.lineage.began_with == "lungs-unet@1"


def test_the_version_that_learns_decides_what_is_replayed(two: Workspace) -> None:
    accepted(two, 0)
    snapshot, _ = build_snapshot(two, "lungs", two.registry.get_card("lungs-unet@1"))
    assert snapshot.filter_by_role(Role.REPLAY)
