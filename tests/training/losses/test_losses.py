import math

import monai.losses
import numpy as np
import pytest
import torch
from torch import Tensor

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.losses.boundary import compute_gap_weights, compute_signed_distances
from training.losses.losses import (
    LOSSES,
    boundary_weighted_cross_entropy,
    cross_entropy,
    focal_loss,
    get_loss,
    soft_dice_loss,
    soft_jaccard_loss,
    tversky_loss,
)

TARGET = torch.tensor([[[0, 1], [2, 1]]])
CERTAIN = 20.0 * torch.nn.functional.one_hot(TARGET, 3).movedim(-1, 1).float()
UNDECIDED = torch.zeros(1, 3, 2, 2)
WITH_DISTANCES = ("boundary", "boundary_weighted", "hausdorff", "log_hausdorff")
EVERY_LOSS = pytest.mark.parametrize("name", sorted(LOSSES))


def blobs(n: int = 2, side: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random logits of three classes, and a target of two squares that differ from patch to patch."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(n, side, side, dtype=torch.int64)
    for index in range(n):
        target[index, 4 : 14 + index, 5:15] = 1
        target[index, 18:26, 16 : 24 + index] = 2
    return 2.0 * torch.randn(n, 3, side, side, generator=generator), target


@EVERY_LOSS
def test_a_certain_and_right_answer_costs_nothing_and_a_wrong_one_costs_more(name: str) -> None:
    loss = get_loss(name)
    assert float(loss(CERTAIN, TARGET)) < 1e-4
    assert float(loss(-CERTAIN, TARGET)) > 0.05
    _, target = blobs()
    right = 20.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert 0 <= float(loss(right, target)) < 1e-2
    assert float(loss(right.roll(8, dims=-1), target)) > float(loss(right.roll(2, dims=-1), target)) > 0.03


def test_values_that_can_be_worked_out_by_hand() -> None:
    assert float(cross_entropy(UNDECIDED, TARGET)) == pytest.approx(math.log(3))
    first = (2 * 2 / 3 + 1) / (4 / 3 + 2 + 1)
    second = (2 * 1 / 3 + 1) / (4 / 3 + 1 + 1)
    assert float(soft_dice_loss(UNDECIDED, TARGET)) == pytest.approx(1 - (first + second) / 2)
    first = (2 / 3 + 1) / (4 / 3 + 2 - 2 / 3 + 1)
    second = (1 / 3 + 1) / (4 / 3 + 1 - 1 / 3 + 1)
    assert float(soft_jaccard_loss(UNDECIDED, TARGET)) == pytest.approx(1 - (first + second) / 2)
    assert float(focal_loss(UNDECIDED, TARGET)) == pytest.approx((2 / 3) ** 2 * math.log(3))
    first = (2 / 3 + 1) / (2 / 3 + 0.3 * 2 / 3 + 0.7 * 4 / 3 + 1)
    second = (1 / 3 + 1) / (1 / 3 + 0.3 * 1 + 0.7 * 2 / 3 + 1)
    assert float(tversky_loss(UNDECIDED, TARGET)) == pytest.approx(1 - (first + second) / 2)


def test_class_weights_count_pixels_by_their_true_class() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0] = 1.0
    costs = {0: math.log(math.e + 2) - 1, 1: math.log(math.e + 2), 2: math.log(math.e + 2)}
    weights = torch.tensor([1.0, 2.0, 5.0])
    by_hand = (1 * costs[0] + 2 * 2 * costs[1] + 5 * costs[2]) / (1 + 2 + 2 + 5)
    assert float(cross_entropy(logits, TARGET, weights)) == pytest.approx(by_hand)
    assert float(get_loss("cross_entropy", weights)(logits, TARGET)) == pytest.approx(by_hand)
    theirs = torch.nn.functional.cross_entropy(logits, TARGET, weights)
    assert float(cross_entropy(logits, TARGET, weights)) == pytest.approx(float(theirs))
    torch.testing.assert_close(get_loss("dice", weights)(logits, TARGET), soft_dice_loss(logits, TARGET))


def overlap_losses_by_definition(logits: Tensor, target: Tensor) -> tuple[float, float]:
    """Dice and Jaccard loss in 64 bits, pixel by pixel as the papers have them, over the pixels that count."""
    counted = target != IGNORE_INDEX
    likely = torch.softmax(logits.double(), dim=1).movedim(1, -1)[counted]
    dice, jaccard = [], []
    for label in range(1, logits.shape[1]):
        true = (target[counted] == label).double()
        overlap, both = (likely[:, label] * true).sum(), likely[:, label].sum() + true.sum()
        dice.append((2 * overlap + 1) / (both + 1))
        jaccard.append((overlap + 1) / (both - overlap + 1))
    return float(1 - torch.stack(dice).mean()), float(1 - torch.stack(jaccard).mean())


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("absent", [False, True], ids=["all-classes", "without-class-1"])
@pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])
def test_dice_and_jaccard_loss_equal_their_definition(n_classes: int, absent: bool, ignored: float) -> None:
    generator = torch.Generator().manual_seed(n_classes)
    logits = 3.0 * torch.randn(4, n_classes, 48, 48, generator=generator)
    target = torch.randint(0, n_classes, (4, 48, 48), generator=generator)
    if absent:
        target[target == 1] = 0
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE_INDEX
    dice, jaccard = overlap_losses_by_definition(logits, target)
    assert float(soft_dice_loss(logits, target)) == pytest.approx(dice, abs=5e-7)
    assert float(soft_jaccard_loss(logits, target)) == pytest.approx(jaccard, abs=5e-7)


