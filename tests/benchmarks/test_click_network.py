import click_network
import numpy as np
import pytest
import torch
from click_lessons import CROP_PX, Lesson, draw_batch, draw_crop
from click_network import ClickNetwork, apply_click, compute_loss, list_ways
from click_simulation import Click, compute_mask_dice, dab, damage, find_largest_error, keep_clicked_piece, place_click

from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import build_network

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def clicking() -> ClickNetwork:
    torch.manual_seed(0)
    small = Architecture(
        name="unet", encoder="mobilenet_v2", in_channels=1, classes=3, options={"decoder_channels": [8, 8, 8, 8, 8]}
    )
    return ClickNetwork(build_network(small).eval())


def make_mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_without_learning_hints_change_nothing(clicking: ClickNetwork) -> None:
    planes = torch.randn(1, 1, 64, 64)
    logits = clicking.network(planes)
    expected = logits[:, 1:].logsumexp(dim=1) - logits[:, 0]
    assert torch.allclose(clicking(planes, torch.ones(1, 3, 64, 64)), expected)


@pytest.mark.parametrize("is_centred", [True, False])
def test_a_click_lies_in_the_inner_half_of_the_largest_error(is_centred: bool) -> None:
    truth, mask = make_mask((10, 50, 10, 50), (60, 70, 60, 70)), make_mask((60, 70, 60, 90))
    assert find_largest_error(mask, truth).sum() == 1600
    click = place_click(mask, truth, is_centred, np.random.default_rng(1))
    assert click.is_positive
    assert 19 <= click.y < 41
    assert 19 <= click.x < 41
    assert place_click(truth, truth, is_centred, np.random.default_rng(1)) is None


def test_a_click_on_what_is_too_much_is_negative() -> None:
    click = place_click(make_mask((10, 30, 10, 30)), make_mask(), True, np.random.default_rng(0))
    assert click == Click(click.y, click.x, False)


def test_the_ideal_dab_mends_and_never_harms() -> None:
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    truth = (y - 40) ** 2 + (x - 60) ** 2 <= 20**2
    assert compute_mask_dice(dab(np.zeros(SHAPE, bool), truth), truth) > 0.99
    assert (dab(truth, truth) == truth).all()
    rng = np.random.default_rng(2)
    for _ in range(5):
        mask = damage(truth, rng)
        assert compute_mask_dice(dab(mask, truth), truth) >= compute_mask_dice(mask, truth)


def test_only_the_changed_piece_with_the_click_is_kept() -> None:
    old, new = make_mask((10, 20, 10, 20)), make_mask((10, 20, 10, 30), (60, 70, 60, 70))
    kept = keep_clicked_piece(old, new, Click(15, 25, True))
    assert (kept == make_mask((10, 20, 10, 30))).all()
    assert (keep_clicked_piece(old, new, Click(40, 40, True)) == old).all()


def test_a_click_changes_nothing_outside_its_crop(clicking: ClickNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (300, 400)
    monkeypatch.setattr(click_network, "answer_click", lambda clicking, plane, mask, clicks: np.ones_like(mask))
    mask = apply_click(clicking, np.zeros((1, *shape), np.float32), np.zeros(shape, bool), [Click(20, 30, True)])
    assert mask[:256, :256].all()
    assert mask.sum() == 256 * 256
    small = apply_click(clicking, np.zeros((1, *SHAPE), np.float32), np.zeros(SHAPE, bool), [Click(20, 30, True)])
    assert small.all()


def make_lesson(draft: np.ndarray) -> Lesson:
    truth = make_mask((20, 50, 20, 60))
    return Lesson("a", "patient", np.where(truth, 1.0, -1.0).astype(np.float32)[None], truth, draft)


def test_a_crop_starts_from_an_empty_a_damaged_or_the_drafted_mask() -> None:
    lesson, rng = make_lesson(make_mask((0, 96, 0, 128))), np.random.default_rng(0)
    crops = [draw_crop(lesson, rng) for _ in range(60)]
    shares = [float((one.mask & one.truth).sum() / one.truth.sum()) for one in crops]
    empty, whole = (np.mean([not one.mask.any() for one in crops]), np.mean([one.mask.mean() > 0.1 for one in crops]))
    assert 0.1 < empty < 0.45
    assert 0.1 < whole < 0.45
    assert any(0.05 < share < 0.999 for share in shares)
    assert {one.n_wanted for one in crops} == {1, 2, 3}
    assert all(one.plane.shape == (1, CROP_PX, CROP_PX) for one in crops)
    assert all(((one.plane[0] > 0.3) == one.truth).mean() > 0.95 for one in crops)  # moved and scaled together


def test_the_network_answers_the_clicks_before_the_last(clicking: ClickNetwork) -> None:
    asked: list[int] = []

    def answer(planes: np.ndarray, hints: np.ndarray) -> np.ndarray:
        asked.append(len(planes))
        assert (hints[:, 1:].sum(axis=(1, 2, 3)) > 0).all()
        return np.zeros(planes.shape[:1] + planes.shape[2:], bool)

    lesson = make_lesson(make_mask())
    planes, hints, truth, weight = draw_batch([lesson], 24, answer, np.random.default_rng(2))
    assert planes.shape == (24, 1, CROP_PX, CROP_PX)
    assert 24 > asked[0] > asked[1] > 0
    assert (weight.amax((1, 2)) > 4).all()
    loss = compute_loss(clicking(planes[:2], hints[:2]), truth[:2], weight[:2])
    loss.backward()
    assert torch.isfinite(loss)
    assert clicking.hints.weight.grad.abs().sum() > 0


def test_each_way_is_followed_for_ten_clicks(clicking: ClickNetwork) -> None:
    steps = list_ways(clicking)
    assert len(click_network.follow(steps["ideal dab"], make_lesson(make_mask()))["dice"]) == 11
