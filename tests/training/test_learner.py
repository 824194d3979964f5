import copy

import torch
from torch import nn
from training_phantoms import small_card, small_recipe

from napari_medseg.networks import build_network
from training.learner import Learner

CPU = torch.device("cpu")
BATCH = (torch.rand(2, 1, 64, 64) * 2 - 1, torch.randint(0, 3, (2, 64, 64)))


def learner(**recipe: object) -> Learner:
    torch.manual_seed(0)
    return Learner.from_parent(build_network(small_card().architecture), small_recipe(**recipe), CPU)


def test_learning_lowers_the_loss_and_leaves_the_parent_alone() -> None:
    one = learner()
    before = copy.deepcopy(one.parent.state_dict())
    losses = [one.step(BATCH, step, 1.0) for step in range(12)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in one.parent.state_dict().items())


def test_frozen_normalisation_keeps_what_it_measured() -> None:
    one = learner(freeze_batch_norm=True)
    one.step(BATCH, 0, 1.0)
    old, new = one.parent.state_dict(), one.network.state_dict()
    statistics = [name for name in old if "running_" in name]
    assert statistics
    assert all(torch.equal(old[name], new[name]) for name in statistics)
    thawed = learner(freeze_batch_norm=False)
    thawed.step(BATCH, 0, 1.0)
    assert not all(torch.equal(old[name], thawed.network.state_dict()[name]) for name in statistics)


def test_a_rate_of_nothing_freezes_the_encoder() -> None:
    one = learner(encoder_rate_factor=0.0, freeze_batch_norm=True)
    one.step(BATCH, 0, 1.0)
    encoder = zip(one.parent.encoder.parameters(), one.network.encoder.parameters(), strict=True)
    decoder = zip(one.parent.decoder.parameters(), one.network.decoder.parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in encoder)
    assert not all(torch.equal(old, new) for old, new in decoder)


def test_the_candidate_lies_between_parent_and_child() -> None:
    one = learner(average_with_parent=0.25)
    for step in range(3):
        one.step(BATCH, step, 1.0)
    kept, old, new = one.make_candidate().state_dict(), one.parent.state_dict(), one.network.state_dict()
    for name in ("decoder.levels.2.3.weight", "head.bias"):
        torch.testing.assert_close(kept[name], 0.25 * old[name] + 0.75 * new[name])


def test_a_loss_that_is_no_number_changes_nothing() -> None:
    one = learner()
    before = copy.deepcopy([parameter.data for parameter in one.network.parameters()])
    assert one.step((torch.full_like(BATCH[0], torch.nan), BATCH[1]), 0, 1.0) is None
    assert all(torch.equal(old, new.data) for old, new in zip(before, one.network.parameters(), strict=True))


def test_the_average_follows_slowly() -> None:
    one = learner(ema_decay=0.99)
    for step in range(8):
        one.step(BATCH, step, 1.0)
    assert isinstance(one.average, nn.Module)
    name = "head.bias"
    moved = (one.network.state_dict()[name] - one.parent.state_dict()[name]).abs().sum()
    lag = (one.network.state_dict()[name] - one.average.state_dict()[name]).abs().sum()
    assert 0 < float(lag) < float(moved)


def test_distillation_keeps_the_answers_of_the_parent_on_what_is_replayed() -> None:
    replayed = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = torch.cat([replayed, replayed]), torch.ones(2, 64, 64, dtype=torch.long)

    def distance_after_learning(weight: float) -> float:
        one = learner(distillation=weight, freeze_batch_norm=True, learning_rate=1e-3)
        for step in range(25):
            one.step(batch, step, 1.0, n_replayed=1)
        with torch.no_grad():
            old, new = (torch.softmax(each.eval()(replayed), dim=1) for each in (one.parent, one.network))
        return float((old - new).abs().mean())

    assert distance_after_learning(10.0) < 0.7 * distance_after_learning(0.0)


def test_nothing_replayed_means_no_teacher() -> None:
    plain, taught = learner(), learner(distillation=5.0)
    assert plain.step(BATCH, 0, 1.0, n_replayed=0) == taught.step(BATCH, 0, 1.0, n_replayed=0)


def test_a_batch_in_parts_teaches_the_same_as_a_whole_one() -> None:
    """Up to batch normalisation, which is frozen here; the Dice of the loss pools over the whole batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 64, 64, generator=generator) * 2 - 1
    batch = images, torch.randint(0, 3, (6, 64, 64), generator=generator)
    whole = learner(freeze_batch_norm=True, distillation=0.5)
    parts = learner(freeze_batch_norm=True, distillation=0.5, accumulate=3)
    for step in range(3):
        said = whole.step(batch, step, 1.0, n_replayed=2), parts.step(batch, step, 1.0, n_replayed=2)
        assert abs(said[0] - said[1]) < 1e-4
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)


def test_the_batch_in_parts_is_measured_once() -> None:
    parts = learner(accumulate=2)
    parts.step(BATCH, 0, 1.0)
    counts = {int(buffer) for name, buffer in parts.network.named_buffers() if name.endswith("num_batches_tracked")}
    assert max(counts) == 2, "once for each part"


def test_a_long_gradient_is_shortened() -> None:
    free, tied = (
        learner(optimiser="sgd", learning_rate=1.0),
        learner(optimiser="sgd", learning_rate=1.0, max_gradient_norm=1e-3),
    )
    moved = []
    for one in (free, tied):
        one.step(BATCH, 0, 1.0)
        before = one.parent.parameters()
        changes = [(new - old).flatten() for old, new in zip(before, one.network.parameters(), strict=True)]
        moved.append(float(torch.cat(changes).norm()))
    assert moved[0] > 100 * moved[1]


def test_normalisation_does_not_measure_what_is_no_number() -> None:
    one = learner()
    assert one.step((torch.full_like(BATCH[0], torch.nan), BATCH[1]), 0, 1.0) is None
    assert all(torch.isfinite(buffer).all() for buffer in one.network.buffers())
