"""A small file that would take much memory is refused before it takes it; honest files open, however large they are."""

import contextlib
import gzip
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.decoded_size import limit
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

MB = 10**6
FLOOR_BYTES = 4 * MB


@pytest.fixture(autouse=True)
def low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A floor of 4 MB, so that small files show what large ones do."""
    monkeypatch.setattr(limit, "ALWAYS_PLAUSIBLE_BYTES", FLOOR_BYTES)


def make_header(shape: tuple[int, ...], offset: int = 352) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = offset, b"n+1"
    return bytes(header.binaryblock)


def make_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def make_png(side: int, more: bytes = b"") -> bytes:
    start = make_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    pixels = make_chunk(b"IDAT", zlib.compress(bytes(8 * 9)))
    return b"\x89PNG\r\n\x1a\n" + start + more + pixels + make_chunk(b"IEND", b"")


def write_gzip(path: Path, head: bytes, n_zeros: int) -> Path:
    with gzip.open(path, "wb", 9) as file:
        file.write(head)
        for _ in range(n_zeros // MB):
            file.write(bytes(MB))
    return path


def a_nifti_header(folder: Path) -> Path:
    (folder / "a.nii").write_bytes(make_header((30000, 30000, 3)) + bytes(1000))
    return folder / "a.nii"


def a_gzip_of_zeros(folder: Path) -> Path:
    return write_gzip(folder / "a.nii.gz", make_header((512, 512, 80)) + bytes(4), 42 * MB)


def a_gzip_with_more_than_its_header_says(folder: Path) -> Path:
    return write_gzip(folder / "a.nii.gz", make_header((8, 8, 8)) + bytes(4), 40 * MB)


def a_gzip_with_a_gap_before_the_voxels(folder: Path) -> Path:
    return write_gzip(folder / "a.nii.gz", make_header((8, 8, 8), 39 * MB) + bytes(4), 40 * MB)


def a_gzip_with_a_large_extension(folder: Path) -> Path:
    extension = b"\1\0\0\0" + struct.pack("<ii", 38 * MB, 4)
    return write_gzip(folder / "a.nii.gz", make_header((8, 8, 8), 416) + extension, 40 * MB)


def a_deflated_tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", np.zeros((4000, 4000), np.uint8), compression="zlib")
    return folder / "a.tif"


def a_tiff_with_a_tile_beyond_the_image(folder: Path) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, np.zeros((4096, 4096), np.uint8), compression="zlib", tile=(4096, 4096))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite(16)
    return path


def a_tiff_with_a_larger_jpeg(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", np.zeros((64, 64), np.uint8), compression="jpeg")
    content = bytearray((folder / "a.tif").read_bytes())
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 65000, 65000)
    (folder / "a.tif").write_bytes(content)
    return folder / "a.tif"


def a_tiff_whose_jpeg_says_its_size_late(folder: Path) -> Path:
    path = a_tiff_with_a_larger_jpeg(folder)
    comments = (b"\xff\xfe" + struct.pack(">H", 65535) + bytes(65533)) * 2
    end = path.stat().st_size
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages.first
        start, length = page.dataoffsets[0], page.databytecounts[0]
        page.tags["StripOffsets"].overwrite(end)
        page.tags["StripByteCounts"].overwrite(length + len(comments))
    content = path.read_bytes()
    jpeg = content[start : start + length]
    path.write_bytes(content + jpeg[:2] + comments + jpeg[2:])
    return path


def a_png_header(folder: Path) -> Path:
    (folder / "a.png").write_bytes(make_png(60_000))
    return folder / "a.png"


def a_jpeg_header(folder: Path) -> Path:
    Picture.new("L", (64, 64)).save(folder / "a.jpg")
    content = bytearray((folder / "a.jpg").read_bytes())
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 65000, 65000)
    (folder / "a.jpg").write_bytes(content)
    return folder / "a.jpg"


FORGED = [
    a_nifti_header,
    a_gzip_of_zeros,
    a_gzip_with_more_than_its_header_says,
    a_gzip_with_a_gap_before_the_voxels,
    a_gzip_with_a_large_extension,
    a_deflated_tiff,
    a_tiff_with_a_tile_beyond_the_image,
    a_tiff_with_a_larger_jpeg,
    a_tiff_whose_jpeg_says_its_size_late,
    a_png_header,
    a_jpeg_header,
]


def measure_peak(action: Callable[[], object]) -> int:
    """Bytes that Python and numpy allocate at most, beside what they have."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", FORGED)
def test_a_forged_file_is_refused_and_takes_no_memory(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)

    def read() -> None:
        with pytest.raises(MedSegError, match=r"would take|larger|holds a compressed part of 65000 x 65000"):
            formats.read(path)

    assert measure_peak(read) < FLOOR_BYTES + 3 * MB  # the limit, a chunk, and the interpreter's own


