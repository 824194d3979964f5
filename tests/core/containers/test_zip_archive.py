"""Zip archives of a study: what is found and read in them, and what makes them be refused."""

import io
import os
import shutil
import stat
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import noise, write_series
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.containers import zip_archive
from napari_medseg.core.containers.zip_archive import unpack
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of two series, a 4-D NIfTI, a MetaImage with its voxels beside it, and a picture."""
    folder = tmp_path / "study"
    write_series(folder / "a", noise((4, 8, 9)))
    write_series(folder / "b" / "c", noise((3, 8, 9), 1), SeriesInstanceUID="1.2.9", SeriesDescription="two")
    nib.save(nib.Nifti1Image(noise((5, 6, 7, 2)).astype("<i2"), np.eye(4)), folder / "n.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(noise((3, 4, 5)).astype(np.int16)), folder / "m.mhd")
    Picture.fromarray(noise((4, 5)).astype(np.uint8)).save(folder / "p.png")
    return folder


def pack(target: Path, folder: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(inside, path.relative_to(folder.parent)))
    return target


def list_temporary() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("napari-medseg-")}


@pytest.mark.parametrize("is_nested", [False, True])
def test_everything_in_an_archive_is_found_read_and_found_again_by_its_path(
    tmp_path: Path, study: Path, is_nested: bool
) -> None:
    before = list_temporary()
    archive = pack(tmp_path / "study.zip", study)
    if is_nested:
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
            outer.write(archive, "mail/study.zip")
        archive = tmp_path / "outer.zip"
    found = formats.search_images(archive)
    assert found.asks_which
    plain = formats.search_images(study).sources
    assert [(one.name, one.whole, one.part) for one in found.sources] == [(p.name, p.whole, p.part) for p in plain]
    for source, same in zip(found.sources, plain, strict=True):
        image, expected = formats.read_source(source), formats.read_source(same)
        assert (image.content_hash, image.group, image.name) == (expected.content_hash, expected.group, expected.name)
        assert all(path.is_relative_to(archive) for path in image.sources)
        assert [path.name for path in image.sources] == [path.name for path in expected.sources]
        again = formats.read(image.sources[0]) if len(image.sources) == 1 else formats.read_series(image.sources)
        assert (again.content_hash, again.sources) == (image.content_hash, image.sources)
    assert formats.can_read(archive)
    assert list(tmp_path.glob("**/napari-medseg-*")) == []
    del found, source
    assert list_temporary() == before


def test_reading_one_series_unpacks_only_its_files(tmp_path: Path, study: Path) -> None:
    archive = pack(tmp_path / "study.zip", study)
    unpacked = unpack(archive, only=[Path("study/a/IM0001.dcm"), Path("study/m.mhd")])
    names = sorted(path.name for path in unpacked.folder.rglob("*") if path.is_file())
    assert names == ["IM0001.dcm", "m.mhd", "m.raw", "n.nii.gz", "p.png"]  # a header's voxels lie beside it
    with pytest.raises(MedSegError, match="holds no"):
        formats.read(archive / "study" / "gone.dcm")


def write_zip(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_a_path_outside_of_the_archive_is_refused_and_writes_nothing(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", **{"good.png": b"x", name: b"x"})
    before = list_temporary()
    with pytest.raises(MedSegError, match="outside of itself"):
        formats.read(archive)
    assert list_temporary() == before
    assert not list(tmp_path.rglob("evil*"))


def test_links_hidden_files_and_those_of_macos_are_left_out(tmp_path: Path, study: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.write(study / "p.png", "__MACOSX/._p.png")
        archive.write(study / "p.png", ".hidden/p.png")
        archive.write(study / "p.png", "p.png")
    assert [source.name for source in formats.find_images(tmp_path / "a.zip")] == ["p.png"]


def test_encrypted_archives_and_packed_projects_are_refused(tmp_path: Path) -> None:
    content = bytearray(write_zip(tmp_path / "a.zip", a=b"x").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(MedSegError, match="encrypted"):
        formats.read(tmp_path / "a.zip")
    write_zip(tmp_path / "p.medseg.zip", a=b"x")
    with pytest.raises(MedSegError, match="medseg project unpack"):
        formats.read(tmp_path / "p.medseg.zip")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_archive, "ALWAYS_PLAUSIBLE_BYTES", 8 << 20)
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(1 << 20))
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(12):
            archive.writestr(f"{n}.zip", zeros.getvalue())
    before = list_temporary()
    tracemalloc.start()
    with pytest.raises(MedSegError, match="more than is allowed"):
        formats.read(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert list_temporary() == before
    deep = zeros.getvalue()
    for _ in range(4):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w") as archive:
            archive.writestr("inner.zip", deep)
        deep = outer.getvalue()
    (tmp_path / "deep.zip").write_bytes(deep)
    with pytest.raises(MedSegError, match="archives in archives"):
        formats.read(tmp_path / "deep.zip")
    monkeypatch.setattr(zip_archive, "MAX_ENTRIES", 3)
    write_zip(tmp_path / "many.zip", **{f"{n}.png": b"" for n in range(9)})
    with pytest.raises(MedSegError, match="more than 3 files"):
        formats.read(tmp_path / "many.zip")


def test_a_damaged_truncated_or_empty_archive_is_one_failure(tmp_path: Path, study: Path) -> None:
    content = pack(tmp_path / "a.zip", study).read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    for name, bad in {"cut": content[:-100], "flip": bytes(damaged), "none": b"PK\x05\x06" + bytes(18)}.items():
        (tmp_path / f"{name}.zip").write_bytes(bad)
    items = list(
        formats.read_images([tmp_path / f"{name}.zip" for name in ("cut", "flip", "none")] + [study / "p.png"])
    )
    texts = [item.text for item in items if isinstance(item, formats.ReadFailure)]
    assert len(texts) == 3
    assert "damaged zip archive" in texts[0]
    assert "holds no image" in texts[2]
    assert sum(isinstance(item, formats.ReadProgress) for item in items) == 4
    assert [item.name for item in items if isinstance(item, Image)] == ["p"]


def test_an_entry_without_a_name_costs_nothing(tmp_path: Path, study: Path) -> None:
    content = (study / "p.png").read_bytes()
    archive = write_zip(tmp_path / "a.zip", **{"p.png": content, "x": b"y"})
    archive.write_bytes(archive.read_bytes().replace(b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00x", b"\0" * 11))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as written:
        written.writestr("p.png", content)
        written.filelist[0].filename = ""
        written.writestr("q.png", content)
    for path in (archive, tmp_path / "b.zip"):
        try:
            formats.find_images(path)
        except MedSegError:
            pytest.fail("a name that is missing")


def test_archives_in_a_folder_are_told_and_not_opened(tmp_path: Path, study: Path) -> None:
    pack(study / "old.zip", study / "a")
    found = formats.search_images(study)
    assert found.archives == ("old.zip",)
    assert "old.zip" in found.note


def test_names_that_a_file_system_does_not_take_keep_every_file_apart(tmp_path: Path) -> None:
    pictures = {}
    for n, name in enumerate(["a:b.png", "a_b.png", "x" * 200 + "1.png", "x" * 200 + "2.png", "t\u00fcr.png"]):
        buffer = io.BytesIO()
        Picture.fromarray(noise((4, 5), n).astype(np.uint8)).save(buffer, "PNG")
        pictures[name] = buffer.getvalue()
    sources = formats.find_images(write_zip(tmp_path / "a.zip", **pictures))
    assert {source.paths[0].name for source in sources} == set(pictures)
    assert len({formats.read_source(source).content_hash for source in sources}) == 5


@pytest.mark.parametrize("names", [("x", "x/y.png"), ("x/y.png", "x")])
def test_a_file_that_is_a_folder_too_is_one_failure(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"1")
    (source,) = formats.find_images(path)
    assert "a folder, too" in source.problem


def test_an_archive_may_be_called_like_what_is_packed_in_it(tmp_path: Path, study: Path) -> None:
    inner = Path(shutil.make_archive(str(tmp_path / "study"), "zip", study))
    path = tmp_path / "inner1.zip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "study.zip")
    assert not any(source.problem for source in formats.find_images(path))
