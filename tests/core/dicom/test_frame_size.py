"""What a DICOM file will take is known from its header, whatever its transfer syntax, and of a series as a whole."""

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicom_files import AXIAL, dataset, noise, write_series
from pydicom import dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from napari_medseg.core import formats
from napari_medseg.core.decoded_size import limit
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.dicom.identity import read_series_identity
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

MB = 10**6
FLOOR_BYTES = 4 * MB


@pytest.fixture(autouse=True)
def low_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A floor of 4 MB, so that small files show what large ones do."""
    monkeypatch.setattr(limit, "ALWAYS_PLAUSIBLE_BYTES", FLOOR_BYTES)


def write(folder: Path, **changes: Any) -> Path:
    dcmwrite(folder / "a.dcm", dataset(noise((8, 8)), (0, 0, 0), AXIAL, **changes), enforce_file_format=True)
    return folder / "a.dcm"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 60000, "Columns": 60000}, r"would take 7\.2 GB"),
        ({"NumberOfFrames": 2_000_000}, r"would take 2\.05 GB"),
        ({"Rows": 1, "Columns": 1, "NumberOfFrames": 2_000_000}, r"would take 2\.05 GB"),
        ({"NumberOfFrames": -1}, "declares -1 frames; one or more are expected"),
        ({"Rows": 1, "Columns": 1, "NumberOfFrames": 3000}, "declares 3,000 frames, but has only"),
        ({"Rows": 2000, "Columns": 2000, "SamplesPerPixel": 3}, "would take 24 MB"),
        ({"Rows": 2000, "Columns": 2000, "BitsAllocated": 64}, "would take 32 MB"),
    ],
)
def test_a_header_that_announces_too_much_is_refused_at_once(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path, **changes)
    began = time.monotonic()
    with pytest.raises(MedSegError, match=reason):
        formats.read(path)
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_files_are_refused_by_their_header(syntax: str, tmp_path: Path) -> None:
    slice_ = dataset(noise((8, 8)), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.PixelData, slice_.Rows, slice_.Columns = encapsulate([b"\0" * 40]), 50_000, 50_000
    slice_["PixelData"].VR = "OB"
    dcmwrite(tmp_path / "a.dcm", slice_, enforce_file_format=True)
    with pytest.raises(MedSegError, match="would take 5 GB"):
        formats.read(tmp_path / "a.dcm")


def make_jpeg() -> bytes:
    content = bytearray(imagecodecs.jpeg8_encode(np.zeros((64, 64), np.uint8)))
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 65000, 65000)
    return bytes(content)


def make_jpeg_2000() -> bytes:
    content = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8)))
    size = content.find(b"\xff\x4f\xff\x51") + 8
    struct.pack_into(">II", content, size, 60000, 60000)
    struct.pack_into(">II", content, size + 16, 60000, 60000)
    return bytes(content)


def make_jpeg_2000_with_components() -> bytes:
    content = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8)))
    struct.pack_into(">H", content, content.find(b"\xff\x4f\xff\x51") + 40, 16000)
    return bytes(content)


def write_frames(path: Path, frames: list[bytes | list[bytes]], syntax: str, *, has_offsets: bool = True) -> Path:
    """Write compressed frames, each of them whole or as a list of fragments."""
    slice_ = dataset(np.zeros((64, 64), np.uint8), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = syntax
    items = [[frame] if isinstance(frame, bytes) else frame for frame in frames]
    offsets, place = [], 0
    for fragments in items:
        offsets.append(place)
        place += sum(8 + len(fragment) for fragment in fragments)
    table = struct.pack(f"<{len(offsets)}I", *offsets) if has_offsets else b""
    parts = [table, *(fragment for fragments in items for fragment in fragments)]
    item = b"\xfe\xff\x00\xe0"
    slice_.PixelData = b"".join(item + struct.pack("<I", len(part)) + part for part in parts)
    slice_.PixelData += b"\xfe\xff\xdd\xe0" + bytes(4)
    slice_["PixelData"].VR = "OB"
    slice_["PixelData"].is_undefined_length = True
    if len(frames) > 1:
        slice_.NumberOfFrames = len(frames)
    dcmwrite(path, slice_, enforce_file_format=True)
    return path


@pytest.mark.parametrize("has_offsets", [True, False])
@pytest.mark.parametrize("cut", [2, 4, 20])
def test_the_fragments_of_a_frame_are_one_code_stream(cut: int, has_offsets: bool, tmp_path: Path) -> None:
    jpeg = make_jpeg()
    jpeg += b"\0" * (len(jpeg) % 2)
    assert jpeg.find(b"\xff\xc0") > 4
    path = write_frames(tmp_path / "a.dcm", [[jpeg[:cut], jpeg[cut:]]], JPEGBaseline8Bit, has_offsets=has_offsets)
    with pytest.raises(MedSegError, match="compressed frame of 65000 x 65000 pixels, but its header says 64 x 64"):
        formats.read(path)


def test_a_frame_in_fragments_opens(tmp_path: Path) -> None:
    jpeg = bytes(imagecodecs.jpeg8_encode(np.full((64, 64), 9, np.uint8)))
    jpeg += b"\0" * (len(jpeg) % 2)
    path = write_frames(tmp_path / "a.dcm", [[jpeg[:100], jpeg[100:]]], JPEGBaseline8Bit)
    assert (formats.read(path).pixels == 9 - 1024).all()  # the intercept


def test_components_of_a_frame_count(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm", [make_jpeg_2000_with_components()], JPEG2000Lossless)
    with pytest.raises(MedSegError, match="compressed frame of 64 x 64 x 16000 pixels, but its header says 64 x 64"):
        formats.read(path)


@pytest.mark.parametrize(("make", "syntax"), [(make_jpeg, JPEGBaseline8Bit), (make_jpeg_2000, JPEG2000Lossless)])
def test_a_frame_that_is_larger_than_its_header_says_is_refused(
    make: Callable[[], bytes], syntax: str, tmp_path: Path
) -> None:
    slice_ = dataset(np.zeros((64, 64), np.uint8), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.PixelData = encapsulate([make()])
    slice_["PixelData"].VR = "OB"
    dcmwrite(tmp_path / "a.dcm", slice_, enforce_file_format=True)
    with pytest.raises(MedSegError, match=r"compressed frame of 6.000 x 6.000 pixels, but its header says 64 x 64"):
        formats.read(tmp_path / "a.dcm")


def test_a_deflated_file_is_inflated_below_the_limit(tmp_path: Path) -> None:
    slice_ = dataset(noise((8, 8)), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    slice_.PixelData = bytes(40 * MB)
    dcmwrite(tmp_path / "a.dcm", slice_, enforce_file_format=True)
    assert (tmp_path / "a.dcm").stat().st_size < 10**5
    tracemalloc.start()
    with pytest.raises(MedSegError, match="would take more than"):
        formats.read(tmp_path / "a.dcm")
    assert tracemalloc.get_traced_memory()[1] < FLOOR_BYTES + 2 * MB
    tracemalloc.stop()


@pytest.mark.parametrize("read", [formats.read, read_series_identity])
def test_a_long_file_meta_does_not_hide_that_a_file_is_deflated(read: Callable[[Path], object], tmp_path: Path) -> None:
    slice_ = dataset(noise((8, 8)), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    slice_.file_meta.FileMetaInformationVersion = bytes(5000)  # lies before the transfer syntax
    slice_.PixelData = bytes(40 * MB)
    dcmwrite(tmp_path / "a.dcm", slice_, enforce_file_format=True)
    tracemalloc.start()
    with pytest.raises(MedSegError, match="would take more than"):
        read(tmp_path / "a.dcm")
    assert tracemalloc.get_traced_memory()[1] < FLOOR_BYTES + 2 * MB
    tracemalloc.stop()


def test_a_file_that_only_mentions_the_deflated_syntax_is_not_inflated(tmp_path: Path) -> None:
    path = write(tmp_path, ImageComments=f"converted from {DeflatedExplicitVRLittleEndian}")
    assert formats.read(path).pixels.shape == (8, 8)


def test_a_series_counts_as_a_whole(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise((10, 64, 64)))  # 8 KB a slice
    (source,) = formats.find_images(tmp_path)
    with allow_memory(50_000):
        formats.read(paths[0])
        with pytest.raises(MedSegError, match=r"with 9 more files of its series would take 81\.9 KB"):
            formats.read_source(source)
        with pytest.raises(MedSegError, match="would take more than"):
            formats.read_series(paths)
    with allow_memory(100_000):
        assert formats.read_source(source).pixels.shape == (10, 64, 64)


def test_a_slice_that_is_refused_does_not_hide_the_others(tmp_path: Path) -> None:
    write_series(tmp_path, noise((3, 16, 16)))
    write(tmp_path, Rows=60000, Columns=60000)
    found = list(formats.read_images([tmp_path]))
    assert [one.pixels.shape for one in found if isinstance(one, Image)] == [(3, 16, 16)]
    (refused,) = [one.text for one in found if isinstance(one, formats.ReadFailure)]
    assert "would take 7.2 GB" in refused


def pack_rle(segments: list[bytes]) -> bytes:
    starts = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def write_rle(folder: Path, segments: list[bytes]) -> Path:
    pixels = encapsulate([pack_rle(segments)])
    changes = {"PixelData": pixels}
    file = dataset(noise((64, 64)), (0, 0, 0), AXIAL, **changes)
    file.file_meta.TransferSyntaxUID = RLELossless
    file["PixelData"].VR = "OB"
    dcmwrite(folder / "rle.dcm", file, enforce_file_format=True)
    return folder / "rle.dcm"


def test_a_segment_in_rle_that_is_longer_than_its_frame_is_refused(tmp_path: Path) -> None:
    row = b"\x81\x00" * (64 * 64 // 128)  # 128 equal bytes each
    assert formats.read(write_rle(tmp_path, [row, row])).pixels.shape == (64, 64)
    path = write_rle(tmp_path, [row, row * 1000])
    tracemalloc.start()
    try:
        with pytest.raises(MedSegError, match=r"rle\.dcm holds a frame in RLE that is larger than the 64 x 64 pixels"):
            formats.read(path)
        assert tracemalloc.get_traced_memory()[1] < MB
    finally:
        tracemalloc.stop()
