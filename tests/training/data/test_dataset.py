import itertools

import numpy as np
import torch

from napari_medseg.core.model_card import Preprocessing
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.presets import AUGMENTATIONS
from training.augmentation.spatial import Augmenter
from training.data.dataset import BatchSampler, LabelledImage, LabelledPlane, compute_window_centres


def flat(value: float, label: int) -> LabelledImage:
    plane = LabelledPlane((np.full((1, 64, 64), value, np.float16),), np.full((64, 64), label, np.uint8))
    return LabelledImage(str(value), (plane,))


def batches(**changes: object) -> BatchSampler:
    settings = {"train": [flat(0.5, 1)], "replay": [flat(-0.5, 2)], "batch_size": 8, "replay_share": 0.25, "seed": 3}
    augmenter = Augmenter(AUGMENTATIONS["none"], Preprocessing(), 64, (1, 2))
    return BatchSampler(augmenter=augmenter, replay_augmenter=augmenter, **{**settings, **changes})


def test_a_quarter_of_a_batch_is_replayed() -> None:
    _, labels = batches().make_batch(0)
    assert [int(one.max()) for one in labels].count(2) == 2
    _, labels = batches(replay=[]).make_batch(0)
    assert (labels == 1).all()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    many = {"train": [flat(value / 10, 1) for value in range(8)]}
    first, again = batches(**many).make_batch(7)[0], batches(**many).make_batch(7)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, batches(**many).make_batch(8)[0])
    assert not torch.equal(first, batches(**many, seed=4).make_batch(7)[0])


def numbered(shape: tuple[int, int], inside: tuple[int, int] | None = None) -> LabelledImage:
    """Image whose grey values say row and column, in two channels, from -1 to 1."""
    rows, columns = np.indices(shape)
    view = np.stack([rows / shape[0], columns / shape[1]]) * 2 - 1
    return LabelledImage("n", (LabelledPlane((view.astype(np.float16),), np.zeros(shape, np.uint8), inside),))


def test_a_picture_of_1000_px_has_36_windows_of_256_px() -> None:
    centres = compute_window_centres((1000, 1000), 256, 100)
    assert len(centres) == 36
    assert centres[0] == (128, 128)
    assert centres[-1] == (872, 872)
    starts = sorted({row for row, _ in centres})
    assert all(256 - (after - before) >= 100 for before, after in itertools.pairwise(starts))
    assert compute_window_centres((100, 300), 256, 0) == [(50, 128), (50, 172)]


def test_every_window_comes_once_in_a_pass_in_another_order_each_time() -> None:
    pool = [numbered((192, 192), (160, 160))]
    windows = batches(train=pool, replay=[], window_overlap_px=16, batch_size=3)
    assert len(windows.windows) == 9
    assert windows.steps_per_pass == 3
    passes = []
    for first in (0, 3):
        patches = [windows.make_batch(step)[0] for step in range(first, first + 3)]
        passes.append([(round(float(one[0, 0, 0]), 2), round(float(one[1, 0, 0]), 2)) for one in torch.cat(patches)])
    assert len(set(passes[0])) == 9
    assert set(passes[0]) == set(passes[1])
    assert passes[0] != passes[1]
    assert torch.equal(
        windows.make_batch(4)[0], batches(train=pool, replay=[], window_overlap_px=16, batch_size=3).make_batch(4)[0]
    )


def test_a_window_is_the_plane_at_its_place() -> None:
    pool = [numbered((192, 192), (160, 160))]
    windows = batches(train=pool, replay=[], window_overlap_px=16, batch_size=9)
    plane = pool[0].planes[0].views[0].astype(np.float32)
    for patch in windows.make_batch(0)[0]:
        top, left = (round((float(value) + 1) / 2 * 192) for value in patch[:, 0, 0])
        np.testing.assert_allclose(patch.numpy(), plane[:, top : top + 64, left : left + 64], atol=1e-4)


def test_windows_that_nobody_looked_at_are_left_out() -> None:
    one = numbered((128, 128))
    labels = np.full((128, 128), IGNORE_INDEX, np.uint8)
    labels[70:90, 70:90] = 1
    part = LabelledImage("part", (LabelledPlane(one.planes[0].views, labels),))
    assert len(batches(train=[part], replay=[], window_overlap_px=0).windows) == 1


def test_patches_are_about_labelled_pixels_each_class_in_turn() -> None:
    labels = np.zeros((512, 512), np.uint8)
    labels[250, 250], labels[400, 100:104] = 1, 2
    view = numbered((512, 512)).planes[0].views
    pool = [flat(0.5, 0), LabelledImage("few", (LabelledPlane(view, labels),)), *(flat(0.1, 0) for _ in range(6))]
    pool = [one if one.name == "few" else LabelledImage(one.name, _two_channels(one)) for one in pool]
    _, patches = batches(train=pool, replay=[], foreground_share=1.0).make_batch(0)
    for index, patch in enumerate(patches):
        value = index % 2 + 1
        assert (patch == value).any()
        centre = (patch == value).nonzero().float().mean(dim=0)
        assert (centre - 32).abs().max() < 5
    _, seldom = batches(train=pool, replay=[], foreground_share=0.0, batch_size=32).make_batch(0)
    assert sum(bool(patch.any()) for patch in seldom) < 8


def test_a_share_of_labelled_patches_is_a_share() -> None:
    empty, full = flat(0.0, 0), flat(0.0, 1)
    _, labels = batches(train=[empty, full], replay=[], foreground_share=0.5, batch_size=400).make_batch(0)
    assert 0.65 < float((labels > 0).any(dim=(1, 2)).float().mean()) < 0.85  # a half, and a half of the rest


def test_patches_of_a_partly_reviewed_image_show_that_part() -> None:
    labels = np.full((512, 512), IGNORE_INDEX, np.uint8)
    labels[300:310, 40:50] = 0
    part = LabelledImage("part", (LabelledPlane((np.zeros((1, 512, 512), np.float16),), labels),))
    _, patches = batches(train=[part], replay=[]).make_batch(0)
    assert all((patch != IGNORE_INDEX).any() for patch in patches)
    assert all((patch == IGNORE_INDEX).any() for patch in patches)


def _two_channels(image: LabelledImage) -> tuple[LabelledPlane, ...]:
    return tuple(LabelledPlane((np.repeat(plane.views[0], 2, axis=0),), plane.labels) for plane in image.planes)


def test_noise_is_another_one_in_each_step() -> None:
    seeds = [batches().sample_batch(step).seed for step in (7, 8, 7)]
    assert seeds[0] == seeds[2] != seeds[1]
