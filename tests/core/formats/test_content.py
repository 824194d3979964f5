"""What a file holds decides how it is read; what is no image is named, and not called a damaged one."""

import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

SUFFIXES = (".nii", ".nii.gz", ".tif", ".png", ".jpg", ".dcm")
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def make_nifti(kind: type[nib.Nifti1Image] = nib.Nifti1Image) -> bytes:
    return bytes(kind(VOXELS, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes())


def make_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.nii", make_nifti())
    return buffer.getvalue()


def make_picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [*SUFFIXES, "", ".gz", ".img"])
@pytest.mark.parametrize(
    "content",
    [
        make_nifti(),
        gzip.compress(make_nifti()),
        make_nifti(nib.Nifti2Image),
        gzip.compress(make_nifti(nib.Nifti2Image)),
        bytes(nib.Nifti1Image(VOXELS, np.eye(4), nib.Nifti1Header(endianness=">")).to_bytes()),
    ],
    ids=["plain", "gzip", "NIfTI-2", "NIfTI-2 in gzip", "big endian"],
)
def test_nifti_is_read_under_any_name(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    image = formats.read(path)
    assert sorted(image.pixels.ravel()) == list(range(VOXELS.size))
    assert image.name == "scan"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(make_zip(), "a ZIP archive", id="a ZIP archive"),
        pytest.param(gzip.compress(make_picture("PNG")), "a PNG picture in gzip", id="a PNG picture in gzip"),
        pytest.param(gzip.compress(bytes(128) + b"DICM"), "a DICOM file in gzip", id="a DICOM file in gzip"),
        pytest.param(gzip.compress(gzip.compress(make_nifti())), "a gzip file in gzip", id="a gzip file in gzip"),
        pytest.param(b"patient;slice;dice\n1;2;0.5\n", "a text file", id="a text file"),
        pytest.param(b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page", id="a web page"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a pointer of Git LFS",
            id="a pointer of Git LFS",
        ),
        pytest.param(b"%PDF-1.4\n" + bytes(400), "a PDF document", id="a PDF document"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + bytes(400), "an HDF5 file", id="an HDF5 file"),
        pytest.param(bytes(1000), "a file of zeros", id="a file of zeros"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    with pytest.raises(MedSegError, match=f"scan{suffix} is {kind}"):
        formats.read(path)
    if suffix != ".dcm":
        for read in (formats.read_labels, formats.read_mask_image):
            with pytest.raises(MedSegError, match=f"scan{suffix} is {kind}|labels are read from"):
                read(path)


def test_a_mask_may_have_another_suffix_of_its_own_kind_only(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(make_picture("PNG"))
    with pytest.raises(MedSegError, match="is a PNG picture; its name stands for another format"):
        formats.read_labels(path)
    path.write_bytes(b"")
    with pytest.raises(MedSegError, match=r"is empty \(0 bytes\)"):
        formats.read_labels(path)
    for kind in ("PNG", "BMP", "TIFF"):
        (tmp_path / "a.png").write_bytes(make_picture(kind))
        assert formats.read_labels(tmp_path / "a.png").shape == (8, 8)
    (tmp_path / "a.nii.gz").write_bytes(make_nifti())
    assert formats.read_labels(tmp_path / "a.nii.gz").size == VOXELS.size


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP"])
def test_other_pictures_are_read_under_the_name_of_a_picture(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(make_picture(kind))
    assert formats.read(tmp_path / "a.png").pixels.shape == (8, 8)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_damaged_gzip_is_still_called_damaged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan{suffix}"
    for content in (gzip.compress(make_nifti())[:40], gzip.compress(b""), b"\x1f\x8b\x08\0" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(MedSegError, match="cannot be read as NIfTI"):
            formats.read(path)
