"""Labels out and in: exact values on the exact grid, and a refusal with the reason for any other."""

from dataclasses import replace
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
import tifffile
from dicom_files import ORIENTATIONS, noise, write_series
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

SHAPE = (4, 5, 6)
SUFFIXES = (".tif", ".tiff", ".nii", ".nii.gz")


def labels_of(image: Image, largest: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, largest + 1, image.spatial_shape)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_labels_of_a_series_come_back_from_every_format(tmp_path: Path, name: str, suffix: str) -> None:
    write_series(tmp_path / "series", noise(SHAPE), ORIENTATIONS[name])
    image = formats.read(tmp_path / "series")
    labels = labels_of(image)
    path = tmp_path / f"labels{suffix}"
    formats.write_labels(path, labels, image)
    np.testing.assert_array_equal(formats.read_labels(path, image), labels)
    # on its own, without the image, the file comes back in the same order and place
    np.testing.assert_array_equal(formats.read_labels(path), labels)
    alone = formats.read(path)
    np.testing.assert_allclose(alone.affine, image.affine, atol=1e-4)
    assert alone.has_same_grid(image)


@pytest.mark.parametrize("name", ["prone", "sagittal"])
def test_tiff_pages_of_a_series_are_its_slices(tmp_path: Path, name: str) -> None:
    volume = noise(SHAPE)
    write_series(tmp_path / "series", volume, ORIENTATIONS[name])
    image = formats.read(tmp_path / "series")
    formats.write_labels(tmp_path / "l.tif", image.pixels > 0, image)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "l.tif"), volume > 1024)


def test_nifti_of_a_series_lies_where_the_series_lies(tmp_path: Path) -> None:
    volume = noise(SHAPE)
    volume[1, 2, 3] = 3000
    write_series(tmp_path / "series", volume, ORIENTATIONS["oblique"])
    image = formats.read(tmp_path / "series")
    formats.write_image(tmp_path / "a.nii", image)
    written = nib.load(tmp_path / "a.nii")
    index = np.unravel_index(np.asarray(written.dataobj).argmax(), written.shape)
    canonical = np.unravel_index(image.pixels.argmax(), image.pixels.shape)
    np.testing.assert_allclose(written.affine @ [*index, 1], image.affine @ [*canonical, 1], atol=1e-4)
    assert int(written.header["sform_code"]) == int(written.header["qform_code"]) == 1
    np.testing.assert_allclose(written.header.get_qform(), written.header.get_sform(), atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_of_nifti_come_back_from_every_format(tmp_path: Path, suffix: str) -> None:
    affine = np.array([[0, 0, 2.5, 3], [-0.7, 0, 0, 2], [0, 0.8, 0, 1], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(noise(SHAPE).astype(np.int16), affine), tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    labels = labels_of(image)
    formats.write_labels(tmp_path / f"l{suffix}", labels, image)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), labels)


def test_the_project_copy_of_a_nifti_still_exports_its_matrix(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, 3], [-0.7, 0, 0, 2], [0, 0.8, 0, 1], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(noise(SHAPE).astype(np.int16), affine), tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    without_header = replace(image, storage=replace(image.storage, nifti_header=b""))
    formats.write_labels(tmp_path / "l.nii", labels_of(image), without_header)
    assert nib.load(tmp_path / "l.nii").affine.tobytes() == nib.load(tmp_path / "a.nii").affine.tobytes()
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii", image), labels_of(image))


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".png"])
@pytest.mark.parametrize(
    ("largest", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
def test_values_never_overflow(tmp_path: Path, largest: int, dtype: type, suffix: str) -> None:
    image = Image(np.zeros((3, 4), np.uint8), "YX", (1.0, 1.0), name="a")
    labels = np.full((3, 4), largest, np.int64)
    labels[0, 0] = 0
    path = tmp_path / f"l{suffix}"
    if suffix == ".png" and largest > 65535:
        with pytest.raises(MedSegError, match="PNG holds unsigned integers of 8 or 16 bits"):
            formats.write_labels(path, labels, image)
        return
    formats.write_labels(path, labels, image)
    back = formats.read_labels(path, image)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, labels)


def test_what_is_no_label_is_refused(tmp_path: Path) -> None:
    image = Image(np.zeros((3, 4), np.uint8), "YX", name="a")
    for labels, text in (
        (np.full((3, 4), -1), "negative value -1"),
        (np.full((3, 4), 0.5), "fractions such as 0.5"),
        (np.full((3, 4), 2**33), "the largest allowed value has 32 bits"),
        (np.zeros((4, 3), int), "labels are 4 x 3, but the image is 3 x 4"),
    ):
        with pytest.raises(MedSegError, match=text):
            formats.write_labels(tmp_path / "l.tif", labels, image)
    with pytest.raises(MedSegError, match=r"\.jpg is unknown; choose one of"):
        formats.write_labels(tmp_path / "l.jpg", np.zeros((3, 4), int), image)
    assert not list(tmp_path.iterdir())


def test_whole_numbers_that_are_stored_as_floats_are_labels(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((3, 4, 5), 2.0, np.float32), np.eye(4)), tmp_path / "l.nii")
    assert formats.read_labels(tmp_path / "l.nii").dtype == np.uint8