def test_dice_jaccard_tversky_and_focal_loss_are_those_of_monai() -> None:
    logits, target = blobs()
    settings = {"include_background": False, "to_onehot_y": True, "softmax": True, "batch": True}
    one = target[:, None]
    for ours, jaccard in ((soft_dice_loss, False), (soft_jaccard_loss, True)):
        theirs = monai.losses.DiceLoss(jaccard=jaccard, smooth_nr=1.0 + jaccard, smooth_dr=1.0 + jaccard, **settings)
        torch.testing.assert_close(ours(logits, target), theirs(logits, one))
    theirs = monai.losses.TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=1.0, smooth_dr=1.0, **settings)(logits, one)
    torch.testing.assert_close(tversky_loss(logits, target), theirs)
    mean_over_classes = monai.losses.FocalLoss(to_onehot_y=True, use_softmax=True)(logits, one)
    torch.testing.assert_close(focal_loss(logits, target), 3 * mean_over_classes)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("hausdorff", monai.losses.HausdorffDTLoss), ("log_hausdorff", monai.losses.LogHausdorffDTLoss)],
)
def test_the_hausdorff_losses_are_those_of_monai(name: str, theirs: type[torch.nn.Module]) -> None:
    logits, target = blobs()
    expected = theirs(softmax=True, to_onehot_y=True)(logits, target[:, None])
    torch.testing.assert_close(get_loss(name)(logits, target), expected)


def test_the_boundary_loss_is_that_of_monai_but_for_its_constant() -> None:
    logits, target = blobs()
    theirs = monai.losses.BoundaryLoss(include_background=False, softmax=True, to_onehot_y=True)
    right = 40.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    expected = theirs(logits, target[:, None]) - theirs(right, target[:, None])
    torch.testing.assert_close(get_loss("boundary")(logits, target), expected)


def test_signed_distances_and_the_boundary_loss_by_hand() -> None:
    mask = torch.tensor([[[[0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]]])
    assert compute_signed_distances(mask).flatten().tolist() == [1, 0, -1, 0, 1, 2]
    target = mask[:, 0].long()
    said = torch.tensor([0, 1, 1, 1, 1, 1])  # two pixels too many, 1 and 2 px off the border
    logits = 40.0 * torch.nn.functional.one_hot(said, 2).T.reshape(1, 2, 1, 6).float()
    assert float(get_loss("boundary")(logits, target)) == pytest.approx((1 + 2) / 6)
    assert not compute_signed_distances(torch.ones(1, 1, 4, 4)).any()


def test_the_gap_between_two_objects_counts_more_the_narrower_it_is() -> None:
    target = torch.zeros(1, 9, 40, dtype=torch.int64)
    target[0, :, 3:10], target[0, :, 12:20], target[0, :, 30:38] = 1, 1, 1
    gaps = compute_gap_weights(target, 5.0, 0)[0, 4]
    assert float(gaps[10]) == pytest.approx(math.exp(-((1 + 2) ** 2) / 50))
    assert float(gaps[24]) == pytest.approx(math.exp(-((5 + 6) ** 2) / 50))
    assert float(gaps[5]) == 0
    logits, weight = torch.zeros(1, 2, 9, 40), 1 + 10 * compute_gap_weights(target, 5.0, 0)
    assert float(boundary_weighted_cross_entropy(logits, target)) == pytest.approx(
        float(weight.mean()) * math.log(2), rel=1e-5
    )
    lone = torch.zeros(1, 9, 40, dtype=torch.int64)
    lone[0, :, 3:10] = 1
    assert not compute_gap_weights(lone, 5.0, 0).any()


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 5.0]])
def test_without_gaps_it_is_the_cross_entropy_whatever_the_class_weights(weights: list[float] | None) -> None:
    logits, target = blobs()
    per_class = None if weights is None else torch.tensor(weights)
    flat = get_loss("boundary_weighted", per_class, {"strength": 0.0})(logits, target)
    torch.testing.assert_close(flat, cross_entropy(logits, target, per_class))


