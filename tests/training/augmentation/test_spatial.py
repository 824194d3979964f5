from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Preprocessing
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from training.augmentation.presets import AUGMENTATIONS, Augmentation, get_augmentation, scale_augmentation
from training.augmentation.spatial import Augmenter

SIDES = (1, 2)


def plane_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return a plane whose value says its column, with the right lung on the left."""
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 8:26], labels[20:44, 38:56] = 1, 2
    plane = np.broadcast_to(np.linspace(-1, 1, 64, dtype=np.float32), (1, 64, 64)).copy()
    return plane, labels


def augmenter(settings: Augmentation, sides: tuple[int, int] | None = SIDES) -> Augmenter:
    return Augmenter(settings, Preprocessing(), 64, sides)


def patch_of(
    augmenter: Augmenter,
    plane: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    centre: tuple[float, float] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of one patch."""
    patches, truth = augmenter.collate([augmenter.sample_patch(plane, labels, rng, centre)], seed=0).make_patches()
    return patches[0], truth[0]


def test_without_changes_a_patch_of_the_planes_size_is_the_plane() -> None:
    plane, labels = plane_and_labels()
    patch, truth = patch_of(augmenter(AUGMENTATIONS["none"]), plane, labels, np.random.default_rng(0))
    np.testing.assert_allclose(patch.numpy(), plane, atol=1e-5)
    np.testing.assert_array_equal(truth.numpy(), labels)


def test_a_mirrored_patch_has_the_right_lung_on_the_left_all_the_same() -> None:
    plane, labels = plane_and_labels()
    settings = Augmentation(mirror_share=1.0)
    patch, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(0))
    np.testing.assert_allclose(patch.numpy(), plane[..., ::-1], atol=1e-5)
    swapped = np.array([0, 2, 1])[labels[:, ::-1]]
    np.testing.assert_array_equal(truth.numpy(), swapped)
    assert _column(truth, 1) < _column(truth, 2)


def test_a_task_without_sides_keeps_its_values_in_the_mirror() -> None:
    plane, labels = plane_and_labels()
    _, truth = patch_of(augmenter(Augmentation(mirror_share=1.0), sides=None), plane, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(truth.numpy(), labels[:, ::-1])


@pytest.mark.parametrize("name", ["ct", "gentle", "replay"])
def test_sides_grey_range_and_types_survive_every_draw(name: str) -> None:
    plane, labels = plane_and_labels()
    both_seen = 0
    for seed in range(60):
        patch, truth = patch_of(augmenter(get_augmentation(name)), plane, labels, np.random.default_rng(seed))
        assert patch.shape == (1, 64, 64)
        assert patch.dtype == torch.float32
        assert truth.dtype == torch.int64
        assert float(patch.min()) >= -1
        assert float(patch.max()) <= 1
        if (truth == 1).any() and (truth == 2).any():
            both_seen += 1
            assert _column(truth, 1) < _column(truth, 2)
    assert both_seen > 30


def test_image_and_labels_move_together() -> None:
    _, labels = plane_and_labels()
    plane = (labels > 0).astype(np.float32)[None] * 2 - 1
    settings = Augmentation(scale=(0.6, 1.4), rotation_deg=20.0, stretch=0.2, mirror_share=0.5, border_share=0.0)
    for seed in range(20):
        patch, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(seed))
        agreement = ((patch[0] > 0) == (truth > 0)).float().mean()
        assert float(agreement) > 0.97


def test_a_framed_patch_shows_all_labels_large() -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[80:120, 40:60], labels[80:120, 75:95] = 1, 2
    plane = np.zeros((1, 200, 300), np.float32)
    for seed in range(10):
        settings = Augmentation(zoom_to_labels_share=1.0)
        _, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(seed))
        columns = (truth > 0).any(dim=0).nonzero()
        assert int(columns.max() - columns.min()) > 0.7 * 64
        assert float((truth == 1).sum()) == pytest.approx(float((truth == 2).sum()), rel=0.25)
    _, truth = patch_of(augmenter(settings), plane, np.zeros_like(labels), np.random.default_rng(0))
    assert not truth.any()


