"""Errors of disks, memory and libraries become messages; only faults of our own keep a traceback."""

import errno
import json
import os
import sqlite3
import struct
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from pydantic import TypeAdapter, ValidationError
from pydicom.errors import InvalidDicomError
from safetensors import SafetensorError

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write, atomic_write_text
from napari_medseg.core.errors import MedSegError, explain, translate_errors
from napari_medseg.core.image import Image


def invalid() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x")
    return caught.value


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.tif"), "a.tif: No space left on device. Free disk"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "the disk is full: I/O error"),
        (RuntimeError("unable to write to file </torch_1>: No space left on device (28)"), "Free disk space"),
        (sqlite3.OperationalError("database or disk is full"), "Free disk space"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "Choose a folder on another disk"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "Ask for permission"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "Choose a shorter name"),
        (
            OSError("1000 requested and 12 written"),
            "1000 requested and 12 written. Choose another folder, or free disk",
        ),
        (OSError(), "OSError. Choose another folder"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "not enough memory",
        ),
        (InvalidDicomError("no header"), "a file cannot be used: no header (InvalidDicomError)"),
        (nib.filebasedimages.ImageFileError("bad"), "bad (ImageFileError)"),
        (nib.spatialimages.HeaderDataError("bad"), "bad (HeaderDataError)"),
        (tifffile.TiffFileError("bad"), "bad (TiffFileError)"),
        (Picture.DecompressionBombError("bad"), "bad (DecompressionBombError)"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (SafetensorError("I/O error"), "I/O error"),
        (json.JSONDecodeError("Expecting value", "", 0), "Expecting value"),
        (struct.error("'I' format"), "'I' format"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
        (invalid(), "valid integer"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_file_or_the_machine_does_is_a_message(error: Exception, text: str) -> None:
    with pytest.raises(MedSegError) as caught, translate_errors():
        raise error
    assert text in str(caught.value)
    assert "None" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (json.loads, "[" * 100_000),
        (json.loads, "9" * 5000),
        (tomllib.loads, "a = " + "9" * 5000),
        (tomllib.loads, "a = " + "[" * 100_000),
    ],
    ids=["deep JSON", "long number in JSON", "long number in TOML", "deep TOML"],
)
def test_what_a_parser_cannot_hold_is_a_message(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(MedSegError, match="a file cannot be used"), translate_errors():
        read(text)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), TypeError("x"), AssertionError(), sqlite3.IntegrityError("UNIQUE")]
)
def test_our_own_faults_keep_their_type_and_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translate_errors():
        raise error
    assert caught.value is error


def test_a_message_is_not_changed() -> None:
    said = MedSegError("choose another file")
    assert explain(said) is said
    with pytest.raises(MedSegError) as caught, translate_errors():
        raise said
    assert caught.value is said
    with pytest.raises(KeyboardInterrupt), translate_errors():
        raise KeyboardInterrupt


def test_a_failed_clean_up_does_not_hide_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MedSegError, match="No space left on device"), atomic_write(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_library_that_cannot_write_is_a_message_and_our_fault_is_not(tmp_path: Path) -> None:
    with (
        pytest.raises(MedSegError, match=r"cannot write .*a\.nii.*too many dimensions"),
        atomic_write(tmp_path / "a.nii"),
    ):
        raise nib.spatialimages.HeaderDataError("too many dimensions")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a.nii"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("suffix", [".tif", ".nii", ".nii.gz", ".png"])
def test_a_full_disk_is_told_and_leaves_the_old_file(small_disk: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 900)).astype(np.uint8)
    image = Image(noise, "YX", name="a")
    path = small_disk / f"l{suffix}"
    formats.write_labels(path, noise[:9, :9], image.replace_pixels(noise[:9, :9]))
    before = path.read_bytes()
    with pytest.raises(MedSegError, match=r"cannot write .*Free disk space|free disk space"):
        formats.write_labels(path, noise, image)
    assert path.read_bytes() == before
    assert [entry.name for entry in small_disk.iterdir()] == [path.name]
    atomic_write_text(small_disk / "a.txt", "there is room again")
