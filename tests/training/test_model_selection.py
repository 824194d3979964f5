"""What becomes of the weights at the ends of cycles."""

import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_phantoms import item, small_card

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, read_card
from napari_medseg.core.snapshot import Role
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import load_version
from napari_medseg.networks.precision import choose_autocast_dtype
from training.__main__ import main, run
from training.checkpoint import load_cycles
from training.data.dataset import LabelledPlane
from training.model_selection import (
    AVERAGE,
    BEST_CYCLE,
    BEST_EPOCH,
    ENSEMBLE,
    Candidate,
    average_weights,
    choose_best_candidate,
    validate,
)
from training.run_folder import (
    CYCLE_PATTERN,
    PAUSE_FILE,
    Considered,
    EpochEnded,
    Finished,
    Notice,
    append_event,
    read_events,
)

MakeRun = Callable[..., Path]


def many_items(folder: Path) -> list:
    items = [item(folder, f"train{n}", Role.TRAIN, seed=n) for n in range(4)]
    items += [item(folder, f"check{n}", Role.VALIDATE, seed=60 + n) for n in range(4)]
    return [*items, *(item(folder, f"held{n}", Role.HOLD_OUT, seed=30 + n) for n in range(2))]


def considered(run_dir: Path) -> dict[str, Considered]:
    return {event.name: event for event, _ in read_events(run_dir) if isinstance(event, Considered)}


def test_the_ensemble_is_at_least_as_good_as_its_mean_member(make_run: MakeRun, tmp_path: Path) -> None:
    """Huang et al. (2017) on a seeded toy: three cycles, none of which is perfect."""
    from training.run_setup import read_setup

    run_dir = make_run(
        items=many_items(tmp_path), keep="cycle_ensemble", n_epochs=6, steps_per_epoch=5, n_cycles=3, learning_rate=1e-2
    )
    members = []
    for event in run(run_dir, 0.0):
        append_event(run_dir, event)
        if isinstance(event, Considered) and not members:
            setup = read_setup(run_dir, 0.0)
            network = setup.learner.parent
            for state in load_cycles(run_dir):
                network.load_state_dict(state)
                members.append(validate(network.eval(), setup.validation, "fp32"))
    assert len(members) == 3
    ways = considered(run_dir)
    assert set(ways) == {BEST_EPOCH, BEST_CYCLE, AVERAGE, ENSEMBLE}
    assert ways[ENSEMBLE].val_dice >= statistics.fmean(members)
    assert ways[BEST_CYCLE].val_dice == pytest.approx(max(members))
    assert ways[ENSEMBLE].chosen
    assert ways[ENSEMBLE].cost == 3


def test_an_ensemble_is_an_ordinary_version_and_says_its_cost(make_run: MakeRun) -> None:
    run_dir = make_run(keep="cycle_ensemble", n_epochs=4, n_cycles=2)
    assert main([str(run_dir)]) == 0
    card = read_card(run_dir / "card.json")
    assert card.architecture.name == "ensemble"
    assert card.architecture.options["n_members"] == 2
    assert any("2 times the time" in weakness for weakness in card.weaknesses)
    assert any("2 times the time" in event.text for event, _ in read_events(run_dir) if isinstance(event, Notice))
    assert not list(run_dir.glob(CYCLE_PATTERN))
    network, _ = load_version(run_dir)
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    pixels = (torch.rand(64, 64) * 255).byte().numpy()
    assert Predictor.load(run_dir, "cpu").predict_labels(Image(pixels, "YX", units="grey")).shape == (64, 64)
    again = make_run("again", base_folder=run_dir, n_epochs=1, encoder_rate_factor=0.5)
    assert main([str(again)]) == 0, "an ensemble can be fine-tuned as it is"
    assert read_card(again / "card.json").architecture == card.architecture


def test_the_recipe_may_ask_for_the_average(make_run: MakeRun) -> None:
    run_dir = make_run(keep="cycle_average", n_epochs=4, n_cycles=2)
    assert main([str(run_dir)]) == 0
    assert considered(run_dir)[AVERAGE].chosen
    assert read_card(run_dir / "card.json").architecture == small_card().architecture
    last = [event for event, _ in read_events(run_dir)][-1]
    assert isinstance(last, Finished)
    assert last.val_dice == pytest.approx(considered(run_dir)[AVERAGE].val_dice)


def test_the_best_way_wins_and_an_ensemble_must_be_worth_its_cost() -> None:
    def way(name: str, val_dice: float, cost: int = 1) -> Candidate:
        return Candidate(name, nn.Identity(), Architecture(name="unet", in_channels=1, classes=2), val_dice, cost)

    singles = [way(BEST_EPOCH, 0.80), way(BEST_CYCLE, 0.85), way(AVERAGE, 0.84)]
    assert choose_best_candidate([*singles, way(ENSEMBLE, 0.8505, 5)]).name == BEST_CYCLE
    assert choose_best_candidate([*singles, way(ENSEMBLE, 0.86, 5)]).name == ENSEMBLE


def test_the_average_is_that_of_the_weights() -> None:
    states = [{"kernel": torch.full((2,), value), "count": torch.tensor(3)} for value in (1.0, 4.0)]
    mean = average_weights(states)
    assert mean["kernel"].tolist() == [2.5, 2.5]
    assert mean["count"].item() == 3


def test_a_paused_run_keeps_its_cycles(make_run: MakeRun) -> None:
    recipe = {"keep": "cycles", "n_epochs": 4, "n_cycles": 2}
    whole, paused = make_run("whole", **recipe), make_run("paused", **recipe)
    assert main([str(whole)]) == 0
    for event in run(paused, 0.0):
        append_event(paused, event)
        if isinstance(event, EpochEnded) and event.epoch == 3:
            (paused / PAUSE_FILE).touch()
    assert list(paused.glob(CYCLE_PATTERN))
    assert main([str(paused)]) == 0
    assert (whole / "model.safetensors").read_bytes() == (paused / "model.safetensors").read_bytes()


def test_validation_computes_in_the_precision_of_prediction() -> None:
    """A CPU without bf16 instructions would emulate them, ten times as slowly."""
    seen: list[bool] = []

    class Probe(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(images)

    plane = LabelledPlane((np.zeros((1, 32, 32), np.float16),), np.zeros((32, 32), np.uint8))
    for precision in ("fp32", "bf16"):
        validate(Probe(1, 2, 1).eval(), [plane], precision)
    assert seen == [False, choose_autocast_dtype(torch.device("cpu"), "bf16") is not None]


def test_a_class_that_no_validation_plane_shows_does_not_count() -> None:
    class AlwaysTwo(nn.Module):
        """Predict class 2 in the left half, class 1 in the right half."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(images), 3, *images.shape[-2:])
            logits[:, 2, :, :8], logits[:, 1, :, 8:] = 1, 1
            return self.scale * logits

    labels = np.zeros((16, 16), np.uint8)
    labels[:, 8:] = 1
    plane = LabelledPlane((np.zeros((1, 16, 16), np.float16),), labels)
    assert validate(AlwaysTwo(), [plane], "fp32") == 1.0, "class 2 is in no plane"
    both = LabelledPlane(plane.views, np.where(labels == 1, 1, 2).astype(np.uint8))
    assert validate(AlwaysTwo(), [plane, both], "fp32") == pytest.approx(0.75)
    empty = LabelledPlane(plane.views, np.zeros_like(labels))
    assert validate(AlwaysTwo(), [empty], "fp32") == 0.0, "nothing occurs: all classes count"
