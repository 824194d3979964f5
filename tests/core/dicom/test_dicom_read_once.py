"""How often a DICOM file is opened, and that its pixels follow its header whatever the encoding."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, dataset, noise, write_series
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

N_SLICES = 16
SHAPE = (N_SLICES, 200, 300)
BUFFER_BYTES = 8192
PROCESS_IO = Path("/proc/self/io")

_counters: list[Counter[str]] = []


def _count_open(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counters:
        _counters[-1][str(arguments[0])] += 1


sys.addaudithook(_count_open)


@pytest.fixture
def opened() -> Iterator[Counter[str]]:
    """How often each file is opened, however that is done."""
    _counters.append(Counter())
    yield _counters[-1]
    _counters.pop()


def count_bytes_read() -> int:
    if not PROCESS_IO.exists():
        pytest.skip("only Linux says how many bytes a process has read")
    return int(PROCESS_IO.read_text().split("rchar: ")[1].split()[0])


def opens_of(paths: list[Path], opened: Counter[str]) -> set[int]:
    return {opened[str(path)] for path in paths}


def test_each_file_of_a_series_is_opened_once(tmp_path: Path, opened: Counter[str]) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    opened.clear()
    formats.read_series(paths)
    assert opens_of(paths, opened) == {1}


def test_a_folder_is_opened_once_for_its_headers_and_once_for_its_pixels(tmp_path: Path, opened: Counter[str]) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    opened.clear()
    (source,) = formats.find_images(tmp_path)
    assert opens_of(paths, opened) == {1}
    formats.read_source(source)
    assert opens_of(paths, opened) == {2}


def test_files_without_a_suffix_are_opened_no_more_often(tmp_path: Path, opened: Counter[str]) -> None:
    paths = [path.rename(path.with_suffix("")) for path in write_series(tmp_path, noise(SHAPE))]
    notes = tmp_path / "README"
    notes.write_text("no image")
    opened.clear()
    (source,) = formats.find_images(tmp_path)
    assert opens_of([*paths, notes], opened) == {1}
    assert formats.read_source(source).pixels.shape == SHAPE


def test_no_byte_is_read_twice_and_discovery_reads_no_pixels(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    size = sum(path.stat().st_size for path in paths)
    before = count_bytes_read()
    sources = formats.find_images(tmp_path)
    found = count_bytes_read()
    formats.read_source(sources[0])
    read = count_bytes_read()
    assert found - before <= N_SLICES * 2 * BUFFER_BYTES
    assert read - before <= size + N_SLICES * 3 * BUFFER_BYTES
    assert "PixelData" not in sources[0].headers[0].encoding.attributes


def test_reading_with_known_headers_gives_the_same_image(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise((5, 9, 12)))
    (source,) = formats.find_images(tmp_path)
    found, direct = formats.read_source(source), formats.read_series(paths)
    assert found.content_hash == direct.content_hash
    np.testing.assert_array_equal(found.affine, direct.affine)
    assert (found.name, found.group, found.series, found.units) == (direct.name, "P7", direct.series, "HU")


@pytest.mark.parametrize(
    ("syntax", "byte_order"),
    [
        (ExplicitVRLittleEndian, "<"),
        (ImplicitVRLittleEndian, "<"),
        (ExplicitVRBigEndian, ">"),
        (DeflatedExplicitVRLittleEndian, "<"),
    ],
)
@pytest.mark.parametrize("shape", [(8, 10), (33, 257)], ids=["small", "length that looks like a value representation"])
def test_pixels_follow_the_header_in_every_encoding(
    tmp_path: Path, syntax: str, byte_order: str, shape: tuple[int, int]
) -> None:
    pixels, path = noise(shape), tmp_path / "a.dcm"
    slice_ = dataset(pixels, (0, 0, 0), AXIAL)
    slice_.PixelData = pixels.astype(f"{byte_order}u2").tobytes()
    if len(slice_.PixelData) % 2:
        slice_.PixelData += b"\0"
    slice_["PixelData"].VR = "OW"
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(dcmread(path).pixel_array, pixels)
    (source,) = formats.find_images(path)
    for image in (formats.read_source(source), formats.read_series([path]), formats.read(path)):
        np.testing.assert_array_equal(image.pixels, pixels.astype(int) - 1024)


def test_a_file_without_preamble_is_read_by_its_suffix(tmp_path: Path) -> None:
    pixels, path = noise((8, 10)), tmp_path / "a.dcm"
    slice_ = dataset(pixels, (0, 0, 0), AXIAL)
    dcmwrite(path, slice_, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    (source,) = formats.find_images(path)
    np.testing.assert_array_equal(formats.read_source(source).pixels, pixels.astype(int) - 1024)


def test_a_file_that_changed_since_it_was_found_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise((3, 9, 12)))
    (source,) = formats.find_images(tmp_path)
    write_series(tmp_path, noise((3, 12, 9)))
    with pytest.raises(MedSegError, match=rf"{paths[0].name} changed while it was read\. Open it again"):
        formats.read_source(source)
