"""Tilted series: ITK opens the labels slice on slice on the series, or each slice at its place in the patient."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, ORIENTATIONS, noise, patient_position, write_series

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.gantry_tilt import compute_tilt_degrees, is_sheared, straighten, straighten_affine
from napari_medseg.core.image import Image

SHAPE = (5, 6, 7)
TILTED = (1, 0, 0, 0, np.cos(0.25), -np.sin(0.25))
SERIES = {
    "straight": (AXIAL, None),
    "table moves down": (AXIAL, (0, 0.6, 2.5)),
    "in both directions, from head to feet": (AXIAL, (0.3, -0.6, -2.5)),
    "prone": (ORIENTATIONS["prone"], (0, 0.6, 2.5)),
    "gantry tilt": (TILTED, (0, 0, 2.5)),
    "feet first": (ORIENTATIONS["feet first"], (0, -0.4, 2.5)),
    "sagittal": (ORIENTATIONS["sagittal"], (2, 0.5, 0)),
    "coronal": (ORIENTATIONS["coronal"], (0.4, 2, 0.1)),
}


def read_with_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("name", SERIES)
def test_itk_finds_labels_and_image_voxel_on_voxel_on_its_own_reading_of_the_series(
    tmp_path: Path, name: str, suffix: str
) -> None:
    orientation, step = SERIES[name]
    write_series(tmp_path / "series", noise(SHAPE), orientation, step)
    image, itk = formats.read(tmp_path / "series"), read_with_itk(tmp_path / "series")
    formats.write_labels(tmp_path / f"l{suffix}", image.pixels > 0, image)
    formats.write_image(tmp_path / f"i{suffix}", image)
    for file, expected in (("l", sitk.GetArrayFromImage(itk) > 0), ("i", sitk.GetArrayFromImage(itk))):
        written = sitk.ReadImage(str(tmp_path / f"{file}{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)
        np.testing.assert_allclose(written.GetSpacing(), itk.GetSpacing(), rtol=1e-5)
        np.testing.assert_allclose(written.GetOrigin(), itk.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(written.GetDirection(), itk.GetDirection(), atol=1e-5)
    # our own grid, and that of nibabel, is still the one in the patient
    back = formats.read(tmp_path / f"i{suffix}")
    np.testing.assert_array_equal(back.pixels, image.pixels)
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), image.pixels > 0)


@pytest.mark.parametrize("name", SERIES)
def test_straightened_slices_lie_in_the_patient(tmp_path: Path, name: str) -> None:
    orientation, step = SERIES[name]
    volume = noise(SHAPE)
    bright = (3, 2, 4)
    volume[bright] = 3000
    paths = write_series(tmp_path / "series", volume, orientation, step)
    image = formats.read(tmp_path / "series")
    labels = np.where(image.pixels == image.pixels.max(), 2, image.pixels > 0).astype(np.uint8)
    upright, (moved,) = straighten(image, [labels])
    assert not is_sheared(upright.affine)
    assert compute_tilt_degrees(upright) == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(np.bincount(moved.ravel())[1:], np.bincount(labels.ravel())[1:])
    assert upright.voxel_volume_ml == pytest.approx(image.voxel_volume_ml)
    formats.write_labels(tmp_path / "l.nii.gz", moved, upright)
    itk = sitk.ReadImage(str(tmp_path / "l.nii.gz"))
    (index,) = np.argwhere(sitk.GetArrayFromImage(itk) == 2)
    place = np.array(itk.TransformIndexToPhysicalPoint([int(value) for value in index[::-1]])) * [-1, -1, 1]
    step_mm = np.cross(orientation[:3], orientation[3:]) * 2.5 if step is None else np.asarray(step)
    true = patient_position(paths, bright, step_mm, orientation)
    assert np.abs(place - true).max() <= 0.401, "half a pixel of 0.8 mm at most"


def test_a_sheared_nifti_without_qform_gets_one_and_keeps_its_matrix(tmp_path: Path) -> None:
    affine = np.array([[-0.7, 0, 0.2, 31], [0, -0.8, -0.6, 12], [0, 0, 2.5, 1 / 3], [0, 0, 0, 1]])
    source = nib.Nifti1Image(noise(SHAPE).astype(np.int16), None)
    source.set_sform(affine, code=1)
    source.set_qform(None, code=0)
    nib.save(source, tmp_path / "a.nii")
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(tmp_path / "a.nii"))
    image = formats.read(tmp_path / "a.nii")
    formats.write_labels(tmp_path / "l.nii", image.pixels > 0, image)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nii"))).T, np.asarray(source.dataobj) > 0
    )
    assert nib.load(tmp_path / "l.nii").affine.tobytes() == nib.load(tmp_path / "a.nii").affine.tobytes()
    upright, (moved,) = straighten(image, [image.pixels > 0])
    assert moved.sum() == (image.pixels > 0).sum()
    assert not is_sheared(upright.affine)


def test_slices_that_are_no_rectangles_are_refused() -> None:
    affine = np.array([[0, 0.2, -0.7, 0], [-0.3, -0.8, 0, 0], [2.5, 0, 0, 0], [0, 0, 0, 1]])
    image = Image(np.zeros(SHAPE, np.int16), "ZYX", (2.5, 0.8, 0.7), affine, name="skewed")
    with pytest.raises(MedSegError, match="skewed in their plane"):
        straighten(image, [])


def test_a_straight_matrix_stays_as_it_is() -> None:
    affine = np.array([[0, 0, -0.7, 3], [0, -0.8, 0, 2], [2.5, 0, 0, 1], [0, 0, 0, 1.0]])
    assert not is_sheared(affine)
    assert not is_sheared(None)
    np.testing.assert_allclose(straighten_affine(affine, 0), affine)
