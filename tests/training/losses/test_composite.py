import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from training_phantoms import small_card, small_recipe

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.networks import build_network
from training.__main__ import main, run
from training.data.class_sampling import compute_inverse_frequency_weights
from training.learner import Learner
from training.losses.composite import CompositeLoss, Targets, build_loss
from training.losses.losses import cross_entropy, soft_dice_loss
from training.losses.terms import LossTerm
from training.recipe import read_recipe
from training.run_folder import EpochEnded, append_event


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (2, 16, 16), generator=generator)
    return torch.randn(2, 3, 16, 16, generator=generator), target


def test_a_name_alone_is_that_loss_and_a_list_is_a_weighted_sum(tmp_path: Path) -> None:
    logits, target = batch()
    alone = build_loss(small_recipe(loss="dice"))
    torch.testing.assert_close(alone(logits, target), soft_dice_loss(logits, target))
    terms = [{"name": "dice", "weight": 2.0}, {"name": "cross_entropy", "weight": 0.5}]
    recipe = small_recipe(loss=terms)
    expected = 2.0 * soft_dice_loss(logits, target) + 0.5 * cross_entropy(logits, target)
    torch.testing.assert_close(build_loss(recipe)(logits, target), expected)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    assert read_recipe(tmp_path / "recipe.json") == recipe
    assert not list(alone.parameters())
    assert not alone.state_dict()


def test_a_scheduled_weight_follows_the_run() -> None:
    logits, target = batch()
    terms = [LossTerm(name="dice", schedule="falling"), LossTerm(name="cross_entropy", weight=4.0, schedule="rising")]
    objective = CompositeLoss(terms)
    torch.testing.assert_close(objective(logits, target, 0.0), soft_dice_loss(logits, target))
    torch.testing.assert_close(objective(logits, target, 1.0), 4.0 * cross_entropy(logits, target))
    assert objective.get_weights(0.25) == [0.75, 1.0]


def test_trainable_weights_learn_to_be_half_the_inverse_of_their_loss() -> None:
    logits, target = batch()
    objective = CompositeLoss([LossTerm(name="dice", weight=2.0, trainable=True), LossTerm(name="cross_entropy")])
    assert objective.get_weights(0.0) == pytest.approx([2.0, 1.0])
    dice, entropy = float(soft_dice_loss(logits, target)), float(cross_entropy(logits, target))
    assert float(objective(logits, target)) == pytest.approx(2.0 * dice + entropy - 0.5 * math.log(2.0))
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        objective(logits, target).backward()
        optimiser.step()
    assert objective.get_weights(0.0)[0] == pytest.approx(1 / (2 * dice), rel=1e-3)


def test_a_mixture_costs_the_mixture_of_both_losses_and_is_soft_labels_to_cross_entropy() -> None:
    logits, target = batch()
    other = batch(1)[1]
    objective = build_loss(small_recipe(loss="cross_entropy"))
    soft = 0.7 * torch.nn.functional.one_hot(target, 3) + 0.3 * torch.nn.functional.one_hot(other, 3)
    expected = torch.nn.functional.cross_entropy(logits, soft.movedim(-1, 1))
    torch.testing.assert_close(objective(logits, Targets(target, other, 0.7)), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "dice", "weight": -1.0},
        {"name": "dice", "trainable": True, "schedule": "rising"},
        {"name": "dice", "schedule": "up"},
        {"name": "dice", "wait": 1.0},
    ],
)
def test_terms_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LossTerm.model_validate(wrong)


def test_an_empty_sum_and_weights_without_use_are_refused() -> None:
    with pytest.raises(ValidationError):
        small_recipe(loss=[])
    with pytest.raises(MedSegError, match="averages over pixels"):
        build_loss(small_recipe(loss="dice"), torch.ones(3))
    with pytest.raises(MedSegError, match="unknown loss"):
        build_loss(small_recipe(loss="hinge"))


def test_weights_are_inverse_frequencies_of_what_counts() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :8], labels[9] = 1, IGNORE_INDEX  # 82 of background, 8 of class 1, 10 that nobody looked at
    weights = compute_inverse_frequency_weights([[labels]], [1.0], 3)
    torch.testing.assert_close(weights, torch.tensor([90 / (2 * 82), 90 / (2 * 8), 1.0]))
    both = compute_inverse_frequency_weights([[labels], [np.ones((4, 4), np.uint8)]], [1.0, 3.0], 2)
    shares = np.array([82 / 90, 8 / 90 + 3]) / 4
    torch.testing.assert_close(both, torch.tensor(1 / (2 * shares), dtype=torch.float32))


def test_a_run_with_trainable_weights_goes_on_to_the_same_result(make_run: Callable[..., Path]) -> None:
    loss = [{"name": "dice", "trainable": True}, {"name": "focal", "schedule": "rising"}]
    settings = {"loss": loss, "class_weights": "inverse_frequency", "augmentation": "mixup", "foreground_share": 0.5}
    whole, halved = make_run("whole", n_epochs=4, **settings), make_run("halved", n_epochs=4, **settings)
    assert main([str(whole)]) == 0
    _run_until(halved, epoch=2)
    assert main([str(halved)]) == 0
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(halved / "model.safetensors")


def _run_until(run_dir: Path, epoch: int) -> None:
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded) and event.epoch == epoch:
            break


def test_a_learner_learns_its_weights_with_the_network() -> None:
    torch.manual_seed(0)
    recipe = small_recipe(loss=[{"name": "dice", "trainable": True}, {"name": "cross_entropy", "trainable": True}])
    learner = Learner.from_parent(build_network(small_card().architecture), recipe, torch.device("cpu"))
    images, labels = torch.rand(2, 1, 64, 64), torch.randint(0, 3, (2, 64, 64))
    for step in range(4):
        assert learner.step((images, labels), step, 1.0) is not None
    weights = learner.loss.get_weights(0.0)
    assert all(abs(weight - 1.0) > 0.01 for weight in weights)
    decays = [group["weight_decay"] for group in learner.optimiser.param_groups if group["params"][0].ndim == 1]
    assert decays[-1] == 0.0, "nothing calls the weights back to 1"


def test_a_large_loss_with_a_trainable_weight_leaves_the_network_its_step() -> None:
    images, labels = torch.rand(2, 1, 64, 64), torch.randint(0, 3, (2, 64, 64))
    steps = []
    for trainable in (False, True):
        torch.manual_seed(0)
        loss = [{"name": "dice"}, {"name": "cross_entropy", "weight": 200.0, "trainable": trainable}]
        recipe = small_recipe(loss=loss, optimiser="sgd", max_gradient_norm=1.0)
        learner = Learner.from_parent(build_network(small_card().architecture), recipe, torch.device("cpu"))
        assert learner.step((images, labels), 0, 1.0) is not None
        pairs = zip(learner.network.parameters(), learner.parent.parameters(), strict=True)
        steps.append(float(torch.cat([(new - old).detach().flatten() for new, old in pairs]).norm()))
    assert steps[0] == pytest.approx(steps[1], rel=1e-3) != 0
