"""NIfTI pairs (.hdr, .img) are read as the single file that they would be."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

AFFINE = np.array([[-0.7, 0.05, 0, 31], [0, 0.8, 0, -12], [0, 0, 2.5, 1 / 3], [0, 0, 0, 1]])
VALUES = np.arange(60, dtype=np.int16).reshape(5, 4, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pair_of_nibabel_is_the_image_of_its_single_file(tmp_path: Path, order: str) -> None:
    header = nib.Nifti1Header(endianness=order)
    nib.save(nib.Nifti1Pair(VALUES, AFFINE, header), tmp_path / "a.img")
    nib.save(nib.Nifti1Image(VALUES, AFFINE), tmp_path / "b.nii")
    single = formats.read(tmp_path / "b.nii")
    for name in ("a.hdr", "a.img"):
        pair = formats.read(tmp_path / name)
        np.testing.assert_array_equal(pair.pixels, single.pixels)
        np.testing.assert_array_equal(pair.affine, single.affine)
        assert pair.content_hash == single.content_hash
    assert [source.name for source in formats.find_images(tmp_path)] == ["a.hdr", "b.nii"]
    labels = (pair.pixels % 3).astype(np.uint8)
    formats.write_labels(tmp_path / "l.nii.gz", labels, pair)
    np.testing.assert_array_equal(nib.load(tmp_path / "l.nii.gz").affine, AFFINE.astype(np.float32))
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii.gz", single), labels)


def test_a_mask_as_a_pair_of_itk(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VALUES, np.diag([-0.7, -0.8, 2.5, 1])), tmp_path / "b.nii")
    image = formats.read(tmp_path / "b.nii")
    drawn = sitk.Cast(sitk.ReadImage(str(tmp_path / "b.nii")) > 30, sitk.sitkUInt8)
    sitk.WriteImage(drawn, str(tmp_path / "m.hdr"))
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "m.hdr", image), image.pixels > 30)


def test_half_a_pair_analyze_and_damage_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, AFFINE), tmp_path / "a.img")
    content = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").write_bytes(content[:-1])
    with pytest.raises(MedSegError, match="truncated"):
        formats.read(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(MedSegError, match=r"half of a pair, and a\.img is missing"):
        formats.read(tmp_path / "a.hdr")
    nib.save(nib.AnalyzeImage(VALUES, np.diag([1, 1, 1, 1])), tmp_path / "z.img")
    with pytest.raises(MedSegError, match=r"ANALYZE 7\.5 does not say"):
        formats.read(tmp_path / "z.img")