def test_cores_in_one_rim_are_two_objects() -> None:
    target = torch.zeros(1, 9, 30, dtype=torch.int64)
    target[0, :, 3:23] = 1
    target[0, :, 5:11], target[0, :, 15:21] = 2, 2
    assert float(compute_gap_weights(target, 5.0, 2)[0, 4, 13]) > 0.4
    objects = compute_gap_weights(target.clamp(max=1), 5.0, 0)
    assert not objects.any()


def test_false_pixels_on_an_empty_slice_cost() -> None:
    empty = torch.zeros(1, 64, 64, dtype=torch.int64)
    background, lung = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    background[:, 0] = lung[:, 1] = 20.0
    assert float(soft_dice_loss(background, empty)) < 1e-3
    assert float(soft_dice_loss(lung, empty)) > 0.45


@EVERY_LOSS
@pytest.mark.parametrize("fill", [0, 1, 2, IGNORE_INDEX], ids=["empty", "full", "full-2", "ignored"])
def test_gradients_are_finite_on_empty_and_full_masks(name: str, fill: int) -> None:
    target = torch.full((2, 24, 24), fill)
    for logits in (torch.zeros(2, 3, 24, 24), blobs(side=24)[0], 60.0 * blobs(side=24)[0]):
        logits = logits.clone().requires_grad_()
        value = get_loss(name)(logits, target)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()
        if fill == IGNORE_INDEX:
            assert float(value.detach()) == 0
            assert not logits.grad.any()


@EVERY_LOSS
def test_what_is_ignored_has_no_gradient_and_does_not_matter(name: str) -> None:
    logits, target = blobs()
    target[:, :10] = IGNORE_INDEX
    logits.requires_grad_()
    weights = torch.tensor([0.5, 2.0, 3.0])
    loss = get_loss(name, weights)
    value = loss(logits, target)
    value.backward()
    assert not logits.grad[:, :, :10].any()
    assert logits.grad[:, :, 10:].any()
    changed = logits.detach().clone()
    changed[:, :, :10] = 7.0 * blobs(seed=5)[0][:, :, :10]
    torch.testing.assert_close(loss(changed, target), value.detach())


@pytest.mark.parametrize("name", [name for name in sorted(LOSSES) if name not in WITH_DISTANCES])
def test_a_loss_over_a_part_is_the_loss_of_that_part(name: str) -> None:
    logits, target = blobs()
    part = target.clone()
    part[:, :, 20:] = IGNORE_INDEX
    torch.testing.assert_close(get_loss(name)(logits, part), get_loss(name)(logits[..., :20], target[..., :20]))


@pytest.mark.parametrize("name", ["boundary", "hausdorff"])
def test_the_edge_of_the_reviewed_part_is_no_border(name: str) -> None:
    target = torch.zeros(1, 32, 32, dtype=torch.int64)
    target[:, :16] = 1
    part = target.clone()
    part[:, :, 16:] = IGNORE_INDEX  # cuts the object, which goes on beyond
    logits = blobs(n=1)[0][:, :2]
    halves = get_loss(name)(logits[..., :16], target[..., :16])
    torch.testing.assert_close(get_loss(name)(logits, part), halves, rtol=1e-4, atol=1e-4)


def test_losses_work_on_half_precision_logits() -> None:
    logits, target = blobs()
    for name in LOSSES:
        assert np.isfinite(float(get_loss(name)(logits.bfloat16(), target)))


class AppleTensor(torch.Tensor):
    """Stands in for a tensor on an Apple GPU: it meets no float64; `cpu` returns an ordinary tensor."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN206
        made = super().__torch_function__(function, types, args, kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            if any(isinstance(each, torch.Tensor) and each.dtype is torch.float64 for each in (*args, made)):
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
            return made.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else made


def test_the_stand_in_for_an_apple_gpu_refuses_what_monai_does() -> None:
    likely, true = (torch.rand(1, 2, 8, 8).as_subclass(AppleTensor) for _ in range(2))
    with pytest.raises(TypeError, match="float64"):
        monai.losses.HausdorffDTLoss(include_background=False)(likely, true)


@EVERY_LOSS
def test_no_loss_needs_float64_on_the_device(name: str) -> None:
    logits, target = blobs()
    wanted = get_loss(name)(logits, target)
    found = get_loss(name)(logits.as_subclass(AppleTensor).requires_grad_(), target)
    found.backward()
    assert float(found.detach().cpu()) == pytest.approx(float(wanted), rel=1e-5)


def test_an_unknown_loss_or_option_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="cross_entropy_dice"):
        get_loss("hinge")
    with pytest.raises(MedSegError, match="false_negative"):
        get_loss("tversky", options={"beta": 0.5})
    half = get_loss("tversky", options={"false_positive": 0.5, "false_negative": 0.5})
    logits, target = blobs()
    assert float(half(logits, target)) == pytest.approx(float(soft_dice_loss(logits, target)), abs=2e-3)
