"""Objects from their depth: as many as there are, whole over seams, none lost and none in two pieces."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, InstanceSeparation, ModelCard, Preprocessing
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.watershed import CORE_DEPTH, separate_objects
from training.data.instance_targets import compute_depth_classes

NUMBERS = InstanceSeparation(levels=[0.0, 0.3, 0.6], min_area_px=5)


def discs(side: int, pitch: int, radius: int, seed: int = 0) -> NDArray[np.uint16]:
    """Discs on a grid, nearly or just touching, each with a number of its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    objects = np.zeros((side, side), np.uint16)
    for row in range(pitch // 2, side, pitch):
        for column in range(pitch // 2, side, pitch):
            middle = np.array([row, column]) + rng.integers(-1, 2, 2)
            inside = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2
            objects[inside & (objects == 0)] = objects.max() + 1
    return objects


def ideal_depth(objects: NDArray[np.uint16]) -> NDArray[np.uint8]:
    classes = compute_depth_classes(objects, NUMBERS.levels)
    return np.round(classes / len(NUMBERS.levels) * CORE_DEPTH).astype(np.uint8)


class KnowsDepth(nn.Module):
    """A network that reads the class of each pixel from the picture, whose grey values tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(20.0))

    def forward(self, planes: Tensor) -> Tensor:
        grey = (planes[:, :1] * 0.5 + 0.5) * 3.0
        return -self.sharpness * (grey - torch.arange(4.0).view(1, 4, 1, 1)) ** 2


def nuclei_card() -> ModelCard:
    return ModelCard(
        name="nuclei-tiny",
        version=1,
        task="nuclei",
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=3, classes=4),
        preprocessing=Preprocessing(min_side_px=32, max_side_px=8192, percentile_low=0, percentile_high=100),
        instances=NUMBERS,
        precision="fp32",
    )


def picture_of(objects: NDArray[np.uint16]) -> Image:
    grey = compute_depth_classes(objects, NUMBERS.levels) * 85
    return Image(np.repeat(grey[..., np.newaxis], 3, axis=-1).astype(np.uint8), "YXC", units="rgb")


def test_touching_objects_are_told_apart_and_keep_their_place() -> None:
    truth = discs(200, 20, 10)
    found = separate_objects(truth > 0, ideal_depth(truth), NUMBERS)
    assert found.dtype == np.uint32
    assert found.max() == truth.max() == 100
    np.testing.assert_array_equal(found > 0, truth > 0)
    assert compute_object_scores(found, truth).aji > 0.97


def test_an_object_without_a_core_is_one_object_and_specks_are_dropped() -> None:
    inside = np.zeros((40, 40), bool)
    inside[5:12, 5:12] = True
    inside[30, 30] = True
    found = separate_objects(inside, inside.astype(np.uint8) * 60, NUMBERS, first=7)
    assert set(np.unique(found)) == {0, 7}
    assert np.count_nonzero(found) == 49


def test_an_empty_plane_has_no_object() -> None:
    nothing = np.zeros((16, 16), np.uint8)
    assert not separate_objects(nothing > 0, nothing, NUMBERS).any()


def test_a_nucleus_on_a_seam_is_one_nucleus_and_tiles_agree_with_the_whole() -> None:
    truth = discs(640, 24, 11)
    image = picture_of(truth)
    whole = Predictor(KnowsDepth(), nuclei_card(), "cpu", BatchLimits(10**9, 10**9, 256, 96)).predict_labels(image)
    tiled = Predictor(KnowsDepth(), nuclei_card(), "cpu", BatchLimits(10**6, 1000, 256, 96)).predict_labels(image)
    assert whole.max() == tiled.max() == truth.max()
    assert compute_object_scores(tiled, whole).pq > 0.999
    assert compute_object_scores(tiled, truth).pq > 0.95
    pieces = [ndimage.label(tiled == number)[1] for number in range(1, int(tiled.max()) + 1, 37)]
    assert set(pieces) == {1}


def test_planes_of_a_stack_share_no_number() -> None:
    one = picture_of(discs(96, 24, 10)).pixels
    stack = Image(np.stack([one, one]), "ZYXC", units="rgb")
    labels = Predictor(KnowsDepth(), nuclei_card(), "cpu").predict_labels(stack)
    assert not set(np.unique(labels[0][labels[0] > 0])) & set(np.unique(labels[1][labels[1] > 0]))
    np.testing.assert_array_equal(labels[0] > 0, labels[1] > 0)


def test_half_the_magnification_finds_the_same_nuclei() -> None:
    truth = discs(512, 32, 15)
    half = picture_of(truth[::2, ::2])
    found = Predictor(KnowsDepth(), nuclei_card(), "cpu").predict_labels(half)
    assert found.max() == truth.max()
