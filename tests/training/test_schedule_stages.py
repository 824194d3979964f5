"""Stages in a recipe: what they may change, whose epochs are whose, and a run through several of them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import load
from training_phantoms import small_recipe

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from training.__main__ import main, run
from training.checkpoint import read_progress
from training.recipe import read_recipe, write_recipe
from training.run_folder import BEST_FILE, EpochEnded, Finished, Notice, append_event, read_events
from training.run_setup import read_setup
from training.schedule import make_stages

MakeRun = Callable[..., Path]
TWO = (
    {"n_epochs": 2, "augmentation": "ct"},
    {"n_epochs": 3, "loss": "dice", "learning_rate": 1e-3, "steps_per_epoch": 2},
)


def test_each_stage_has_its_own_epochs_steps_and_share_of_the_run() -> None:
    first, second = make_stages(small_recipe(steps_per_epoch=4, stages=TWO))
    assert (first.first_epoch, second.first_epoch, second.compute_total_epochs(2), second.compute_total_epochs(1)) == (
        0,
        2,
        5,
        4,
    )
    assert (second.first_step, second.n_steps, second.compute_end_step(2)) == (8, 14, 12)
    assert (first.recipe.loss.terms, second.recipe.loss.terms) == ("cross_entropy_dice", "dice")
    assert (first.recipe.augmentation.preset, second.recipe.augmentation.preset) == ("ct", "gentle")
    assert first.compute_progress(4 / 14) == pytest.approx(0.5)
    assert second.compute_progress(8 / 14) == 0
    assert first.compute_progress(10 / 14) == second.compute_progress(1.0) == 1


def test_a_recipe_without_stages_is_one_stage() -> None:
    recipe = small_recipe()
    (only,) = make_stages(recipe)
    assert only.recipe == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [{"n_epochs": 2, "seed": 3}]}, "hold for the whole run"),
        ({"stages": [{"rate": 3}]}, "rate"),
        ({"stages": [{"n_epochs": 0}]}, "n_epochs"),
        ({"keep": "cycles"}, "needs cycles"),
        ({"keep": "cycles", "stages": [{"n_epochs": 2}]}, "needs cycles"),
        ({"n_cycles": 99}, "more cycles than steps"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        small_recipe(**changes)


def test_stages_survive_the_file(tmp_path: Path) -> None:
    recipe = small_recipe(stages=TWO, keep="cycle_ensemble", n_cycles=2)
    write_recipe(recipe, tmp_path / "recipe.json")
    assert read_recipe(tmp_path / "recipe.json") == recipe
    assert recipe.n_members == 4


def test_a_run_goes_through_its_stages_and_each_begins_with_the_best(make_run: MakeRun) -> None:
    run_dir = make_run(stages=TWO, patience=3)
    weights = None
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded) and event.epoch == 2:
            best = load((run_dir / BEST_FILE).read_bytes())
        if isinstance(event, Notice) and "stage 2" in event.text:
            weights = load((run_dir / "checkpoint.safetensors").read_bytes())
    assert weights is not None
    assert all((weights[f"network.{name}"] == tensor).all() for name, tensor in best.items())
    events = [event for event, _ in read_events(run_dir)]
    epochs = [(event.epoch, event.stage, event.n_epochs) for event in events if isinstance(event, EpochEnded)]
    assert epochs[:3] == [(1, 0, 5), (2, 0, 5), (3, 1, 5)]
    rates = {event.stage: event.rate for event in events if isinstance(event, EpochEnded)}
    assert rates[1] < 1.1e-3 < 5e-3
    assert any("loss dice" in event.text for event in events if isinstance(event, Notice))
    assert isinstance(events[-1], Finished)


def test_a_run_killed_in_any_stage_goes_on_to_the_same_result(make_run: MakeRun) -> None:
    recipe = {"stages": TWO, "ema_decay": 0.5, "stage_start": "last"}
    whole = make_run("whole", **recipe)
    assert main([str(whole)]) == 0
    for stop_at, stage in ((1, 0), (3, 1), (4, 1)):
        killed = make_run(f"killed {stop_at}", **recipe)
        for event in run(killed, time.monotonic()):
            append_event(killed, event)
            if isinstance(event, EpochEnded) and event.epoch == stop_at:
                break
        assert read_progress(killed).stage == stage
        assert main([str(killed)]) == 0
        assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(killed / "model.safetensors")


def test_patience_ends_a_stage_and_not_the_run(make_run: MakeRun) -> None:
    stages = (
        {"n_epochs": 6, "learning_rate": 1e-12, "freeze_batch_norm": True, "patience": 2},
        {"n_epochs": 2, "patience": 5},
    )
    run_dir = make_run(stages=stages)
    assert main([str(run_dir)]) == 0
    epochs = [event for event, _ in read_events(run_dir) if isinstance(event, EpochEnded)]
    stages = [event.stage for event in epochs]
    assert 2 <= stages.count(0) < 6
    assert stages.count(1) == 2
    assert [event.epoch for event in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].n_epochs == epochs[-1].epoch


def test_a_stage_draws_other_patches_than_the_one_before(make_run: MakeRun) -> None:
    setup = read_setup(make_run(stages=({"patch_px": 96}, {"batch_size": 2, "accumulate": 3})), time.monotonic())
    assert setup.make_stage_setup(0).batches.make_batch(0)[0].shape == (4, 1, 96, 96)
    assert setup.make_stage_setup(1).batches.make_batch(0)[0].shape == (6, 1, 64, 64)


def test_a_stage_has_its_own_loss_mixing_windows_and_class_weights(make_run: MakeRun) -> None:
    """As the lungs of system A: CutMix first, then a boundary loss whose weights are learnt, at a lower rate."""
    second = {
        "loss": [{"name": "cross_entropy", "trainable": True}, {"name": "boundary", "trainable": True}],
        "class_weights": "inverse_frequency",
        "augmentation": "mirror",
        "augmentation_strength": 0.5,
        "sampling": "windows",
        "learning_rate": 1e-3,
    }
    run_dir = make_run(loss="dice", augmentation="cutmix", stages=[{"n_epochs": 1}, {"n_epochs": 2, **second}])
    setup = read_setup(run_dir, time.monotonic())
    later = setup.make_stage_setup(1)
    assert (setup.learner.mixer.settings.cutmix_share, later.learner.mixer.settings.cutmix_share) == (0.5, 0.0)
    assert (len(setup.batches.windows), len(later.batches.windows)) == (0, 4)
    assert later.batches.augmenter.settings.mirror_share == 0.25
    assert [len(list(each.learner.loss.parameters())) for each in (setup, later)] == [0, 1]
    assert main([str(run_dir)]) == 0
    assert isinstance([event for event, _ in read_events(run_dir)][-1], Finished)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"loss": "hinge"}, "unknown loss"),
        ({"augmentation": "wild"}, "unknown augmentation"),
        ({"loss": "dice", "class_weights": "inverse_frequency"}, "averages over pixels"),
    ],
)
def test_names_of_later_stages_are_checked_at_the_beginning(
    make_run: MakeRun, stage: dict[str, object], words: str
) -> None:
    run_dir = make_run(stages=[{"n_epochs": 2}, stage])
    with pytest.raises(MedSegError, match=words):
        read_setup(run_dir, time.monotonic())


def test_a_budget_is_shared_out_between_the_stages(make_run: MakeRun) -> None:
    stages = ({"loss": "dice"}, {"learning_rate": 1e-3})
    run_dir = make_run(n_epochs=5000, steps_per_epoch=2, patience=5000, budget_s=9.0, stages=stages)
    events = list(run(run_dir, time.monotonic()))
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    assert {event.stage for event in epochs} == {0, 1}
    assert [event.epoch for event in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].rate < 5e-4, "each stage ends with a small rate"
