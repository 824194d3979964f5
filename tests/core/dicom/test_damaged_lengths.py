"""A damaged length of an element takes no memory, wherever it is, and whoever reads the file."""

import contextlib
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, dataset
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_medseg.core import formats
from napari_medseg.core.dicom.identity import read_series_identity
from napari_medseg.core.errors import MedSegError

HUGE = struct.pack("<I", 0xFFFFFFF0)
PIXELS, SEQUENCE, PATIENT = struct.pack("<HH", 0x7FE0, 0x10), struct.pack("<HH", 8, 0x1110), struct.pack("<HH", 16, 16)
ITEM, VERSION = struct.pack("<HH", 0xFFFE, 0xE000), struct.pack("<HH", 2, 1)
MAX_BYTES = 2**20


def make_file(path: Path, syntax: str) -> bytes:
    slice_ = dataset(np.ones((8, 8), np.int16), (0, 0, 0), AXIAL, PatientName="A")
    slice_.ReferencedStudySequence = [Dataset()]
    slice_.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2"
    slice_.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, slice_, enforce_file_format=True)
    return path.read_bytes()


def enlarge(content: bytes, tag: bytes, length_at: int = 8) -> bytes:
    place = content.index(tag) + length_at
    return content[:place] + HUGE + content[place + 4 :]


def insert_text(content: bytes) -> bytes:
    place = content.index(PATIENT)
    return content[:place] + struct.pack("<HH2sH", 9, 0x1001, b"UT", 0) + HUGE + content[place:]


def damage_deflated(content: bytes, path: Path) -> bytes:
    start = 144 + dcmread(path).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    inflated = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    return content[:start] + packer.compress(enlarge(inflated, SEQUENCE)) + packer.flush()


EXPLICIT: dict[str, Callable[[bytes], bytes]] = {
    "pixels": lambda content: enlarge(content, PIXELS),
    "sequence": lambda content: enlarge(content, SEQUENCE),
    "item": lambda content: enlarge(content, ITEM, 4),
    "file meta": lambda content: enlarge(content, VERSION),
    "private text": insert_text,
}


def use(path: Path) -> None:
    """Read a file in all ways that the program has."""
    for read in (formats.read, formats.find_images, _read_drop, read_series_identity):
        with contextlib.suppress(MedSegError):
            read(path)


def _read_drop(path: Path) -> None:
    list(formats.read_images([path]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.dcm"


def measure_peak(path: Path) -> int:
    use(path)  # what is imported or cached at the first use does not count
    tracemalloc.start()
    use(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("where", EXPLICIT)
def test_an_explicit_length(where: str, path: Path) -> None:
    path.write_bytes(EXPLICIT[where](make_file(path, ExplicitVRLittleEndian)))
    assert measure_peak(path) < MAX_BYTES


@pytest.mark.parametrize("tag", [PIXELS, SEQUENCE, PATIENT])
def test_an_implicit_length(tag: bytes, path: Path) -> None:
    path.write_bytes(enlarge(make_file(path, ImplicitVRLittleEndian), tag, 4))
    assert measure_peak(path) < MAX_BYTES


def test_a_length_in_a_deflated_file(path: Path) -> None:
    path.write_bytes(damage_deflated(make_file(path, DeflatedExplicitVRLittleEndian), path))
    assert measure_peak(path) < MAX_BYTES
