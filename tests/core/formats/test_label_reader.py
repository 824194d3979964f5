"""Masks on photographs that are turned, and masks whose header says nothing, or something else than their image."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError
from napari_medseg.core.formats.label_reader import read_mask
from napari_medseg.core.formats.mask_placement import MaskOrientation, MaskPlacement
from napari_medseg.core.image import Image

SHOWN, STORED = MaskOrientation
ORIENTATION_TAG = 0x0112


def photograph(folder: Path, orientation: int, shape: tuple[int, int]) -> Image:
    tag = Picture.Exif()
    tag[ORIENTATION_TAG] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    Picture.fromarray(pixels).save(folder / "photo.jpg", exif=tag)
    return formats.read(folder / "photo.jpg")


def draw_upright(image: Image) -> NDArray[np.uint8]:
    drawn = np.zeros(image.spatial_shape, np.uint8)
    drawn[2:9, 3:12] = 1
    return drawn


def put(path: Path, pixels: NDArray[np.uint8], **options: object) -> Path:
    Picture.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(5, 9))
def test_the_size_tells_how_a_mask_lies_on_an_oblong_photograph(tmp_path: Path, orientation: int) -> None:
    image = photograph(tmp_path, orientation, (16, 24))
    drawn = draw_upright(image)
    for name, lying, how in (("shown", drawn, SHOWN), ("stored", image.storage.to_file(drawn), STORED)):
        found = read_mask(put(tmp_path / f"{name}.png", lying), image)
        np.testing.assert_array_equal(found.pixels, drawn)
        assert (found.orientation, found.is_guess, found.notes) == (how, False, ())
    with pytest.raises(GridMismatchError, match="fit photo only as it is shown"):
        read_mask(tmp_path / "shown.png", image, MaskPlacement(STORED))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_where_both_ways_fit_it_is_said_and_a_person_can_decide(tmp_path: Path, orientation: int) -> None:
    image = photograph(tmp_path, orientation, (24, 24))
    drawn = draw_upright(image)
    shown = put(tmp_path / "shown.png", drawn)
    stored = put(tmp_path / "stored.png", image.storage.to_file(drawn))
    found = read_mask(shown, image)
    np.testing.assert_array_equal(found.pixels, drawn)
    assert found.is_guess
    assert "add --mask-orientation stored" in found.notes[0]
    found = read_mask(stored, image, MaskPlacement(STORED))
    np.testing.assert_array_equal(found.pixels, drawn)
    assert not found.notes
    tag = Picture.Exif()
    tag[ORIENTATION_TAG] = orientation
    tagged = put(tmp_path / "tagged.png", image.storage.to_file(drawn), exif=tag)
    np.testing.assert_array_equal(read_mask(tagged, image).pixels, drawn)
    for suffix in (".png", ".tif"):
        formats.write_labels(tmp_path / f"ours{suffix}", drawn, image)
        found = read_mask(tmp_path / f"ours{suffix}", image)
        np.testing.assert_array_equal(found.pixels, drawn)
        assert not found.notes


@pytest.mark.parametrize("matrix", [np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]), np.diag([2.0, -3.0, 1.0, 1.0])])
def test_a_nifti_mask_of_a_picture_lies_in_file_order(tmp_path: Path, matrix: NDArray[np.float64]) -> None:
    image = formats.read(put(tmp_path / "a.png", np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)))
    drawn = (image.pixels % 7 == 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(drawn.T, matrix), tmp_path / "xy.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "xy.nii", image).pixels, drawn)
    nib.save(nib.Nifti1Image(drawn, matrix), tmp_path / "yx.nii")
    found = read_mask(tmp_path / "yx.nii", image)
    np.testing.assert_array_equal(found.pixels, drawn)
    assert found.notes == ("its first axis was taken as the rows, because only that fits",)


def test_a_square_array_of_python_may_have_its_rows_first(tmp_path: Path) -> None:
    image = formats.read(put(tmp_path / "a.png", np.zeros((16, 16), np.uint8)))
    drawn = draw_upright(image)
    nib.save(nib.Nifti1Image(drawn.T, np.eye(4)), tmp_path / "m.nii")
    found = read_mask(tmp_path / "m.nii", image)
    np.testing.assert_array_equal(found.pixels, drawn)
    assert "write the array transposed" in found.notes[0]


def test_a_stack_of_pages_takes_a_nifti_mask_in_file_order(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 6), np.uint8), photometric="minisblack")
    image = formats.read(tmp_path / "a.tif")
    labels = (np.random.default_rng(0).random((4, 5, 6)) > 0.5).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels.T, np.eye(4)), tmp_path / "m.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii", image).pixels, labels)


def volume(folder: Path) -> tuple[Image, NDArray[np.uint8], NDArray[np.bool_]]:
    """A NIfTI volume, its labels in file order, and the same labels in canonical order."""
    values = np.random.default_rng(1).integers(0, 2000, (5, 6, 7)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), folder / "a.nii")
    image = formats.read(folder / "a.nii")
    return image, (values > 1000).astype(np.uint8), image.pixels > 1000


def test_another_header_is_refused_unless_the_voxels_are_the_same(tmp_path: Path) -> None:
    image, in_file, wanted = volume(tmp_path)
    nib.save(nib.Nifti1Image(in_file, np.eye(4)), tmp_path / "m.nii")
    with pytest.raises(HeaderMismatchError, match="1 x 1 x 1 mm, not 3 x 2 x 2 mm"):
        read_mask(tmp_path / "m.nii", image)
    found = read_mask(tmp_path / "m.nii", image, MaskPlacement(same_voxels=True))
    np.testing.assert_array_equal(found.pixels, wanted)
    assert not found.notes
    tifffile.imwrite(tmp_path / "m.tif", in_file.T, photometric="minisblack")
    found = read_mask(tmp_path / "m.tif", image, MaskPlacement(same_voxels=True))
    np.testing.assert_array_equal(found.pixels, wanted)
    spaced = {"imagej": True, "resolution": (9, 9), "metadata": {"axes": "ZYX", "unit": "mm", "spacing": 1}}
    tifffile.imwrite(tmp_path / "spaced.tif", in_file.T, **spaced)
    with pytest.raises(HeaderMismatchError, match="mm, not 3 x 2 x 2 mm"):
        read_mask(tmp_path / "spaced.tif", image)
    found = read_mask(tmp_path / "spaced.tif", image, MaskPlacement(same_voxels=True))
    np.testing.assert_array_equal(found.pixels, wanted)


def test_a_mask_without_an_orientation_lies_as_the_file_of_its_image(tmp_path: Path) -> None:
    image, in_file, wanted = volume(tmp_path)
    plain = nib.Nifti1Image(in_file, None)
    nib.save(plain, tmp_path / "m.nii")
    found = read_mask(tmp_path / "m.nii", image)
    np.testing.assert_array_equal(found.pixels, wanted)
    tifffile.imwrite(tmp_path / "m.tif", in_file.T, photometric="minisblack")
    found = read_mask(tmp_path / "m.tif", image)
    assert found.is_guess, "a page of a TIFF may be shown from the other side"
    found = read_mask(tmp_path / "m.tif", image, MaskPlacement(STORED))
    np.testing.assert_array_equal(found.pixels, wanted)
