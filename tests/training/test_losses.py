import math

import pytest
import torch

from training.losses import LOSSES, cross_entropy, loss_named, soft_dice

TARGET = torch.tensor([[[0, 1], [2, 1]]])
CERTAIN = 20.0 * torch.nn.functional.one_hot(TARGET, 3).movedim(-1, 1).float()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_certain_and_right_answer_costs_nothing_and_a_wrong_one_costs_more(name: str) -> None:
    loss = loss_named(name)
    assert float(loss(CERTAIN, TARGET)) < 1e-4
    assert float(loss(-CERTAIN, TARGET)) > 0.5


def test_values_that_can_be_worked_out_by_hand() -> None:
    undecided = torch.zeros(1, 3, 2, 2)
    assert float(cross_entropy(undecided, TARGET)) == pytest.approx(math.log(3))
    first = (2 * 2 / 3 + 1) / (4 / 3 + 2 + 1)
    second = (2 * 1 / 3 + 1) / (4 / 3 + 1 + 1)
    assert float(soft_dice(undecided, TARGET)) == pytest.approx(1 - (first + second) / 2)


def test_false_pixels_on_an_empty_slice_cost() -> None:
    empty = torch.zeros(1, 64, 64, dtype=torch.int64)
    background, lung = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    background[:, 0] = lung[:, 1] = 20.0
    assert float(soft_dice(background, empty)) < 1e-3
    assert float(soft_dice(lung, empty)) > 0.45


def test_an_unknown_loss_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="cross_entropy_dice"):
        loss_named("hinge")
