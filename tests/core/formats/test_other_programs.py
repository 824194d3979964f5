"""What other programs see in the files that we write: SimpleITK, nibabel, Pillow and tifffile read them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from dicom_files import ORIENTATIONS, noise, write_slice
from PIL import Image as Picture
from PIL import ImageOps

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

FILMS = {
    "radiological": ["L", "F"],
    "mirrored": ["R", "F"],
    "upside down": ["L", "H"],
    "on its side": ["F", "L"],
    "on its side, mirrored": ["H", "R"],
    "lateral": ["A", "F"],
    "unknown": None,
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".png"])
@pytest.mark.parametrize("name", FILMS)
def test_labels_of_a_film_lie_on_it_in_every_other_program(tmp_path: Path, name: str, suffix: str) -> None:
    stored = noise((9, 12))
    changes = {} if FILMS[name] is None else {"PatientOrientation": FILMS[name]}
    path = write_slice(tmp_path / "film.dcm", stored, None, Modality="DX", **changes)
    image = formats.read(path)
    labels = (image.pixels > 0).astype(np.uint8)
    formats.write_labels(tmp_path / f"l{suffix}", labels, image)
    film, seen = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / f"l{suffix}"))
    np.testing.assert_array_equal(np.squeeze(sitk.GetArrayFromImage(seen)), stored > 1024)
    if suffix != ".png":  # PNG readers of ITK know no spacing
        np.testing.assert_allclose(seen.GetSpacing()[:2], film.GetSpacing()[:2], rtol=1e-6)
    np.testing.assert_array_equal(seen.GetDirection(), np.eye(len(seen.GetSize())).ravel())
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), labels)
    if suffix.startswith(".nii"):
        header = nib.load(tmp_path / f"l{suffix}").header
        assert int(header["qform_code"]) == int(header["sform_code"]) == 0


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_a_turned_photograph_are_turned_like_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(np.uint8)
    exif = Picture.Exif()
    exif[0x0112] = orientation
    Picture.fromarray(drawn * 200).save(tmp_path / "photo.png", exif=exif)
    image = formats.read(tmp_path / "photo.png")
    labels = (image.pixels > 100).astype(np.uint8)
    formats.write_labels(tmp_path / f"l{suffix}", labels, image)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), labels)
    stored = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"l{suffix}"))))
    np.testing.assert_array_equal(stored, drawn)  # ITK turns neither photograph nor labels
    if suffix == ".png":
        photo, mask = (ImageOps.exif_transpose(Picture.open(tmp_path / name)) for name in ("photo.png", "l.png"))
        np.testing.assert_array_equal(np.asarray(photo) > 100, np.asarray(mask) > 0)
        # another program drops our text but keeps the tag: turned once, not twice
        Picture.open(tmp_path / "l.png").save(tmp_path / "again.png", exif=exif)
        np.testing.assert_array_equal(formats.read_labels(tmp_path / "again.png", image), labels)


def test_labels_of_a_dicom_slice_carry_no_exif_tag(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", noise((5, 6)), orientation=ORIENTATIONS["prone"])
    image = formats.read(tmp_path / "a.dcm")
    formats.write_labels(tmp_path / "l.png", image.pixels > 0, image)
    assert Picture.open(tmp_path / "l.png").getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_itk_and_imagej_read_the_pixel_size_of_label_tiffs(tmp_path: Path, dtype: type) -> None:
    for shape, spacing in (((5, 6), (0.8, 0.00025)), ((4, 5, 6), (2.5, 0.8, 0.7))):
        image = Image(np.zeros(shape, np.uint8), "ZYX"[-len(shape) :], spacing)
        formats.write_labels(tmp_path / "l.tif", np.full(shape, np.iinfo(dtype).max, np.int64), image)
        seen = sitk.ReadImage(str(tmp_path / "l.tif"))
        assert seen.GetSpacing()[:2] == pytest.approx(spacing[:-3:-1], rel=1e-5)
        assert formats.read(tmp_path / "l.tif").spacing_mm == pytest.approx(spacing)
        with tifffile.TiffFile(tmp_path / "l.tif") as tiff:
            if dtype != np.uint32:
                x, unit = tiff.pages[0].tags["XResolution"].value, tiff.imagej_metadata["unit"]
                assert unit == "cm"
                assert 10 * x[1] / x[0] == pytest.approx(spacing[-1], rel=1e-5)


def test_a_picture_as_nifti_comes_back_upright(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    Picture.fromarray(colours).save(tmp_path / "a.png")
    image = formats.read(tmp_path / "a.png")
    formats.write_image(tmp_path / "a.nii.gz", image)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.nii.gz").pixels, colours)
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))
    np.testing.assert_array_equal(np.squeeze(seen), colours)


def test_labels_drawn_in_itk_snap_on_a_picture_are_read_in_its_order(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.uint8)
    Picture.fromarray(drawn).save(tmp_path / "a.png")
    sitk.WriteImage(sitk.GetImageFromArray(drawn[np.newaxis]), str(tmp_path / "l.nii.gz"))
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii.gz", formats.read(tmp_path / "a.png")), drawn)


def test_a_very_wide_plane_is_nifti_2(tmp_path: Path) -> None:
    image = Image(np.zeros((2, 40_000), np.uint8), "YX", name="slide")
    formats.write_labels(tmp_path / "l.nii.gz", image.pixels, image)
    assert isinstance(nib.load(tmp_path / "l.nii.gz"), nib.Nifti2Image)
    assert formats.read_labels(tmp_path / "l.nii.gz", image).shape == (2, 40_000)


def test_remarks_of_a_nifti_source_are_not_copied(tmp_path: Path) -> None:
    source = nib.Nifti1Image(noise((4, 5, 6)).astype(np.int16), np.diag([-1.0, -1, 1, 1]))
    for field in ("descrip", "db_name", "aux_file"):
        source.header[field] = b"SECRET77"
    nib.save(source, tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    formats.write_labels(tmp_path / "l.nii", image.pixels > 0, image)
    assert b"SECRET77" not in (tmp_path / "l.nii").read_bytes()


def test_a_long_name_leaves_room_for_the_temporary_file(tmp_path: Path) -> None:
    image = Image(np.zeros((3, 4), np.uint8), "YX", name="a")
    for suffix in (".tif", ".nii.gz", ".png"):
        path = tmp_path / ("x" * (255 - len(suffix)) + suffix)
        formats.write_labels(path, image.pixels, image)
        assert formats.read_labels(path).shape == (3, 4)
    with pytest.raises(MedSegError, match=r"cannot write .*too long.* Choose a shorter name"):
        formats.write_labels(tmp_path / ("肺" * 100 + ".tif"), image.pixels, image)
