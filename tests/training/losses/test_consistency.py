"""Consistency of two views: where the teacher is certain, the network learns what it says of the other view."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from training_phantoms import SIDE, phantom, small_card, small_recipe

from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.networks import build_network
from training.data.unlabelled import TwoViews
from training.learner import Learner
from training.losses.consistency import compute_ramp, consistency_loss, make_lesson, make_pseudo_labels

CPU = torch.device("cpu")
BATCH = (torch.rand(2, 1, SIDE, SIDE) * 2 - 1, torch.randint(0, 3, (2, SIDE, SIDE)))


def make_views(n_images: int = 4) -> TwoViews:
    grey = torch.stack(
        [torch.from_numpy(phantom(100 + number)[0])[None].float() / 127.5 - 1 for number in range(n_images)]
    )
    noise = torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    return TwoViews(grey, 0.6 * grey + 0.2 + 0.3 * noise)


def make_learner(n_classes: int = 3, **recipe: object) -> Learner:
    torch.manual_seed(0)
    architecture = small_card().architecture.model_copy(update={"classes": n_classes})
    settings = {"ramp": 0.0, "threshold": 0.4} | recipe.pop("unlabelled", {})  # type: ignore[operator]
    return Learner.from_parent(
        build_network(architecture), small_recipe(ema_decay=0.9, unlabelled=settings, **recipe), CPU
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_teacher_labels_only_pixels_of_which_it_is_certain(n_classes: int) -> None:
    logits = torch.zeros(1, n_classes, 1, 3)
    logits[0, 1, 0, 0], logits[0, 0, 0, 2] = 9.0, 9.0
    assert make_pseudo_labels(logits, 0.95).tolist() == [[[1, IGNORE_INDEX, 0]]]
    assert make_pseudo_labels(logits, 0.1)[0, 0, [0, 2]].tolist() == [1, 0]


def test_uncertain_pixels_have_no_gradient_and_lower_the_mean() -> None:
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    loss = consistency_loss(logits, torch.tensor([[[1, IGNORE_INDEX]]]))
    loss.backward()
    assert float(loss) == pytest.approx(float(torch.tensor(2.0).log()) / 2)
    assert logits.grad is not None
    assert (logits.grad[..., 1] == 0).all()
    assert (logits.grad[..., 0] != 0).all()
    assert float(consistency_loss(logits, torch.full((1, 1, 2), IGNORE_INDEX))) == 0.0


def test_the_weight_rises_and_then_stays() -> None:
    weights = [compute_ramp(progress, 0.4) for progress in (0.0, 0.1, 0.3, 0.4, 1.0)]
    assert weights == sorted(weights)
    assert weights[0] < 0.01
    assert weights[-2:] == [1.0, 1.0]
    assert compute_ramp(0.0, 0.0) == 1.0


def test_cutmix_mixes_the_labels_with_the_strong_views() -> None:
    views = TwoViews(*[torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 32, 32).clone()] * 2)

    class Teacher(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(9.0))

        def forward(self, images: Tensor) -> Tensor:
            return self.scale * torch.nn.functional.one_hot(images[:, 0].long(), 4).movedim(-1, 1)

    recipe = small_recipe(unlabelled={"cutmix_share": 1.0})
    lesson = make_lesson(Teacher(), views, recipe, step=3, n_parts=2)
    assert torch.equal(lesson.images[:, 0].long(), lesson.labels)
    assert any(len(one.unique()) > 1 for one in lesson.labels)
    assert torch.equal(lesson.labels, make_lesson(Teacher(), views, recipe, step=3, n_parts=1).labels)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_unlabelled_views_enter_the_loss_and_the_weights(n_classes: int) -> None:
    batch = BATCH[0], BATCH[1].clamp(max=n_classes - 1)
    plain, taught = make_learner(n_classes), make_learner(n_classes)
    losses = plain.step(batch, 0, 1.0), taught.step(batch, 0, 1.0, views=make_views())
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[1] > losses[0]
    pairs = zip(plain.network.parameters(), taught.network.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_a_low_ramp_hardly_changes_the_loss() -> None:
    one = make_learner(freeze_batch_norm=True, unlabelled={"ramp": 1.0, "weight": 1e-3})
    other = make_learner(freeze_batch_norm=True)
    assert one.step(BATCH, 0, 1.0, views=make_views()) == pytest.approx(other.step(BATCH, 0, 1.0), abs=1e-3)


def test_a_step_in_parts_teaches_the_same_as_a_whole_one() -> None:
    whole, parts = make_learner(freeze_batch_norm=True), make_learner(freeze_batch_norm=True, accumulate=2)
    for step in range(2):
        said = [one.step(BATCH, step, 1.0, views=make_views()) for one in (whole, parts)]
        assert said[0] == pytest.approx(said[1], abs=1e-4)


def test_the_teacher_does_not_learn_from_the_gradient() -> None:
    one = make_learner()
    assert one.average is not None
    before = copy.deepcopy(one.average.state_dict())
    lesson = make_lesson(one.average, make_views(), one.recipe, 0, 1)
    assert not lesson.images.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in one.average.state_dict().items())
    assert replace(lesson, settings=lesson.settings).labels.shape == (4, SIDE, SIDE)
