"""Names of the files that the program writes for images: safe on every system, in their folder, one per image.

A name never comes from a header unchecked, and never holds the identity of a patient unless the user asks for it.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX, read_file, replace_file
from napari_medseg.core.errors import MedSegError, format_os_error

Naming = Literal["stem", "group", "patient"]
"""What a file is named after: the input's stem (a DICOM series has none: its group's label and series number), the
group's label and the series number (in a project: the number of the case), or the PatientID and the series number.
Only the second one names no one for certain."""

NAMINGS: tuple[Naming, ...] = ("stem", "group", "patient")

MAX_NAME_BYTES = 255
"""Limit of all usual file systems; some allow less, see `find_name_limit`."""

MAX_SUFFIX_PARTS = 2
_PROJECT_FOLDERS = frozenset(
    ("images", "labels", "journal", "runs", "exports", "tasks", "cache", "adapted", "slides", "video", "untold")
)
_CHECKS_FOLDER = re.compile(r"checks(-\d+)?")
PREDICTIONS_FILE, PROVENANCE_FILE = "predictions.jsonl", "provenance.json"
"""What lies beside the labels of `medseg predict`, and beside exported ones."""
PROJECT_DATABASE = "project.sqlite"
"""What makes a folder a project; its other files are not for others to read."""
LABELS_ENDING, REVIEWED_ENDING = "_labels", "_reviewed"
"""What their names end with, before the suffix."""

_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED_ON_WINDOWS = frozenset(
    [
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "CONIN$",
        "CONOUT$",
        *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"),
    ]
)
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_HASH_CHARS = 8
_KEY_FILE = "names.key"
_KEY_BYTES = 32


def make_file_stem(name: str, fallback: str = "image", max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return text as the first part of a file name.

    Parameters
    ----------
    name
        Any text: a file's stem, the name of a case, a header's value.
    fallback
        The result if nothing of `name` can be used.
    max_bytes
        Length limit of the result in UTF-8. A longer name is cut, and gets a hash of the whole, so that names that only
        differ behind the cut stay different.

    Returns
    -------
    str
        Without separators, control and invisible characters, characters and names that Windows reserves, a leading dot
        or hyphen, and trailing dots and spaces; in Unicode normal form C.
    """
    safe = "".join(_replace_unsafe(character) for character in unicodedata.normalize("NFC", name))
    while "__" in safe and "__" not in name:  # one underscore for a run of replaced characters
        safe = safe.replace("__", "_")
    safe = safe.strip(" ").lstrip(".-").rstrip(". ").strip()
    if not safe.strip("_ ."):
        safe = fallback
    if safe.partition(".")[0].rstrip().upper() in _RESERVED_ON_WINDOWS:
        safe = f"_{safe}"
    return _shorten(safe, max_bytes)


def get_name_key(name: str) -> str:
    """Return a name for comparison: equal keys are one file on some file systems (case, Unicode normal form)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def make_unused_stem(wanted: str, taken: Collection[str], max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a stem whose key is not in `taken`: the wanted one, or with a number from 2 on."""
    number, stem = 1, wanted
    while get_name_key(stem) in taken:
        number += 1
        ending = f"_{number}"
        stem = _shorten(wanted, max_bytes - len(ending)) + ending
    return stem


def is_project_folder(name: str) -> bool:
    """Whether a project keeps a folder of this name beside its database; others there are a person's."""
    return name in _PROJECT_FOLDERS or _CHECKS_FOLDER.fullmatch(name) is not None


def find_written_labels(files: Iterable[Path]) -> set[Path]:
    """Return which files are labels or reviewed areas that the program wrote, by their names and what lies beside."""
    listed = list(files)
    endings = {PREDICTIONS_FILE: (LABELS_ENDING,), PROVENANCE_FILE: (LABELS_ENDING, REVIEWED_ENDING)}
    written: dict[Path, tuple[str, ...]] = {}
    for file in listed:
        written[file.parent] = (*written.get(file.parent, ()), *endings.get(file.name, ()))
    return {file for file in listed if any(_has_ending(file.name, ending) for ending in written[file.parent])}