def test_another_grid_is_refused_with_the_reason(tmp_path: Path) -> None:
    image = Image(
        np.zeros(SHAPE, np.uint8), "ZYX", (2.5, 0.8, 0.7), np.diag([2.5, -0.8, -0.7, 1])[[2, 1, 0, 3]], name="mine"
    )
    labels = labels_of(image)
    others = {
        "3 x 5 x 6 voxels, but mine has 4 x 5 x 6": (labels[1:], image.replace_pixels(image.pixels[1:])),
        "voxels are 5 x 0.8 x 0.7 mm, not 2.5 x 0.8 x 0.7 mm": (labels, replace(image, spacing_mm=(5, 0.8, 0.7))),
        "its position or orientation in the patient differs": (
            labels,
            replace(image, affine=image.affine + np.eye(4)[3] * [0, 0, 0, 4]),
        ),
    }
    for text, (other_labels, other) in others.items():
        formats.write_labels(tmp_path / "l.tif", other_labels, other)
        with pytest.raises(MedSegError, match=text):
            formats.read_labels(tmp_path / "l.tif", image)


def test_mirrored_nifti_labels_are_turned_not_taken_as_they_lie(tmp_path: Path) -> None:
    data = noise(SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "ras.nii")
    image = formats.read(tmp_path / "ras.nii")
    mirrored = nib.as_closest_canonical(nib.Nifti1Image((data > 1000).astype(np.uint8), np.eye(4)))
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = SHAPE[0] - 1
    nib.save(nib.Nifti1Image(np.asarray(mirrored.dataobj)[::-1], flipped), tmp_path / "las.nii")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "las.nii", image), image.pixels > 1000)


def test_labels_drawn_in_another_program_lie_as_the_dicom_file_lies(tmp_path: Path) -> None:
    volume = noise(SHAPE)
    write_series(tmp_path / "series", volume, ORIENTATIONS["feet first"])
    image = formats.read(tmp_path / "series")
    tifffile.imwrite(tmp_path / "l.tif", (volume > 1024).astype(np.uint8), photometric="minisblack")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.tif", image), image.pixels > 0)


def test_our_own_canonical_labels_are_believed_before_the_image(tmp_path: Path) -> None:
    write_series(tmp_path / "series", noise(SHAPE), ORIENTATIONS["feet first"])
    image = formats.read(tmp_path / "series")
    labels = labels_of(image)
    formats.write_labels(tmp_path / "l.tif", labels, Image(labels, "ZYX", image.spacing_mm))
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.tif", image), labels)


def test_palette_and_black_and_white_labels_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (5, 6)).astype(np.uint8)
    indexed = Picture.fromarray(labels).convert("P")
    indexed.putdata(labels.ravel().tolist())
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "p.png"), labels)
    Picture.fromarray(labels > 0).save(tmp_path / "b.png")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "b.png"), labels > 0)


def test_colours_are_no_labels(tmp_path: Path) -> None:
    imagecodecs.imwrite(tmp_path / "l.png", np.random.default_rng(0).integers(0, 255, (5, 6, 3)).astype(np.uint8))
    with pytest.raises(MedSegError, match="colour image"):
        formats.read_labels(tmp_path / "l.png")


def test_a_drawing_may_be_jpeg_or_hold_fractions_and_lies_as_the_image_does(tmp_path: Path) -> None:
    drawn = np.zeros((16, 24), np.uint8)
    drawn[:8, :8] = 255
    turned = Picture.Exif()
    turned[0x0112] = 6
    Picture.fromarray(drawn // 2).save(tmp_path / "photo.jpg", exif=turned)
    image = formats.read(tmp_path / "photo.jpg")
    for name in ("with_exif.jpg", "without.jpeg"):
        Picture.fromarray(drawn).save(tmp_path / name, **({"exif": turned} if name == "with_exif.jpg" else {}))
        mask = formats.read_mask(tmp_path / name, image).pixels
        assert mask.shape == image.spatial_shape == (24, 16)
        assert ((mask > 127) == (image.pixels > 60)).all(), name
    tifffile.imwrite(tmp_path / "shares.tif", drawn / np.float32(510))
    assert formats.read_mask(tmp_path / "shares.tif", image).pixels.max() == 0.5
    with pytest.raises(MedSegError, match="labels are read from"):
        formats.read_labels(tmp_path / "without.jpeg", image)
    with pytest.raises(MedSegError, match="has 16 x 24 voxels, but photo has 4 x 4"):
        formats.read_mask(tmp_path / "without.jpeg", image.replace_pixels(image.pixels[:4, :4]))


def test_exported_files_carry_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "series", noise(SHAPE), PatientID="SECRET77", PatientName="SECRET77")
    image = formats.read(tmp_path / "series")
    for suffix in (".tif", ".nii"):
        formats.write_labels(tmp_path / f"l{suffix}", labels_of(image), image)
        assert b"SECRET77" not in (tmp_path / f"l{suffix}").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    image = Image(np.zeros((3, 4), np.uint8), "YX", name="a")
    formats.write_labels(tmp_path / "l.tif", np.ones((3, 4), int), image)
    before = (tmp_path / "l.tif").read_bytes()
    with pytest.raises(MedSegError):
        formats.write_labels(tmp_path / "l.tif", np.full((3, 4), -1), image)
    assert (tmp_path / "l.tif").read_bytes() == before
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MedSegError, match="cannot make the folder"):
        formats.write_labels(tmp_path / "file" / "l.tif", np.ones((3, 4), int), image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "l.tif"]
