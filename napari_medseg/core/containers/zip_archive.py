"""Zip archives of a study, unpacked piece by piece into a temporary folder, within limits that are known before.

An archive is a file of somebody else: it may name paths outside of itself, announce terabytes, hold millions of entries
or further archives. Nothing is written before all of its list was checked, and never more than the list announces.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from napari_medseg.core.decoded_size.limit import ALWAYS_PLAUSIBLE_BYTES, MAX_RATIO, format_bytes
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES

ZIP_SUFFIX = ".zip"
_PROJECT_SUFFIX = ".medseg.zip"
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
MAX_ENTRIES = 50_000
MAX_DEPTH = 3
"""Archives in archives that are opened: a study packed for mail, in one packed by the archive, in one of a download."""
DISK_SHARE = 0.5
"""Of the free space for temporary files, that an archive may take."""
_CHUNK_BYTES = 2**20
_ENTRY_BYTES = 46 + 512
"""What an entry of the list takes, with its name; longer names are not of a scanner."""
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_IS_ENCRYPTED = 0x1
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"
_END_BYTES, _END_64_BYTES, _LOCATOR_BYTES, _MAX_COMMENT_BYTES = 22, 56, 20, 2**16
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f]')
_MAX_NAME = 150
# The voxels of these headers lie in another file of their folder.
_HEADERS = (".hdr", ".img", ".mhd", ".nhdr")


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive by its name and its first bytes; fast."""
    if path.suffix.lower() != ZIP_SUFFIX or not os.path.isfile(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) in _MAGIC
    except OSError:
        return False


class UnpackedArchive:
    """Files of an archive in a temporary folder, which is removed with this object, or when the program ends.

    `videos` are the inner paths of its videos, which are not unpacked: they are read piece by piece for a long time.

    Parameters
    ----------
    path
        The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        temporary = tempfile.mkdtemp(prefix="napari-medseg-")
        self._remove = weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        self.folder = Path(temporary, _make_safe(path.stem or path.name))
        self.folder.mkdir()
        self._inner_of: dict[Path, Path] = {}
        self.videos: list[Path] = []

    def remove(self) -> None:
        """Remove the folder now."""
        self._remove()

    def add(self, inner: Path) -> Path:
        """Return where a file of the archive is to be written; its folder is made."""
        target = self.folder.joinpath(*map(_make_safe, inner.parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        self._inner_of[target] = inner
        return target

    def get_inner_path(self, file: Path) -> Path:
        """Return the path of a file of the folder, or of a part of it, as one that leads into the archive."""
        for each in (file, *file.parents):
            if each in self._inner_of:
                return self.path / self._inner_of[each] / file.relative_to(each)
        return self.path / file.relative_to(self.folder)

    def find_file(self, inner: Path) -> Path:
        """Return where a file of the archive, or a part of it, lies now."""
        return self.folder.joinpath(*map(_make_safe, inner.parts))


def unpack(path: Path, only: Collection[Path] = ()) -> UnpackedArchive:
    """Unpack an archive, and the archives in it, into a temporary folder.

    Parameters
    ----------
    path
        The archive.
    only
        Inner paths of the files that are needed; all files if empty.

    Raises
    ------
    MedSegError
        If it is damaged, encrypted, names paths outside of itself, or would take too much space; the text says which.
    """
    if path.name.lower().endswith(_PROJECT_SUFFIX):
        raise MedSegError(f"{path.name} is a packed project. Open it with: medseg project unpack {path.name}")
    unpacked = UnpackedArchive(path)
    try:
        with _translate_zip_errors(path.name), path.open("rb") as file:
            wanted = frozenset(each for one in only for each in (one, *one.parents)) - {Path()}
            folders = frozenset(one.parent for one in only if one.suffix.lower() in _HEADERS)
            _Unpacking(unpacked, wanted, folders, _Budget.of(path)).run(file, Path(), path.name, depth=1)
    except BaseException:
        unpacked.remove()
        raise
    return unpacked


@dataclass
class _Budget:
    """What may still be written."""

    name: str
    n_entries: int
    n_bytes: int
    reason: str

    @classmethod
    def of(cls, path: Path) -> "_Budget":
        free = shutil.disk_usage(tempfile.gettempdir()).free
        disk_bytes = path.stat().st_size
        plausible = max(ALWAYS_PLAUSIBLE_BYTES, MAX_RATIO * disk_bytes)
        by_disk = int(free * DISK_SHARE)
        reason = f"it has only {format_bytes(disk_bytes)} on disk" if plausible < by_disk else "half of the free space"
        return cls(path.name, MAX_ENTRIES, min(plausible, by_disk), reason)

    def take(self, n_entries: int, n_bytes: int) -> None:
        """Count what an archive announces; raise `MedSegError` if that is too much."""
        self.n_entries -= n_entries
        self.n_bytes -= n_bytes
        if self.n_entries < 0:
            raise MedSegError(f"{self.name} holds more than {MAX_ENTRIES:,} files. Unpack the part that you need.")
        if self.n_bytes < 0:
            raise MedSegError(
                f"{self.name} would take {format_bytes(n_bytes)} of disk space when it is unpacked, which is more than "
                f"is allowed ({self.reason}). If you trust it, unpack it, and open the folder."
            )


@dataclass(frozen=True)
class _Unpacking:
    """One call of `unpack`; `wanted` are inner paths of files and their folders, all if both are empty."""

    unpacked: UnpackedArchive
    wanted: frozenset[Path]
    folders: frozenset[Path]
    budget: _Budget

    def run(self, file: BinaryIO, inside: Path, name: str, depth: int) -> None:
        """Unpack an open archive that lies at the inner path `inside`."""
        refuse_long_list(file, name)
        with zipfile.ZipFile(file) as archive:
            entries = {inside / inner: entry for inner, entry in _list_files(archive, name)}
            entries = {inner: entry for inner, entry in entries.items() if self._needs(inner)}
            self.unpacked.videos += [
                inner for inner in entries if _is_video(inner)
            ]  # too large, and not read from here
            entries = {inner: entry for inner, entry in entries.items() if not _is_video(inner)}
            self.budget.take(len(entries), sum(entry.file_size for entry in entries.values()))
            for inner, entry in entries.items():
                if inner.suffix.lower() == ZIP_SUFFIX:
                    self._run_inner(archive, entry, inner, depth)
                else:
                    _write(archive, entry, self.unpacked.add(inner))

    def _run_inner(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, inner: Path, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise MedSegError(f"{self.budget.name} holds archives in archives ({inner}). Unpack it first.")
        packed = self.unpacked.folder.with_name(f"{self.unpacked.folder.name}.inner{depth}")
        _write(archive, entry, packed)
        with packed.open("rb") as file:
            self.run(file, inner, f"{self.budget.name}/{inner.as_posix()}", depth + 1)
        packed.unlink()

    def _needs(self, inner: Path) -> bool:
        return not self.wanted or inner in self.wanted or inner.parent in self.folders


def _is_video(inner: Path) -> bool:
    """Whether a file of an archive is a video by its name; ``.ts`` may be text of a program."""
    return inner.suffix.lower() in VIDEO_SUFFIXES and inner.suffix.lower() != ".ts"


def _list_files(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[Path, zipfile.ZipInfo]]:
    """Yield the files with their paths; links, folders and what macOS adds are left out."""
    for entry in archive.infolist():
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or (parts and re.fullmatch(r"[a-zA-Z]:", parts[0])):
            raise MedSegError(
                f"{name} names a file outside of itself ({entry.filename[:80]}). It is damaged, or made to write into "
                "your folders; nothing was unpacked. Ask where it comes from."
            )
        if not parts or entry.is_dir() or stat.S_ISLNK(entry.external_attr >> 16):
            continue
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if entry.flag_bits & _IS_ENCRYPTED:
            raise MedSegError(f"{name} is encrypted. Unpack it with its password, and open the folder.")
        if entry.compress_type not in _PACKINGS:
            raise MedSegError(f"{name} is packed in an unusual way. Unpack it with the program that packed it.")
        yield Path(*parts), entry


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Write an entry chunk by chunk; zipfile checks its checksum, and stops at the size that the list announces."""
    with archive.open(entry) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK_BYTES)
    if target.stat().st_size != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} ends too early")


