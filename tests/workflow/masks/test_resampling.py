"""A mask on another grid is brought to that of its image by its place in the patient, else by the field of view."""

import numpy as np
import pytest

from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError
from napari_medseg.core.image import Image
from napari_medseg.workflow.masks.resampling import resample_mask


def make(values: np.ndarray, spacing: tuple[float, ...] | None, origin: tuple[float, ...] = (0, 0, 0)) -> Image:
    """An image whose first voxel lies at `origin` (x, y, z) in mm."""
    axes = "ZYX"[-values.ndim :]
    affine = None
    if spacing is not None:
        z, y, x = (1.0, *spacing)[-3:]
        affine = np.array([[0, 0, x, origin[0]], [0, y, 0, origin[1]], [z, 0, 0, origin[2]], [0, 0, 0, 1.0]])
    return Image(values, axes, spacing, affine, name="image")


def test_a_mask_of_a_part_of_the_image_says_so() -> None:
    image = make(np.zeros((4, 20, 30)), (2.0, 1.0, 1.0))
    half = make(np.ones((4, 20, 15), np.uint8), (2.0, 1.0, 1.0))
    labels, how = resample_mask(half, image)
    assert np.mean(labels) == 0.5
    assert "covers only 50% of the image" in how
    assert "covers" not in resample_mask(make(np.ones((4, 10, 15), np.uint8), (2.0, 2.0, 2.0), (0.5, 0.5, 0)), image)[1]


def test_a_coarse_mask_at_another_place_lands_where_it_lies_in_the_patient() -> None:
    image = make(np.zeros((4, 20, 30)), (2.0, 1.0, 1.0))
    coarse = np.zeros((3, 5, 6), np.uint16)
    coarse[1, 2, 3] = 700
    mask = make(coarse, (4.0, 2.0, 2.0), origin=(10.5, 4.5, -2.0))  # its voxels cover two of the image each
    labels, how = resample_mask(mask, image)
    assert labels.shape == (4, 20, 30)
    assert labels.dtype == np.uint16
    assert {tuple(index) for index in np.argwhere(labels == 700)} == {
        (z, y, x) for z in (1,) for y in (8, 9) for x in (16, 17)
    } | {(z, y, x) for z in (0, 2) for y in (8, 9) for x in (16, 17) if labels[z, y, x]}
    assert set(np.unique(labels)) == {0, 700}
    assert how.startswith("resampled from 3 x 5 x 6 to 4 x 20 x 30 voxels by nearest neighbour, by their places in the")
    assert "covers only 20% of the image" in how


def test_a_turned_mask_is_turned_back() -> None:
    values = np.zeros((3, 6, 8), np.uint8)
    values[1, 1, 2] = 1
    image = make(np.zeros((3, 6, 8)), (1.0, 1.0, 1.0))
    mask = make(values[:, ::-1], (1.0, 1.0, 1.0))
    assert mask.affine is not None
    mask.affine[1] = (0, -1.0, 0, 5.0)
    assert np.array_equal(resample_mask(mask, image)[0], values)


def test_masks_of_another_place_are_refused() -> None:
    image = make(np.zeros((6, 8)), (1.0, 1.0))
    mask = make(np.ones((6, 8), np.uint8), (1.0, 1.0), origin=(500, 0, 0))
    with pytest.raises(HeaderMismatchError, match="no labelled voxel of the mask lies in image"):
        resample_mask(mask, image)


@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_without_a_place_show_the_same_field_of_view(factor: int) -> None:
    small = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = make(np.zeros((3 * factor, 4 * factor)), None)
    labels, how = resample_mask(make(small, None), image)
    assert np.array_equal(labels, np.kron(small, np.ones((factor, factor), np.uint8)))
    assert how.endswith("taken to show the same field of view")
    back, _ = resample_mask(make(labels, None), make(np.zeros((3, 4)), None))
    assert np.array_equal(back, small)


@pytest.mark.parametrize("shape", [(3, 5), (6, 4), (2, 3, 4)])
def test_other_proportions_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GridMismatchError, match="they cannot show the same"):
        resample_mask(make(np.ones(shape, np.uint8), None), make(np.zeros((3, 4)), None))
