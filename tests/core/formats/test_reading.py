"""Dispatch, folders, groups, and that hostile bytes are never more than a readable error."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from dicom_files import noise, write_series, write_slice
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.uid import RLELossless

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

SAMPLES = Path(formats.__file__).parents[2] / "samples"


def a_dicom(folder: Path) -> Path:
    return write_slice(folder / "a.dcm", noise((12, 10)))


def a_compressed_dicom(folder: Path) -> Path:
    path = a_dicom(folder)
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path, enforce_file_format=True)
    return path


def a_nifti(folder: Path) -> Path:
    nib.save(nib.Nifti1Image(noise((5, 6, 7)), np.eye(4)), folder / "a.nii")
    return folder / "a.nii"


def a_packed_nifti(folder: Path) -> Path:
    nib.save(nib.Nifti1Image(noise((5, 6, 7)), np.eye(4)), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def a_tiff(folder: Path) -> Path:
    formats.write_image(folder / "a.tif", Image(noise((3, 6, 7)), "ZYX", (1.0, 2.0, 3.0)))
    return folder / "a.tif"


def an_ome_tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.ome.tif", noise((3, 6, 7)), ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})
    return folder / "a.ome.tif"


def a_png(folder: Path) -> Path:
    formats.write_image(folder / "a.png", Image(noise((12, 10)), "YX", (1.0, 2.0)))
    return folder / "a.png"


def a_jpeg(folder: Path) -> Path:
    Picture.fromarray(noise((32, 40)).astype(np.uint8)).save(folder / "a.jpg")
    return folder / "a.jpg"


MAKERS = [a_dicom, a_compressed_dicom, a_nifti, a_packed_nifti, a_tiff, an_ome_tiff, a_png, a_jpeg]


def read_or_refuse(path: Path) -> str:
    """Text of the refusal, empty where the file was read; any other error is a bug and passes through."""
    try:
        image = formats.read(path)
    except MedSegError as error:
        return str(error)
    assert image.pixels.shape == (*image.spatial_shape, *image.pixels.shape[len(image.spatial_shape) :])
    assert image.pixels.size
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MAKERS)
def test_truncated_files_are_readable_errors(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    for n in range(40):
        path.write_bytes(whole[: len(whole) * n // 40])
        read_or_refuse(path)
        formats.find_images(tmp_path)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(MedSegError, match=path.name):
        formats.read(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MAKERS)
def test_damaged_bytes_are_readable_errors(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    assert read_or_refuse(path) == ""
    random = np.random.default_rng(0)
    refusals = []
    for _ in range(150):
        damaged = whole.copy()
        places = random.integers(0, min(len(damaged), int(random.choice([200, 1500, 10**9]))), random.integers(1, 12))
        damaged[places] = random.integers(0, 256, places.size)
        path.write_bytes(damaged.tobytes())
        refusals.append(read_or_refuse(path))
    refused = [text for text in refusals if text]
    assert len(refused) >= 5, "damage is noticed"
    assert all(path.name.partition(".")[0] in text for text in refused), "the text names the image"


@pytest.mark.parametrize("suffix", [*formats.READERS, ".xyz", ""])
def test_what_is_no_image_is_refused(tmp_path: Path, suffix: str) -> None:
    for content in (b"", b"just a text, no image at all\n" * 40, gzip.compress(b"a text " * 400)):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(MedSegError, match=rf"a\{suffix}" if suffix else "a "):
            formats.read(path)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"gone\.png does not exist"):
        formats.read(tmp_path / "gone.png")
    (gone,) = formats.find_images(tmp_path / "gone")
    with pytest.raises(MedSegError, match="does not exist"):
        formats.read_source(gone)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(MedSegError, match="holds no image; supported formats are DICOM"):
        formats.read(tmp_path)
    with pytest.raises(MedSegError, match="no DICOM files were given"):
        formats.read_series([])


def test_zero_size_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((0, 5), np.uint8), photometric="minisblack")
    nib.save(nib.Nifti1Image(np.zeros((0, 5, 5), np.int16), np.eye(4)), tmp_path / "a.nii")
    write_slice(tmp_path / "a.dcm", np.zeros((0, 5), np.uint16))
    for name in ("a.tif", "a.nii", "a.dcm"):
        with pytest.raises(MedSegError, match=name):
            formats.read(tmp_path / name)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MedSegError, match="no pickle is loaded"):
        formats.read(tmp_path / "a.npy")


def test_can_read_is_by_suffix_magic_or_folder(tmp_path: Path) -> None:
    for make in MAKERS:
        assert formats.can_read(make(tmp_path))
    assert formats.can_read(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "table.csv").write_text("a,b")
    assert not formats.can_read(tmp_path / "x")
    for make in (a_tiff, a_png, a_jpeg):
        assert formats.can_read(make(tmp_path).rename(tmp_path / "x" / f"{make.__name__}.scan")), "by its first bytes"
    assert not formats.can_read(tmp_path / "table.csv")
    assert not formats.can_read(tmp_path / "no_suffix_and_not_there")


@pytest.mark.parametrize("make", MAKERS)
def test_names_in_capitals_spaces_and_other_scripts(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    image = formats.read(path)
    renamed = path.rename(tmp_path / f"Müller 肺 {path.name.upper()}")
    other = formats.read(renamed)
    assert other.content_hash == image.content_hash
    for suffix in (".TIF", ".NII.GZ") + ((".PNG",) if other.axes == "YX" else ()):
        labels = np.ones(other.spatial_shape, int)
        formats.write_labels(tmp_path / f"Ö 1{suffix}", labels, other)
        np.testing.assert_array_equal(formats.read_labels(tmp_path / f"Ö 1{suffix}", other), labels)


def test_folder_with_one_of_each_kind(tmp_path: Path) -> None:
    a_png(tmp_path)
    a_packed_nifti(tmp_path)
    (tmp_path / "index.csv").write_text("name\n")
    (tmp_path / ".hidden.png").write_bytes(b"")
    write_series(tmp_path / "series", noise((3, 4, 4)))
    (tmp_path / "labels").mkdir()
    a_png(tmp_path / "labels")
    sources = formats.find_images(tmp_path)
    assert [source.name for source in sources] == ["a.nii.gz", "a.png", "P7 phantom"]
    assert [formats.read_source(source).axes for source in sources] == ["ZYX", "YX", "ZYX"]
    with pytest.raises(MedSegError, match=r"3 images: a\.nii\.gz, a\.png, P7 phantom \(3 files\)"):
        formats.read(tmp_path)
    assert len(formats.find_images(tmp_path / "labels")) == 1


def test_a_file_named_by_hand_is_always_offered(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    sources = formats.find_images(tmp_path / "notes.txt")
    assert [source.name for source in sources] == ["notes.txt"]


def test_bundled_ct_reads_as_a_volume_and_slice_by_slice() -> None:
    image = formats.read(SAMPLES / "ct_a0001" / "dicom")
    assert image.pixels.shape == (16, 512, 512)
    assert image.spacing_mm == pytest.approx((15.0, 0.841796875, 0.841796875))
    assert (image.units, image.modality, image.group) == ("HU", "CT", "Lung_Dx-A0001")
    for n, path in enumerate(sorted((SAMPLES / "ct_a0001" / "dicom").iterdir())):
        one = formats.read(path)
        np.testing.assert_array_equal(one.pixels, image.pixels[n])
        labels = formats.read_labels(SAMPLES / "ct_a0001" / "labels" / f"{path.stem}.tif", one)
        assert set(np.unique(labels)) == {0, 1, 2}
        right, left = (np.argwhere(labels == side).mean(axis=0)[1] for side in (1, 2))
        assert right < left
        assert one.pixels[labels > 0].mean() < -500 < one.pixels[256, 256]


def test_bundled_xrays_read_and_have_labels_on_the_right_side() -> None:
    images = formats.find_images(SAMPLES / "xray")
    assert len(images) == 24
    for source in images:
        image = formats.read_source(source)
        labels = formats.read_labels(SAMPLES / "xray" / "labels" / f"{source.paths[0].stem}.png", image)
        assert (image.axes, image.units, image.pixels.dtype) == ("YX", "grey", np.uint8)
        right, left = (np.argwhere(labels == side).mean(axis=0)[1] for side in (1, 2))
        assert right < left


def test_samples_are_small_and_attributed() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 12e6
    for folder in ("ct_a0001", "xray"):
        text = (SAMPLES / folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
        assert "CC BY 4.0" in text
        assert "https://doi.org/" in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii.gz", "a.tif"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    for read in (formats.read, lambda path: formats.read_mask(path, None)):
        if read is formats.read or not name.endswith(".dcm"):
            with pytest.raises(MedSegError, match=f"{name} is neither a file nor a folder"):
                read(tmp_path / name)


def test_postscript_under_the_name_of_a_picture_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Picture.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    path = (tmp_path / "a.eps").rename(tmp_path / "a.png")
    ghostscript = tmp_path / "gs"
    ghostscript.write_text("#!/bin/sh\ntouch " + str(tmp_path / "ran") + "\nexit 1\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(MedSegError, match=r"a\.png is a text file") as caught:
        formats.read(path)
    assert not (tmp_path / "ran").exists()
    assert str(tmp_path) not in str(caught.value)
