"""A header with more elements than a file can need is refused at once, wherever they are, and whoever reads it."""

import contextlib
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, dataset, write_enhanced
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
)

from napari_medseg.core import formats
from napari_medseg.core.decoded_size import header_length
from napari_medseg.core.dicom.identity import read_series_identity
from napari_medseg.core.errors import MedSegError

LIMIT, N = 2_000, 4_000
ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
END_OF_SEQUENCE = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
PIXELS = struct.pack("<HH", 0x7FE0, 0x10)
SEQUENCE, PRIVATE = (0x5200, 0x9230), (0x0029, 0x1010)


def element(tag: tuple[int, int], vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element; explicit if it has a VR."""
    n = len(value) if length is None else length
    if not vr:
        return struct.pack("<HHL", *tag, n) + value
    return struct.pack("<HH2sHL", *tag, vr, 0, n) + value


def nest(depth: int, content: bytes) -> bytes:
    for _ in range(depth):
        content = element(SEQUENCE, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content)
    return content


UNDEFINED = 0xFFFFFFFF
MANY_PRIVATE = b"".join(struct.pack("<HH2sHH", 0x0029, n % 2**16, b"US", 2, 1) for n in range(N))
MANY: dict[str, tuple[str, bytes]] = {
    "items": (ExplicitVRLittleEndian, element(SEQUENCE, b"SQ", ITEM * N)),
    "items up to a delimiter": (
        ExplicitVRLittleEndian,
        element(SEQUENCE, b"SQ", ITEM * N + END_OF_SEQUENCE, UNDEFINED),
    ),
    "private items": (ExplicitVRLittleEndian, element(PRIVATE, b"UN", ITEM * N + END_OF_SEQUENCE, UNDEFINED)),
    "items of unknown VR": (ExplicitVRLittleEndian, element(SEQUENCE, b"UN", ITEM * N)),
    "private elements": (ExplicitVRLittleEndian, MANY_PRIVATE),
    "items in items": (ExplicitVRLittleEndian, nest(4, element(SEQUENCE, b"SQ", ITEM * N))),
    "implicit items": (ImplicitVRLittleEndian, element(SEQUENCE, b"", ITEM * N)),
    "implicit items up to a delimiter": (
        ImplicitVRLittleEndian,
        element(SEQUENCE, b"", ITEM * N + END_OF_SEQUENCE, UNDEFINED),
    ),
    "implicit private items": (ImplicitVRLittleEndian, element(PRIVATE, b"", ITEM * N + END_OF_SEQUENCE, UNDEFINED)),
}
NUMBERS = b"1\\" * N
ATTRIBUTES = ((0x0008, 0x0008), (0x0020, 0x0032), (0x0028, 0x0030), (0x0010, 0x0020), (0x0028, 0x0008))


def make_file(path: Path, syntax: str = ExplicitVRLittleEndian, **changes: object) -> bytes:
    slice_ = dataset(np.ones((8, 8), np.int16), (0, 0, 0), AXIAL, **changes)
    slice_.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, slice_, enforce_file_format=True)
    return path.read_bytes()


def insert(content: bytes, added: bytes) -> bytes:
    place = content.rindex(PIXELS)
    return content[:place] + added + content[place:]


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few elements are too many, so that small files show what large ones do."""
    monkeypatch.setattr(header_length, "MAX_ELEMENTS", LIMIT)
    monkeypatch.setattr(header_length, "MAX_VALUE_BYTES", N)


def refuse_in_all_readers(path: Path, reason: str) -> None:
    with pytest.raises(MedSegError, match=reason):
        formats.read(path)
    found = formats.search_images(path)
    assert [source.paths for source in found.sources] == [(path,)]
    assert any(isinstance(one, formats.ReadFailure) for one in formats.read_images([path]))
    with pytest.raises(MedSegError, match=reason):
        read_series_identity(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("what", MANY)
def test_many_elements(what: str, path: Path) -> None:
    syntax, added = MANY[what]
    path.write_bytes(insert(make_file(path, syntax), added))
    refuse_in_all_readers(path, "holds more than 2,... DICOM elements")


def test_many_elements_in_the_file_meta_information(path: Path) -> None:
    content = make_file(path)
    added = b"".join(struct.pack("<HH2sHH", 2, 0x0200 + n % 2**15, b"US", 2, 1) for n in range(N))
    place = 144 + dcmread(path).file_meta.FileMetaInformationGroupLength
    path.write_bytes(content[:place] + added + content[place:])
    refuse_in_all_readers(path, "DICOM elements")


def test_many_elements_behind_the_pixels(path: Path) -> None:
    added = b"".join(struct.pack("<HH2sHH", 0x7FE1, n % 2**16, b"US", 2, 1) for n in range(N))
    path.write_bytes(make_file(path) + added)
    with pytest.raises(MedSegError, match="DICOM elements"):
        formats.read(path)


def test_many_elements_in_a_big_endian_file(path: Path) -> None:
    slice_ = dataset(np.ones((8, 8), ">i2"), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(path, slice_, enforce_file_format=True)
    item = struct.pack(">HHL", 0xFFFE, 0xE000, 0)
    added = struct.pack(">HH2sHL", *SEQUENCE, b"SQ", 0, len(item) * N) + item * N
    content = path.read_bytes()
    place = content.rindex(struct.pack(">HH", 0x7FE0, 0x10))
    path.write_bytes(content[:place] + added + content[place:])
    refuse_in_all_readers(path, "DICOM elements")


def test_many_elements_in_a_deflated_file(path: Path) -> None:
    content = make_file(path, DeflatedExplicitVRLittleEndian)
    start = 144 + dcmread(path).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    inflated = insert(zlib.decompress(content[start:], -zlib.MAX_WBITS), element(SEQUENCE, b"SQ", ITEM * N))
    path.write_bytes(content[:start] + packer.compress(inflated) + packer.flush())
    refuse_in_all_readers(path, "DICOM elements")


@pytest.mark.parametrize("tag", ATTRIBUTES)
@pytest.mark.parametrize("vr", [b"", b"UN", b"UC"])
def test_a_list_of_many_numbers(tag: tuple[int, int], vr: bytes, path: Path) -> None:
    syntax = ExplicitVRLittleEndian if vr else ImplicitVRLittleEndian
    path.write_bytes(insert(make_file(path, syntax), element(tag, vr, NUMBERS * 2)))
    refuse_in_all_readers(path, r" KB in the attribute \(00")


@pytest.mark.parametrize("storage", [SegmentationStorage, RTStructureSetStorage])
@pytest.mark.parametrize("has_pixels", [True, False])
def test_a_long_object_without_an_image_is_named_as_what_it_is(storage: str, has_pixels: bool, path: Path) -> None:
    content = insert(make_file(path, SOPClassUID=storage), element(SEQUENCE, b"SQ", ITEM * N))
    path.write_bytes(content if has_pixels else content[: content.rindex(PIXELS)])
    with pytest.raises(MedSegError, match="is DICOM without an image"):
        formats.read(path)
    found = formats.search_images(path.parent)
    assert not found.sources
    assert [each.name for each in found.skipped] == ["a.dcm"]


def test_many_tiny_frames(path: Path) -> None:
    pixels = np.zeros((25_000, 1, 1), np.int16)
    frames = dataset(pixels[0], None, AXIAL, NumberOfFrames=len(pixels), PixelData=pixels.tobytes())
    dcmwrite(path, frames, enforce_file_format=True)
    with pytest.raises(MedSegError, match="holds 25,000 frames; at most 20,000 are read"):
        formats.read(path)


def count(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the elements before the pixels with the walk, by the lowest limit that does not refuse."""
    monkeypatch.setattr(header_length, "BYTES_PER_ELEMENT", 2**40)
    monkeypatch.setattr(header_length, "may_be_long", lambda n_bytes: True)
    for limit in range(10_000):
        monkeypatch.setattr(header_length, "MAX_ELEMENTS", limit)
        with path.open("rb") as file, contextlib.suppress(MedSegError):
            header_length.refuse_long_header(file, path.stat().st_size, path.name)
            return limit
    raise AssertionError


def count_with_pydicom(part: Dataset) -> int:
    n = 0
    for one in part:
        n += 1
        if isinstance(one.value, Sequence):
            n += sum(1 + count_with_pydicom(item) for item in one.value)
    return n


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_as_many_elements_are_counted_as_there_are(syntax: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_enhanced(path, np.ones((4, 8, 8), np.uint16))
    enhanced = dcmread(path)
    enhanced.file_meta.TransferSyntaxUID = syntax
    enhanced.PerFrameFunctionalGroupsSequence.is_undefined_length = True
    for item in enhanced.PerFrameFunctionalGroupsSequence[:2]:
        item.is_undefined_length_sequence_item = True
    dcmwrite(path, enhanced, enforce_file_format=True)
    known = dcmread(path, stop_before_pixels=True)
    assert count(path, monkeypatch) == count_with_pydicom(known) + len(known.file_meta)


def test_a_long_header_of_many_frames_is_read(path: Path) -> None:
    write_enhanced(path, np.ones((200, 32, 32), np.uint16))
    enhanced = dcmread(path)
    for frame in enhanced.PerFrameFunctionalGroupsSequence:
        frame.add_new((0x0029, 0x1000), "LO", "a private text of the vendor")
    dcmwrite(path, enhanced, enforce_file_format=True)
    assert count_with_pydicom(dcmread(path)) > LIMIT / 2
    assert formats.read(path).pixels.shape == (200, 32, 32)


def test_the_real_limit_is_reached_within_seconds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    path.write_bytes(insert(make_file(path), element(SEQUENCE, b"SQ", ITEM * 1_000_000)))
    began = time.process_time()
    with pytest.raises(MedSegError, match=r"holds more than 115,... DICOM"):
        formats.read(path)
    assert time.process_time() - began < 3.0  # parsed, it takes more than 40 s