@pytest.mark.parametrize("write", FORGED)
def test_masks_are_refused_alike(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(MedSegError, match=r"would take|holds a compressed part of 65000 x 65000"):
        formats.read_mask(path, None)


def test_a_strip_inflates_no_further_than_its_rows(tmp_path: Path) -> None:
    path = a_deflated_tiff(tmp_path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["ImageLength"].overwrite(1)

    def read() -> None:
        with contextlib.suppress(MedSegError):
            formats.read(path)

    assert measure_peak(read) < FLOOR_BYTES


@pytest.mark.parametrize("suffix", [".tif", ".nii", ".nii.gz"])
def test_labels_of_a_known_size_are_read_however_empty_and_whatever_memory_is_free(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, labels = tmp_path / f"a{suffix}", np.zeros((40, 512, 512), np.uint8)
    labels[3, 4, 5] = 7
    formats.write_labels(path, labels, Image(labels, "ZYX", (1.0, 1.0, 1.0)))
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 0)
    with pytest.raises(MedSegError, match=r"would take 10\.5 MB"):
        formats.read_labels(path)
    read = formats.read_labels(path, expected_shape=labels.shape)
    assert read.sum() == 7
    with pytest.raises(MedSegError, match=r"would take .* \(what the image .*Restore it from a backup"):
        formats.read_labels(path, expected_shape=(5, 512, 512))


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".png"])
def test_a_plane_of_a_known_size_is_read_as_labels_and_as_an_image(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plane = tmp_path / f"a{suffix}", np.zeros((2600, 2600), np.uint8)
    plane[3, 4] = 7
    formats.write_labels(path, plane, Image(plane, "YX", (1.0, 1.0)))
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 0)
    for read in (formats.read, formats.read_labels):
        with pytest.raises(MedSegError, match="would take"):
            read(path)
        with pytest.raises(MedSegError, match="belongs to another image"):
            read(path, expected_shape=(200, 200))
    assert formats.read(path, expected_shape=plane.shape).pixels.sum() == 7
    assert formats.read_labels(path, expected_shape=plane.shape).sum() == 7


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_and_profiles_of_a_png_do_not_inflate_without_end(kind: bytes, tmp_path: Path) -> None:
    start = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind]
    (tmp_path / "a.png").write_bytes(make_png(8, make_chunk(kind, start + zlib.compress(bytes(40 * MB), 9))))

    def read() -> None:
        with pytest.raises(MedSegError, match="too large"):
            formats.read(tmp_path / "a.png")

    assert measure_peak(read) < FLOOR_BYTES


def test_gzip_in_gzip_is_no_image(tmp_path: Path) -> None:
    path = a_gzip_of_zeros(tmp_path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(MedSegError, match="a gzip file in gzip"):
        formats.read(path)


def test_a_wrong_length_at_the_end_of_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 2**31))
    with pytest.raises(MedSegError, match="Incorrect length"):
        formats.read(path)


def test_what_a_person_allows_is_read(tmp_path: Path) -> None:
    path = a_deflated_tiff(tmp_path)
    with pytest.raises(MedSegError, match="--max-memory 16MB"):
        formats.read(path)
    with allow_memory(16 * MB):
        assert formats.read(path).pixels.shape == (4000, 4000)
    with allow_memory(MB), pytest.raises(MedSegError, match="as you set it"):
        formats.read(path)


def test_nearly_empty_files_pass_below_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real floor
    path = tmp_path / "black.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((256, 256, 300), np.int16), np.eye(4)), path)
    assert path.stat().st_size * limit.MAX_RATIO < 256 * 256 * 300 * 2
    assert formats.read(path).pixels.shape == (300, 256, 256)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_above_the_limit_of_pillow_open(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Picture, "MAX_IMAGE_PIXELS", 100)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 60, 3)).astype(np.uint8)
    Picture.fromarray(pixels).save(tmp_path / name)
    assert formats.read(tmp_path / name).pixels.shape == (50, 60, 3)
    assert formats.read_mask(_save_grey(tmp_path / f"mask-{name}"), None).pixels.shape == (50, 60)


def _save_grey(path: Path) -> Path:
    Picture.fromarray(np.full((50, 60), 255, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_an_archive_whose_header_is_a_bomb_is_refused(packing: int, tmp_path: Path) -> None:
    path, long = tmp_path / "a.npz", 40 * MB
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x02\x00" + long.to_bytes(4, "little") + b" " * long)

    def read() -> None:
        with pytest.raises(MedSegError, match=r"would take 40 MB|does not write"):
            formats.read(path)

    assert measure_peak(read) < FLOOR_BYTES