def test_the_same_draw_gives_the_same_patch() -> None:
    plane, labels = plane_and_labels()
    first, second = (
        patch_of(augmenter(AUGMENTATIONS["ct"]), plane, labels, np.random.default_rng(3)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_an_unknown_augmentation_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="gentle"):
        get_augmentation("wild")


def _column(labels: torch.Tensor, value: int) -> float:
    return float((labels == value).nonzero()[:, 1].float().mean())


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_names_augmentations_that_there_are(task: Task) -> None:
    assert {task.augmentation, task.replay_augmentation} <= AUGMENTATIONS.keys()


def test_stain_and_tint_change_colours_and_leave_labels_alone() -> None:
    plane = np.repeat(plane_and_labels()[0], 3, axis=0)
    plane[1] *= 0.5
    labels = plane_and_labels()[1]
    for settings in (Augmentation(stain=0.5, intensity_share=1.0), Augmentation(tint=0.4, intensity_share=1.0)):
        patch, truth = patch_of(augmenter(settings, sides=None), plane, labels, np.random.default_rng(3))
        assert patch.shape == (3, 64, 64)
        assert float((patch - torch.from_numpy(plane)).abs().max()) > 0.05
        assert float(patch.min()) >= -1
        assert float(patch.max()) <= 1
        np.testing.assert_array_equal(truth.numpy(), labels)


def test_what_is_cut_out_is_grey_and_small() -> None:
    plane, labels = plane_and_labels()
    settings = Augmentation(cutout_share=1.0)
    patch, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(0))
    changed = (patch.numpy() - plane)[0] != 0
    assert 0.01 < np.mean(np.abs(patch.numpy() - plane)[0] > 1e-3) < 0.12
    assert np.allclose(patch.numpy()[0][changed & (np.abs(patch.numpy() - plane)[0] > 1e-3)], 0.0, atol=1e-5)
    np.testing.assert_array_equal(truth.numpy(), labels)


CORNERS = {(0, 0): 1, (0, 63): 2, (63, 0): 3, (63, 63): 4}
"""Value of the one pixel in each corner of a phantom."""


def four_corners() -> tuple[np.ndarray, np.ndarray]:
    """A plane that is -1 but for one pixel per corner, and labels with a value of its own for each of them."""
    labels = np.zeros((64, 64), np.uint8)
    for (row, column), value in CORNERS.items():
        labels[row, column] = value
    return (labels / 2.0 - 1.0)[None].astype(np.float32), labels


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        (Augmentation(), lambda plane: plane),
        (Augmentation(mirror_share=1.0), lambda plane: plane[:, ::-1]),
        (Augmentation(flip_share=1.0), lambda plane: plane[::-1]),
        (Augmentation(mirror_share=1.0, flip_share=1.0), lambda plane: plane[::-1, ::-1]),
    ],
    ids=["nothing", "mirror", "flip", "both"],
)
def test_one_pixel_per_corner_moves_in_image_and_labels_alike(
    settings: Augmentation, moved: Callable[[np.ndarray], np.ndarray]
) -> None:
    plane, labels = four_corners()
    patch, truth = patch_of(augmenter(settings, sides=None), plane, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(truth.numpy(), moved(labels))
    np.testing.assert_allclose(patch.numpy()[0], moved(plane[0]), atol=1e-4)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_image_and_labels_of_every_set_move_together(name: str) -> None:
    """Labels are where the image is bright, whatever a set does to places; what it does to grey values is left out."""
    _, labels = plane_and_labels()
    plane = np.repeat((labels > 0).astype(np.float32)[None] * 2 - 1, 3, axis=0)
    places = ("scale", "rotation_deg", "stretch", "zoom_to_labels_share", "mirror_share", "flip_share", "elastic_px")
    settings = Augmentation(border_share=0.0, **{name_: getattr(AUGMENTATIONS[name], name_) for name_ in places})
    for seed in range(12):
        patch, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(seed))
        assert float(((patch[0] > 0) == (truth > 0)).float().mean()) > 0.96


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_every_set_can_be_weakened_and_strengthened(name: str, strength: float) -> None:
    plane, labels = plane_and_labels()
    plane = np.repeat(plane, 3, axis=0)
    settings = scale_augmentation(AUGMENTATIONS[name], strength)
    for seed in range(6):
        patch, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(seed))
        assert torch.isfinite(patch).all()
        assert set(truth.unique().tolist()) <= {0, 1, 2}
        if strength == 0:
            np.testing.assert_allclose(patch.numpy(), plane, atol=1e-4)
            np.testing.assert_array_equal(truth.numpy(), labels)


