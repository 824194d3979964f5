"""Names of files: safe on every system, short enough for its file system, and one image each."""

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from napari_medseg.core import file_names
from napari_medseg.core.file_names import (
    find_name_limit,
    get_name_key,
    list_taken_names,
    make_file_stem,
    make_group_label,
    make_printable,
    make_unused_stem,
    read_or_make_key,
    shorten_for_endings,
    use_slashes,
)

HOSTILE = [
    *("../../etc/passwd", "..", ".", "", " ", "/", "\\\\server\\share", "C:\\temp\\x", "a/../b", "~/x", "-rf"),
    *("--help", "CON", "nul.txt", "com1", "LPT9.a.b", "aux ", "CONIN$", "COM¹", "a:b", "a|b", 'a"b', "a<b>", "a*?"),
    *("a\x00b", "a\nb", "a\x1b[31m", "a\u202egpj", "a\u200b", "\ufeffa", "a\u2028b", "trailing. .", "...hidden"),
    *("x" * 300, "肺" * 200, "🫁" * 90, "é" * 150, "e\u0301" * 150, "\udcff\udc80", "Müller", "Mu\u0308ller"),
    *("a\u00a0b", "___", "ﬁle"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_any_text_becomes_a_safe_name_that_can_be_written(tmp_path: Path, name: str) -> None:
    stem = make_file_stem(name)
    assert stem.strip(" .") == stem != ""
    assert not set(stem) & set('<>:"/\\|?*')
    assert not any(unicodedata.category(character)[0] == "C" for character in stem)
    assert stem[0] not in ".-"
    assert stem.partition(".")[0].rstrip().upper() not in {"CON", "NUL", "COM1", "LPT9", "AUX", "CONIN$", "COM¹"}
    assert unicodedata.is_normalized("NFC", stem)
    stem = shorten_for_endings(stem, ["_labels.nii.gz"], tmp_path)
    path = tmp_path / f"{stem}_labels.nii.gz"
    assert len(path.name.encode()) <= 255
    assert path.resolve().parent == tmp_path.resolve()
    path.touch()
    assert make_file_stem(stem) == stem, "a safe name stays as it is"


@pytest.mark.parametrize("name", ["my scan (1)", "P7-a_b.c+d", "Müller, Ä", "肺 1", "a__b"])
def test_harmless_names_stay_as_they_are(name: str) -> None:
    assert make_file_stem(name) == unicodedata.normalize("NFC", name)


def test_long_names_that_differ_at_the_end_stay_different(tmp_path: Path) -> None:
    stems = {shorten_for_endings("肺" * 100 + str(n), ["_labels.nii.gz", "_reviewed.tif"], tmp_path) for n in range(9)}
    assert len(stems) == 9
    assert {len(f"{stem}_labels.nii.gz".encode()) <= find_name_limit(tmp_path) for stem in stems} == {True}


def test_a_file_system_with_shorter_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_names.os, "pathconf", lambda *_: 143)  # eCryptfs
    assert find_name_limit(tmp_path / "not" / "yet") == 143
    assert len(shorten_for_endings("x" * 200, ["_labels.tif"], tmp_path)) == 143 - len("_labels.tif")


def test_names_that_some_file_systems_take_for_one_get_a_number(tmp_path: Path) -> None:
    (tmp_path / "Mu\u0308ller.tif").touch()
    (tmp_path / ".writing-12345678-a.tif").touch()
    assert list_taken_names(tmp_path) == {get_name_key("MÜLLER.TIF")}
    assert list_taken_names(tmp_path / "missing") == set()
    taken: set[str] = set()
    stems = []
    for name in ("Müller", "Mu\u0308ller", "MÜLLER", "straße", "STRASSE", "x_2", "x", "x"):
        stems.append(make_unused_stem(make_file_stem(name), taken))
        taken.add(get_name_key(stems[-1]))
    assert len({get_name_key(stem) for stem in stems}) == len(stems)
    assert stems[-1] == "x_3", "x_2 is the name of another file"


def test_group_labels_tell_no_identity(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path / "new")
    assert read_or_make_key(tmp_path / "new") == key
    assert len(key) == 32
    assert (tmp_path / "new" / "names.key").stat().st_mode & 0o077 == 0
    label = make_group_label("1234567", key)
    assert label == make_group_label("1234567", key) != make_group_label("1234568", key)
    assert "1234567" not in label
    assert label != make_group_label("1234567", read_or_make_key(tmp_path / "other")), "the label depends on the key"


def test_names_that_are_no_text_can_be_printed() -> None:
    make_printable("a\udcff.png").encode()
    assert make_printable("肺") == "肺"


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        (r"C:\scans\a.tif", "C:/scans", "a.tif"),
        (r"d:\a.tif", "d:", "a.tif"),
        (r"C:/scans\p1\a.tif", "C:/scans/p1", "a.tif"),
        (r"\\server\share\p1\a.tif", "//server/share/p1", "a.tif"),
        (r"\\?\C:\scans\a.tif", "//?/C:/scans", "a.tif"),
        (r"labels\a.tif", "labels", "a.tif"),
        ("/scans/a.tif", "/scans", "a.tif"),
        (r"/scans/a\b.tif", "/scans", r"a\b.tif"),
        ("labels/a.tif", "labels", "a.tif"),
        ("a.tif", ".", "a.tif"),
        ("a:b.tif", ".", "a:b.tif"),
    ],
)
def test_a_path_of_windows_has_its_name_and_folders_elsewhere(path: str, folder: str, name: str) -> None:
    read = PurePosixPath(use_slashes(path))
    assert (str(read.parent), read.name) == (folder, name)
    assert PureWindowsPath(use_slashes(path)) == PureWindowsPath(path), "and on Windows it is the same file"
    assert use_slashes("") == ""
