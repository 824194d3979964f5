"""DICOM without preamble and suffix, and the DICOMDIR of a disc."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import noise, write_series
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_medseg.core import formats
from napari_medseg.core.dicom.bare_files import looks_like_dataset
from napari_medseg.core.errors import MedSegError


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_series_without_preamble_and_suffix_is_found_in_nested_folders(tmp_path: Path, syntax: str) -> None:
    volume = noise((3, 5, 7))
    for number, path in enumerate(write_series(tmp_path / "s", volume)):
        file = pydicom.dcmread(path)
        target = tmp_path / "disc" / f"part{number}" / f"IM{number}"
        target.parent.mkdir(parents=True)
        is_implicit = syntax == ImplicitVRLittleEndian
        bare = pydicom.Dataset(file)
        bare.save_as(target, implicit_vr=is_implicit, little_endian=True, enforce_file_format=False)
        assert target.read_bytes()[128:132] != b"DICM"
    expected = formats.read(tmp_path / "s")
    image = formats.read(tmp_path / "disc")
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    np.testing.assert_allclose(image.affine, expected.affine)
    assert formats.can_read(tmp_path / "disc" / "part0" / "IM0")
    assert formats.read(tmp_path / "disc" / "part0" / "IM0").axes == "YX"


def test_other_files_are_not_taken_for_dicom() -> None:
    for start in (
        b"",
        b"\x08\x00",
        b"Hello, world",
        b"\x08\x00\x05\x00\xff\xff\xff\xff",
        b"PK\x03\x04\0\0\0\0",
        b"\0" * 8,
    ):
        assert not looks_like_dataset(start)
    assert looks_like_dataset(b"\x08\x00\x05\x00CS\x0a\x00")
    assert looks_like_dataset(b"\x00\x08\x00\x05CS\x00\x0a")
    assert ExplicitVRBigEndian.is_little_endian is False


def test_a_dicomdir_opens_the_series_that_it_lists(tmp_path: Path) -> None:
    files = FileSet()
    for number, uid in enumerate(("1.2.31", "1.2.32")):
        for path in write_series(
            tmp_path / f"s{number}", noise((3, 5, 7), number), SeriesInstanceUID=uid, SeriesNumber=1
        ):
            file = pydicom.dcmread(path)
            file.PatientName, file.StudyDate, file.StudyTime, file.StudyID = "A^B", "20200101", "101010", "1"
            file.AccessionNumber, file.InstanceNumber = "", number
            files.add(file)
    files.write(tmp_path / "disc")
    directory = tmp_path / "disc" / "DICOMDIR"
    found = formats.find_images(directory)
    assert [len(source.paths) for source in found] == [3, 3]
    expected = sorted(formats.read(tmp_path / f"s{number}").pixels.sum() for number in range(2))
    assert sorted(formats.read_source(source).pixels.sum() for source in found) == expected
    assert len(formats.find_images(tmp_path / "disc")) == 2
    assert not formats.search_images(directory).note
    found[1].paths[2].unlink()
    for place in (directory, tmp_path / "disc"):
        lacking = formats.search_images(place)
        assert [len(source.paths) for source in lacking.sources] == [3, 2]
        assert "DICOMDIR lists 6 files, and 1 of them are missing" in lacking.note
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "DICOMDIR").write_bytes(directory.read_bytes())
    (source,) = formats.find_images(alone / "DICOMDIR")
    with pytest.raises(MedSegError, match="lists 6 files, and none of them lies beside it"):
        formats.read_source(source)
