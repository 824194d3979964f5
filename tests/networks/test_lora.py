import copy

import torch
from torch import nn
from training_phantoms import small_card, small_recipe

from napari_medseg.networks import build_network
from napari_medseg.networks.lora import apply_lora, merge_lora
from training.learner import Learner

CPU = torch.device("cpu")
GENERATOR = torch.Generator().manual_seed(0)
BATCH = (torch.rand(2, 1, 64, 64, generator=GENERATOR) * 2 - 1, torch.randint(0, 3, (2, 64, 64), generator=GENERATOR))


def parent() -> nn.Module:
    torch.manual_seed(0)
    return build_network(small_card().architecture)


def test_it_begins_as_it_was_and_has_few_numbers_to_learn() -> None:
    network, before = parent().eval(), parent().eval()
    apply_lora(network, 2, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(network(BATCH[0]), before(BATCH[0]))
    learning = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert learning < 0.5 * sum(each.numel() for each in before.parameters())
    assert merge_lora(network).keys() == before.state_dict().keys()


def test_kernels_change_by_the_rank_and_no_more() -> None:
    one = Learner.from_parent(parent(), small_recipe(low_rank=2, ema_decay=0.5), CPU)
    for step in range(6):
        assert one.step(BATCH, step, 1.0) is not None
    old, new = one.parent.state_dict(), one.make_candidate().state_dict()
    assert old.keys() == new.keys()
    ranks = [
        int(torch.linalg.matrix_rank((new[name] - old[name]).flatten(1), tol=1e-5))
        for name in old
        if old[name].ndim == 4
    ]
    assert max(ranks) <= 4, "the mean of two products of rank 2 at most"
    assert any(ranks)
    last = merge_lora(one.network)
    name = "decoder.levels.2.3.weight"
    assert torch.linalg.matrix_rank((last[name] - old[name]).flatten(1), tol=1e-6) == 2


def test_what_is_merged_says_the_same() -> None:
    one = Learner.from_parent(parent(), small_recipe(low_rank=3), CPU)
    for step in range(4):
        one.step(BATCH, step, 1.0)
    with torch.no_grad():
        torch.testing.assert_close(
            copy.deepcopy(one.network).eval()(BATCH[0]), one.make_candidate()(BATCH[0]), atol=1e-4, rtol=1e-4
        )


def test_going_on_from_other_weights_keeps_the_rank() -> None:
    one = Learner.from_parent(parent(), small_recipe(low_rank=2), CPU)
    one.step(BATCH, 0, 1.0)
    weights = one.make_candidate().state_dict()
    one.restart_from(weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in one.make_candidate().state_dict().items())
    assert one.step(BATCH, 1, 1.0) is not None
