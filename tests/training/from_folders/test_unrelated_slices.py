"""One file with slices of many patients, as medicalsegmentation.com has it."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from dicom_files import AXIAL, dataset
from PIL import Image as Picture

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.from_folders.folder_data import FolderData, check_folder_data, choose_cases
from training.from_folders.mask_pairing import read_image_and_labels
from training.from_folders.mask_values import MaskEncoding
from training.from_folders.unrelated_slices import KEPT_WARNINGS, check_slices

SHAPE, N_SLICES = (40, 32), 10


@pytest.fixture
def stack(tmp_path: Path) -> tuple[FolderData, np.ndarray, np.ndarray]:
    """Stack and mask in one folder, values 7 and 9, 255 unlabelled; with pixels (z, y, x) and values of the mask."""
    rng = np.random.default_rng(0)
    values = np.zeros((N_SLICES, *SHAPE), np.uint8)
    for number in range(N_SLICES):
        values[number, 5:15, 4 + number : 14 + number] = 7
        values[number, 20:26, 6:12] = 9
    values[:, -4:] = 255
    pixels = (rng.normal(-800, 60, values.shape) + 700 * (values > 0)).astype(np.int16)
    (tmp_path / "data").mkdir()
    to_file = np.diag([-0.7, -0.7, 1.0, 1.0])  # x to the left, y to the back, as in memory
    for name, array in (("tr_im", pixels), ("tr_mask", values)):
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), to_file), tmp_path / "data" / f"{name}.nii.gz")
    task = make_custom_task("lesions", ["ggo", "consolidation"], kind="ct")
    encoding = MaskEncoding(task, values=((7,), (9,)), ignore=255)
    return FolderData("lesions", tmp_path / "data", tmp_path / "data", encoding), pixels, values


def test_each_slice_of_a_stack_is_an_image_that_can_be_held_out(
    stack: tuple[FolderData, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, pixels, values = stack
    cut, pairs = check_slices(data, tmp_path / "slices")
    assert [case.name for case in pairs.cases] == [f"tr_im_{number:03}" for number in range(N_SLICES)]
    assert pairs.blocking_mismatches == ()
    _, split = choose_cases(cut, pairs.cases)
    assert (len(split.hold_out), len(split.validate)) == (2, 1)
    for number in (0, 7):
        image, labels = read_image_and_labels(pairs.cases[number], cut.encoding)
        assert (image.axes, image.units, image.spacing_mm) == ("YX", "HU", pytest.approx((0.7, 0.7)))
        assert np.array_equal(image.pixels, pixels[number])
        meant = np.select([values[number] == 7, values[number] == 9, values[number] == 255], [1, 2, 255])
        assert np.array_equal(labels, meant)


def test_what_does_not_fit_is_listed_and_planes_are_taken_as_they_are(
    stack: tuple[FolderData, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, pixels, values = stack
    plane = nib.Nifti1Image(pixels[0].T[..., None], np.eye(4))
    nib.save(plane, data.images / "single.nii.gz")
    nib.save(nib.Nifti1Image(values[0].T[..., None], np.eye(4)), data.images / "single_mask.nii.gz")
    nib.save(plane, data.images / "lonely.nii.gz")
    _, pairs = check_slices(data, tmp_path / "slices")
    assert [(one.kind, one.name) for one in pairs.blocking_mismatches] == [("missing mask", "lonely")]
    assert [case.name for case in pairs.cases][:2] == ["single", "tr_im_000"]
    for name, array in (("TR_IM_003", pixels), ("TR_IM_003_mask", values)):
        nib.save(nib.Nifti1Image(array[0].T[..., None], np.eye(4)), data.images / f"{name}.nii.gz")
    with pytest.raises(MedSegError, match="TR_IM_003 and tr_im both have an image tr_im_003"):
        check_slices(data, tmp_path / "doubled")
    for name in ("TR_IM_003", "TR_IM_003_mask"):
        (data.images / f"{name}.nii.gz").unlink()
    for name in ("tr_mask", "single_mask"):
        nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), data.images / f"{name}.nii.gz")
    with pytest.raises(MedSegError, match="no stack fits"):
        check_slices(data, tmp_path / "others")


def test_planes_keep_the_patient_of_their_file_and_what_was_assumed_is_told(
    stack: tuple[FolderData, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data, pixels, values = stack
    for number in (0, 1):
        plane = dataset(pixels[number], (0, 0, number), AXIAL)
        plane.PatientID = "P7"
        plane.save_as(data.images / f"x{number}.dcm", enforce_file_format=True)
        Picture.fromarray(np.where(values[number] == 7, 255, 0).astype(np.uint8)).save(
            data.images / f"x{number}_mask.jpg"
        )
    task = make_custom_task("lesions", ["lesion"], kind="ct")
    tifffile.imwrite(data.images / "tr_mask.tif", np.where(values == 7, 255, 0).astype(np.uint8))
    (data.images / "tr_mask.nii.gz").unlink()
    binary = replace(data, encoding=MaskEncoding(task, binarise=True))
    told = [one for one in check_folder_data(binary).mismatches if one.kind in KEPT_WARNINGS]
    cut, pairs = check_slices(binary, tmp_path / "slices")
    assert {case.name: case.group for case in pairs.cases if case.name in ("x0", "x1", "tr_im_003")} == {
        "x0": "P7",
        "x1": "P7",
        "tr_im_003": "tr_im_003",
    }
    assert {one.name for one in told} == {"x0", "x1"}
    assert set(told) <= set(pairs.mismatches)
    _, split = choose_cases(cut, pairs.cases)
    assert split.get_role("x0") is split.get_role("x1")
    assert check_slices(replace(binary, group_by="{patient}"), tmp_path / "more")[1].cases[-1].group == "x1"
