"""Image and Storage: pixels never part from their geometry, and every way in has an exact way back."""

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image, StorageLayout

VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_storage_goes_there_and_back(permutation: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    storage = StorageLayout(permutation, flips)
    canonical = storage.to_canonical(VOLUME)
    assert canonical.shape == tuple(VOLUME.shape[axis] for axis in permutation)
    np.testing.assert_array_equal(storage.to_file(canonical), VOLUME)
    np.testing.assert_array_equal(storage.to_canonical(storage.to_file(canonical)), canonical)


def test_storage_means_what_it_says() -> None:
    canonical = StorageLayout((2, 0, 1), (True, False, False)).to_canonical(VOLUME)
    for z, y, x in np.ndindex(canonical.shape):
        assert canonical[z, y, x] == VOLUME[y, x, 3 - z]


def test_image_knows_its_shape_and_voxel() -> None:
    volume = Image(VOLUME, "ZYX", (5.0, 0.5, 0.4))
    assert volume.spatial_shape == (2, 3, 4)
    assert volume.voxel_volume_ml == pytest.approx(0.001)
    assert volume.pixel_area_mm2 == pytest.approx(0.2)
    colour = Image(np.zeros((3, 4, 3), np.uint8), "YXC", (0.5, 0.4))
    assert (colour.spatial_axes, colour.spatial_shape) == ("YX", (3, 4))
    assert colour.voxel_volume_ml is None
    unknown = Image(VOLUME, "ZYX")
    assert (unknown.voxel_volume_ml, unknown.pixel_area_mm2) == (None, None)


def test_axes_and_spacing_must_fit() -> None:
    with pytest.raises(MedSegError, match="case 3 has 3 dimensions, but its axes are 'YX'"):
        Image(VOLUME, "YX", name="case 3")
    with pytest.raises(MedSegError, match=r"one number in millimetres for each spatial axis"):
        Image(VOLUME, "ZYX", (1.0, 1.0))


def test_content_hash_is_of_content_not_of_files() -> None:
    image = Image(VOLUME, "ZYX", (1.0, 2.0, 3.0), name="a", group="p")
    same = [
        replace(image, name="b", group="q"),
        replace(image, spacing_mm=(1.0, 2.0, 3.00000001)),
        replace(image, spacing_mm=(1, 2, 3)),
        replace(image, spacing_mm=tuple(np.array([1.0, 2.0, 3.0]))),
        image.replace_pixels(np.asfortranarray(VOLUME)),
        image.replace_pixels(VOLUME.astype(">i2")),
        image.replace_pixels(np.asfortranarray(VOLUME.astype(">i2"))),
    ]
    assert {other.content_hash for other in same} == {image.content_hash}
    changed = VOLUME.copy()
    changed[0, 0, 0] += 1
    others = [
        image.replace_pixels(changed),
        image.replace_pixels(VOLUME.astype(np.int32)),
        replace(image, spacing_mm=(1.0, 2.0, 3.1)),
        replace(image, spacing_mm=None),
        image.replace_pixels(VOLUME[:, ::-1]),
    ]
    assert len({image.content_hash, *(other.content_hash for other in others)}) == 6


def test_content_hash_is_that_of_old_projects() -> None:
    image = Image(VOLUME.astype("<i2"), "ZYX", (1.0, 2.0, 3.0))
    assert image.content_hash == "7dc3ea9cd9bad5672f599a33d3315019c35c8e2d952dc9275594dacf956f44b4"
    floats = Image(VOLUME.astype(np.float32), "ZYX")
    assert floats.content_hash == "e843d0a875dc26a6f9ff34abee9e953fa55daee1666582b33e043984bf549928"


def test_an_old_hash_of_big_endian_pixels_is_adopted() -> None:
    """Earlier versions hashed pixels in the byte order of the file."""
    image = Image(VOLUME, "ZYX", (1.0, 2.0, 3.0))
    old = hashlib.sha256(b"ZYX|(2, 3, 4)|>i2|[1.0, 2.0, 3.0]" + VOLUME.astype(">i2").tobytes()).hexdigest()
    assert image.content_hash != old
    assert image.adopt_content_hash(old).content_hash == old
    assert image.adopt_content_hash("another").content_hash == image.content_hash
    changed = image.replace_pixels(VOLUME + 1)
    assert changed.adopt_content_hash(old).content_hash == changed.content_hash


def test_same_grid_is_shape_spacing_and_place() -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    image = Image(VOLUME, "ZYX", (1.0, 2.0, 3.0), affine)
    assert image.has_same_grid(image.replace_pixels(VOLUME * 0))
    assert image.has_same_grid(replace(image, affine=None, spacing_mm=None))
    assert image.has_same_grid(replace(image, affine=affine + 1e-5))
    assert not image.has_same_grid(replace(image, spacing_mm=(1.0, 2.0, 3.1)))
    assert not image.has_same_grid(replace(image, affine=affine * [[-1], [1], [1], [1]]))
    assert not image.has_same_grid(Image(VOLUME[:1], "ZYX", (1.0, 2.0, 3.0)))
    assert not image.has_same_grid(Image(VOLUME[0], "YX", (2.0, 3.0)))