def refuse_long_list(file: BinaryIO, name: str) -> None:
    """Refuse an archive by the size of its list, which zipfile reads whole; what is damaged is left to zipfile."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES - _MAX_COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(_END)
    file.seek(0)
    if end < 0 or len(tail) < end + _END_BYTES:
        return
    list_bytes = int.from_bytes(tail[end + 12 : end + 16], "little")
    wide = end - _LOCATOR_BYTES - _END_64_BYTES
    if wide >= 0 and tail[wide : wide + 4] == _END_64:
        list_bytes = max(list_bytes % 0xFFFFFFFF, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if list_bytes > min(size, MAX_ENTRIES * _ENTRY_BYTES):
        raise MedSegError(
            f"{name} is damaged, or lists more than {MAX_ENTRIES:,} files. Unpack the part that you need."
        )


@contextlib.contextmanager
def _translate_zip_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MedSegError(f"{name} is a damaged zip archive: {reason}. Copy or download it again.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise MedSegError(
            f"{name} is a damaged zip archive: it names a file that is a folder, too. Unpack it, and open the folder."
        ) from error


def _make_safe(part: str) -> str:
    """Return a name that every file system takes; a changed one has a hash, so that no two names become one."""
    safe = _UNSAFE.sub("_", part).rstrip(". ") or "_"
    if safe == part and len(safe.encode(errors="replace")) <= _MAX_NAME:
        return safe
    digest = hashlib.sha256(part.encode(errors="replace")).hexdigest()[:12]
    path = PurePosixPath(safe)
    return f"{path.stem[:40]}~{digest}{path.suffix[:20]}"
