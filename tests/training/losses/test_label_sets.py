import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.label_sets import encode_label_set, get_certain_code, mark_certain
from training.losses.label_sets import CERTAIN_WEIGHT, make_overlap_maps, pixelwise_cross_entropy, resolve_sets
from training.losses.losses import LOSSES, get_loss

LESION = encode_label_set([1, 2])


def make_logits(*probabilities: list[float]) -> Tensor:
    """Logits (1, classes, 1, pixels)."""
    return torch.tensor(probabilities).log().T[None, :, None]


def test_the_loss_of_a_set_is_that_of_the_summed_probability() -> None:
    logits = make_logits([0.2, 0.3, 0.5], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1])
    target = torch.tensor([[[LESION, 0, IGNORE_INDEX]]])
    expected = -torch.tensor([0.8, 0.7, 1.0]).log()
    torch.testing.assert_close(pixelwise_cross_entropy(logits, target)[0, 0], expected)


def test_a_set_does_not_teach_which_of_its_classes_it_is() -> None:
    logits = make_logits([0.2, 0.4, 0.4]).requires_grad_()
    pixelwise_cross_entropy(logits, torch.tensor([[[LESION]]])).sum().backward()
    background, first, second = logits.grad.flatten().tolist()
    assert first == pytest.approx(second)
    assert first < 0 < background


def test_the_overlap_of_a_set_is_that_of_the_union_and_hides_its_classes() -> None:
    logits = make_logits([0.2, 0.3, 0.5], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1])
    likely, true = make_overlap_maps(logits, torch.tensor([[[LESION, 0, 1]]]))
    torch.testing.assert_close(likely[0, :, 0], torch.tensor([[0.0, 0.2, 0.8], [0.0, 0.1, 0.1], [0.8, 0.3, 0.9]]))
    assert true[0, :, 0].tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 1]]


def test_a_target_without_sets_has_the_usual_loss() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    torch.testing.assert_close(
        pixelwise_cross_entropy(logits, target), functional.cross_entropy(logits, target, reduction="none")
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_decreases_when_a_set_is_found_and_needs_no_class_for_it(name: str) -> None:
    target = torch.zeros(1, 24, 24, dtype=torch.long)
    target[:, 6:18, 6:18] = LESION
    found = functional.one_hot(torch.where(target > 0, 1, 0), 3).movedim(-1, 1) * 8.0
    missed = functional.one_hot(torch.zeros_like(target), 3).movedim(-1, 1) * 8.0
    missed[:, 1:, 6:18, 6:18] += torch.tensor([1.0, 0.0])[:, None, None]
    weights = torch.tensor([0.5, 1.0, 2.0])
    loss = get_loss(name, weights if name in ("cross_entropy", "focal", "cross_entropy_dice", "focal_dice") else None)
    good, bad = loss(found, target), loss(missed.requires_grad_(), target)
    bad.backward()
    assert torch.isfinite(good)
    assert torch.isfinite(missed.grad).all()
    assert float(good) < float(bad) or name in ("boundary", "hausdorff", "log_hausdorff"), (float(good), float(bad))


def test_a_loss_of_one_class_takes_the_most_probable_class_of_a_set() -> None:
    logits = make_logits([0.6, 0.1, 0.3], [0.2, 0.7, 0.1])
    assert resolve_sets(logits, torch.tensor([[[LESION, 0]]])).tolist() == [[[2, 0]]]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_pixels_that_a_person_set_have_their_class_in_every_loss(name: str) -> None:
    torch.manual_seed(0)
    logits, classes = torch.randn(2, 3, 16, 16), torch.randint(0, 3, (2, 16, 16))
    everywhere = torch.from_numpy(mark_certain(classes.numpy(), np.ones(classes.shape, np.bool_), 3)).long()
    plain, marked = get_loss(name)(logits, classes), get_loss(name)(logits, everywhere)
    assert float(marked) == pytest.approx(float(plain), rel=0.01)  # a mean of equal weights is the same mean


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_mistake_in_pixels_that_a_person_set_costs_more(name: str) -> None:
    classes = torch.zeros(1, 24, 24, dtype=torch.long)
    classes[:, 6:18, 6:18] = 1
    wrong_above = torch.where(torch.arange(24)[:, None] < 12, 0, classes)  # misses the upper half of the square
    logits = functional.one_hot(wrong_above, 3).movedim(-1, 1) * 4.0
    upper = (torch.arange(24)[:, None] < 12).expand(1, 24, 24)
    marked = [torch.from_numpy(mark_certain(classes.numpy(), part.numpy(), 3)).long() for part in (upper, ~upper)]
    of_wrong, of_right = (float(get_loss(name)(logits, target)) for target in marked)
    assert of_wrong > float(get_loss(name)(logits, classes)) > of_right


def test_the_weighted_dice_is_that_of_an_image_where_certain_pixels_are_repeated() -> None:
    torch.manual_seed(0)
    logits, classes = torch.randn(1, 3, 1, 40), torch.randint(0, 3, (1, 1, 40))
    certain = torch.arange(40).reshape(1, 1, 40) < 10
    marked = torch.from_numpy(mark_certain(classes.numpy(), certain.numpy(), 3)).long()
    times = torch.where(torch.arange(40) < 10, int(CERTAIN_WEIGHT), 1)
    repeated = logits.repeat_interleave(times, dim=3), classes.repeat_interleave(times, dim=2)
    for name in ("dice", "jaccard", "tversky", "cross_entropy"):
        assert float(get_loss(name)(logits, marked)) == pytest.approx(float(get_loss(name)(*repeated)), rel=1e-5)


def test_a_pixel_that_a_person_set_counts_more() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1, 0, 0] = logits[0, 2, 0, 1] = 4.0  # right for the first pixel, wrong for the second
    target = torch.ones(1, 1, 2, dtype=torch.long)
    told = target.clone()
    told[0, 0, 1] = get_certain_code(1)
    cost = pixelwise_cross_entropy(logits, target)[0, 0]
    loss = get_loss("cross_entropy")
    assert float(loss(logits, target)) == pytest.approx(float(cost.mean()), rel=1e-5)
    weighted = float(cost[0] + CERTAIN_WEIGHT * cost[1]) / (1 + CERTAIN_WEIGHT)
    assert float(loss(logits, told)) == pytest.approx(weighted, rel=1e-5)
    torch.testing.assert_close(make_overlap_maps(logits, told), make_overlap_maps(logits, target))