def test_strength_scales_ranges_about_what_changes_nothing() -> None:
    twice = scale_augmentation(
        Augmentation(scale=(0.5, 2.0), rotation_deg=10.0, mirror_share=0.3, saturation=(0.8, 1.0)), 2.0
    )
    assert twice.scale == (0.25, 4.0)
    assert twice.rotation_deg == 20.0
    assert twice.mirror_share == 0.5
    assert twice.saturation == pytest.approx((0.6, 1.0))
    assert scale_augmentation(AUGMENTATIONS["ct"], 1.0) is AUGMENTATIONS["ct"]
    assert scale_augmentation(Augmentation(mirror_share=1.0), 2.0).mirror_share == 1.0


def test_elastic_shifts_bend_what_is_straight() -> None:
    plane, labels = plane_and_labels()
    _, truth = patch_of(augmenter(Augmentation(elastic_px=4.0)), plane, labels, np.random.default_rng(2))
    assert 0.5 < float((truth > 0).sum()) / (labels > 0).sum() < 1.5
    edges = {int(row.nonzero()[0]) for row in truth if row.any()}
    assert len(edges) > 2


@pytest.mark.parametrize("name", ["equalise_share", "clahe_share", "smooth_share", "window", "noise", "blur_px"])
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_of_grey_values_leave_places_and_labels_alone(name: str, channels: int) -> None:
    plane, labels = plane_and_labels()
    plane = np.repeat(plane**3, channels, axis=0)
    settings = Augmentation(intensity_share=1.0, **{name: 0.4 if name == "window" else 1.0})
    patch, truth = patch_of(augmenter(settings, sides=None), plane, labels, np.random.default_rng(1))
    assert patch.shape == (channels, 64, 64)
    assert float((patch - torch.from_numpy(plane)).abs().max()) > 0.01
    np.testing.assert_array_equal(truth.numpy(), labels)


def test_a_patch_is_about_the_centre_that_is_asked_for() -> None:
    labels = np.zeros((200, 240), np.uint8)
    labels[120, 90] = 1
    plane = labels[None].astype(np.float32)
    _, truth = patch_of(augmenter(Augmentation()), plane, labels, np.random.default_rng(0), centre=(120.5, 90.5))
    row, column = (int(place) for place in truth.nonzero()[0])
    assert abs(row - 32) <= 1
    assert abs(column - 32) <= 1
    labels[:] = 0
    labels[199, 0] = 1
    _, truth = patch_of(augmenter(Augmentation()), plane, labels, np.random.default_rng(0), centre=(199.5, 0.5))
    assert int(truth[63, 0]) == 1, "at the border of the plane the patch stays inside of it"


def test_what_nobody_looked_at_is_neither_framed_nor_shadowed() -> None:
    plane = np.full((1, 128, 128), 0.4, np.float32)
    labels = np.full((128, 128), IGNORE_INDEX, np.uint8)
    labels[40:90, 40:90] = 0
    labels[50:70, 50:70] = 1
    settings = Augmentation(zoom_to_labels_share=1.0, consolidation_share=1.0, border_share=0.0)
    for seed in range(5):
        _, truth = patch_of(augmenter(settings), plane, labels, np.random.default_rng(seed))
        assert float((truth == 1).float().mean()) > 0.4
        assert set(truth.unique().tolist()) <= {0, 1, IGNORE_INDEX}


def test_sets_can_be_put_together() -> None:
    both = get_augmentation("mirror+noise+cutmix")
    assert (both.mirror_share, both.noise, both.cutmix_share) == (0.5, 0.1, 0.5)
    assert both == replace(AUGMENTATIONS["mirror"], noise=0.1, cutmix_share=0.5)
    assert get_augmentation("ct+noise").noise == 0.1, "the later one counts"
    assert get_augmentation("ct") == AUGMENTATIONS["ct"]
    with pytest.raises(MedSegError, match=r"'sepia'.*mirror"):
        get_augmentation("mirror+sepia")