def _has_ending(name: str, ending: str) -> bool:
    """Whether the stem of a name ends so; a suffix has two parts at most, such as `.nii.gz`."""
    stem, found, suffix = name.rpartition(f"{ending}.")
    return bool(stem and found) and suffix.count(".") < MAX_SUFFIX_PARTS


def list_taken_names(folder: Path) -> set[str]:
    """Return the keys of all file names in a folder, without temporary files; empty if there is no such folder."""
    if not folder.is_dir():
        return set()
    return {get_name_key(entry.name) for entry in folder.iterdir() if not entry.name.startswith(TEMPORARY_PREFIX)}


def find_name_limit(folder: Path) -> int:
    """Return the longest file name in bytes that the file system of a folder allows; the folder may not exist yet."""
    for place in (folder, *folder.absolute().parents):
        if place.is_dir() and hasattr(os, "pathconf"):
            try:
                return min(MAX_NAME_BYTES, os.pathconf(place, "PC_NAME_MAX"))
            except (OSError, ValueError):
                return MAX_NAME_BYTES
    return MAX_NAME_BYTES


def make_group_label(group: str, key: bytes) -> str:
    """Return the label of a DICOM patient for names and exported tables: a keyed hash, which gives no identity away.

    Equal groups have equal labels as long as the key is the same. Unlike a plain hash of a PatientID, it cannot be
    found by trying all numbers.
    """
    digest = hmac.new(key, group.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"patient-{digest[:_HASH_CHARS]}"


def read_or_make_key(folder: Path) -> bytes:
    """Return the user's secret key for group labels; the first call makes it, readable by the user only.

    Raises
    ------
    MedSegError
        If it can be neither read nor written.
    """
    path = folder / _KEY_FILE
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            beside = folder / f"{_KEY_FILE}.{secrets.token_hex(4)}"
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            replace_file(beside, path)
        return read_file(path)
    except OSError as error:
        raise MedSegError(
            f"the key that keeps PatientIDs out of file names cannot be used: {path}: {format_os_error(error)}"
        ) from error


def make_series_stem(owner: str, series_number: str) -> str:
    """Return the name of a DICOM series: group label or PatientID, and the series number if there is one."""
    return f"{owner}_series-{series_number}" if series_number else owner


def make_case_stem(group_label: str, case_id: int) -> str:
    """Return the name of a project's case, which names no one: ``patient-12_case-3``."""
    return make_file_stem(f"{group_label.replace(' ', '-')}_case-{case_id}")


def shorten_for_endings(stem: str, endings: Sequence[str], folder: Path) -> str:
    """Return a stem that, with each of these endings, is short enough for the file system of a folder."""
    return _shorten(stem, find_name_limit(folder) - max(len(ending.encode()) for ending in endings))


def use_slashes(path: str) -> str:
    r"""Return a path that any system may have written, with slashes, which all systems read.

    ``C:\scans\a.tif`` gives ``C:/scans/a.tif``: elsewhere there is no such file, but its name and folders are known.
    A path with slashes and without a drive is not of Windows; backslashes in its names stay.
    """
    is_of_windows = "/" not in path or _WINDOWS_ROOT.match(path) is not None
    return path.replace("\\", "/") if is_of_windows else path


def make_printable(text: str) -> str:
    """Return text that can be printed and written as UTF-8: bytes of file names that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _replace_unsafe(character: str) -> str:
    category = unicodedata.category(character)
    if character in _FORBIDDEN or category[0] == "C" or category in ("Zl", "Zp"):
        return "_"
    return " " if category == "Zs" else character


def _shorten(stem: str, max_bytes: int) -> str:
    data = stem.encode("utf-8")
    if len(data) <= max_bytes:
        return stem
    digest = hashlib.sha256(data).hexdigest()[:_HASH_CHARS]
    cut = data[: max(1, max_bytes - _HASH_CHARS - 1)].decode("utf-8", "ignore").rstrip(". ")
    return f"{cut}_{digest}"
