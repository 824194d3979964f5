import numpy as np
import pytest
import torch

from napari_medseg.core.cards import Preprocessing
from training.augment import AUGMENTATIONS, Augmentation, Augmenter, augmentation_named

SIDES = (1, 2)


def plane_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return a plane whose value says its column, with the right lung on the left."""
    labels = np.zeros((64, 64), np.uint8)
    labels[20:44, 8:26], labels[20:44, 38:56] = 1, 2
    plane = np.broadcast_to(np.linspace(-1, 1, 64, dtype=np.float32), (1, 64, 64)).copy()
    return plane, labels


def augmenter(settings: Augmentation, sides: tuple[int, int] | None = SIDES) -> Augmenter:
    return Augmenter(settings, Preprocessing(), 64, sides)


def test_without_changes_a_patch_of_the_planes_size_is_the_plane() -> None:
    plane, labels = plane_and_labels()
    patch, truth = augmenter(AUGMENTATIONS["none"]).patch(plane, labels, np.random.default_rng(0))
    np.testing.assert_allclose(patch.numpy(), plane, atol=1e-5)
    np.testing.assert_array_equal(truth.numpy(), labels)


def test_a_mirrored_patch_has_the_right_lung_on_the_left_all_the_same() -> None:
    plane, labels = plane_and_labels()
    settings = Augmentation(mirror_share=1.0)
    patch, truth = augmenter(settings).patch(plane, labels, np.random.default_rng(0))
    np.testing.assert_allclose(patch.numpy(), plane[..., ::-1], atol=1e-5)
    swapped = np.array([0, 2, 1])[labels[:, ::-1]]
    np.testing.assert_array_equal(truth.numpy(), swapped)
    assert _column(truth, 1) < _column(truth, 2)


def test_a_task_without_sides_keeps_its_values_in_the_mirror() -> None:
    plane, labels = plane_and_labels()
    _, truth = augmenter(Augmentation(mirror_share=1.0), sides=None).patch(plane, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(truth.numpy(), labels[:, ::-1])


@pytest.mark.parametrize("name", ["ct", "gentle", "replay"])
def test_sides_grey_range_and_types_survive_every_draw(name: str) -> None:
    plane, labels = plane_and_labels()
    both_seen = 0
    for seed in range(60):
        patch, truth = augmenter(augmentation_named(name)).patch(plane, labels, np.random.default_rng(seed))
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
        patch, truth = augmenter(settings).patch(plane, labels, np.random.default_rng(seed))
        agreement = ((patch[0] > 0) == (truth > 0)).float().mean()
        assert float(agreement) > 0.97


def test_a_framed_patch_shows_all_labels_large() -> None:
    labels = np.zeros((200, 300), np.uint8)
    labels[80:120, 40:60], labels[80:120, 75:95] = 1, 2
    plane = np.zeros((1, 200, 300), np.float32)
    for seed in range(10):
        settings = Augmentation(framed_share=1.0)
        _, truth = augmenter(settings).patch(plane, labels, np.random.default_rng(seed))
        columns = (truth > 0).any(dim=0).nonzero()
        assert int(columns.max() - columns.min()) > 0.7 * 64
        assert float((truth == 1).sum()) == pytest.approx(float((truth == 2).sum()), rel=0.25)
    _, truth = augmenter(settings).patch(plane, np.zeros_like(labels), np.random.default_rng(0))
    assert not truth.any()


def test_the_same_draw_gives_the_same_patch() -> None:
    plane, labels = plane_and_labels()
    first, second = (augmenter(AUGMENTATIONS["ct"]).patch(plane, labels, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_an_unknown_augmentation_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="gentle"):
        augmentation_named("wild")


def _column(labels: torch.Tensor, value: int) -> float:
    return float((labels == value).nonzero()[:, 1].float().mean())
