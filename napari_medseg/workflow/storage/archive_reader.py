"""Read an archive of a project that anybody may have made: names, sizes and hashes are checked, links are refused."""

import contextlib
import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from napari_medseg.core.atomic_io import CHUNK_BYTES
from napari_medseg.core.decoded_size.limit import DEFLATE_MAX_RATIO, format_bytes
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.errors import MedSegError, format_os_error, get_reason
from napari_medseg.workflow.storage.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    ArchivedFile,
    Manifest,
    parse_manifest,
)

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    LookupError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    struct.error,
)
_DAMAGED = "The archive is damaged or was changed. Use another copy, or pack the project again."


class ProjectArchive:
    """An open archive whose directory fits its manifest; use `open_archive`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = archive
        self._entries = {entry.filename: entry for entry in archive.infolist()}
        self.manifest = self._read_manifest()

    def list_faults(self) -> list[tuple[str, str]]:
        """Return the entries that do not fit the manifest, by name, with what is wrong; nothing is decompressed."""
        listed = {file.path: file for file in self.manifest.files}
        faults = [(name, "it is not in the archive's own list") for name in self._entries if name not in listed]
        faults = [fault for fault in faults if fault[0] != MANIFEST_FILE]
        if len(self._entries) != len(self._zip.infolist()):
            faults.append((self.path.name, "a name occurs twice"))
        for path, file in listed.items():
            entry = self._entries.get(path)
            if entry is None:
                faults.append((path, "it is missing"))
            elif fault := _find_fault(entry) or ("" if entry.file_size == file.size else "its size differs"):
                faults.append((path, fault))
        return faults

    def read_file(self, file: ArchivedFile) -> Generator[bytes, None, None]:
        """Yield the bytes of a file in pieces.

        Raises
        ------
        MedSegError
            At the end, if they are not those that were packed; before, if more come than were declared.
        """
        digest, n_bytes = hashlib.sha256(), 0
        try:
            with self._zip.open(self._entries[file.path]) as packed:
                while chunk := packed.read(CHUNK_BYTES):
                    digest.update(chunk)
                    n_bytes += len(chunk)
                    if n_bytes > file.size:
                        break
                    yield chunk
        except (*_DAMAGE, OSError) as error:
            raise MedSegError(
                f"{file.path} in {self.path.name} cannot be read: {get_reason(error)}. {_DAMAGED}"
            ) from error
        if n_bytes != file.size or digest.hexdigest() != file.sha256:
            raise MedSegError(f"{file.path} in {self.path.name} is not as it was packed. {_DAMAGED}")

    def _read_manifest(self) -> Manifest:
        entry = self._entries.get(MANIFEST_FILE)
        if entry is None:
            raise MedSegError(f"{self.path.name} is not an archive of a project: it has no {MANIFEST_FILE}.")
        if fault := _find_fault(entry):
            raise MedSegError(f"{MANIFEST_FILE} in {self.path.name}: {fault}. {_DAMAGED}")
        if entry.file_size > MAX_MANIFEST_BYTES:
            raise MedSegError(f"{MANIFEST_FILE} in {self.path.name} has {format_bytes(entry.file_size)}. {_DAMAGED}")
        with self._zip.open(entry) as file:
            return parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), self.path.name)


@contextmanager
def open_archive(path: Path) -> Iterator[ProjectArchive]:
    """Open an archive and read its manifest.

    Raises
    ------
    MedSegError
        If it cannot be read, is no archive of a project, or a newer program packed it.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = ProjectArchive(
                path, stack.enter_context(zipfile.ZipFile(stack.enter_context(_open_regular(path))))
            )
        except _DAMAGE as error:
            raise MedSegError(f"{path} is not an archive of a project: {get_reason(error)}. {_DAMAGED}") from error
        except OSError as error:
            raise MedSegError(f"{path} cannot be read: {format_os_error(error)}") from error
        yield archive


def _open_regular(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a file")
    return SizedFile(path)


def _find_fault(entry: zipfile.ZipInfo) -> str:
    """Return why an entry is not as this program packs; empty if it is."""
    mode = entry.external_attr >> 16
    if entry.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        return "it is a link or a folder, not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in _METHODS:
        return "its compression is unknown"
    if entry.file_size > max(1, entry.compress_size) * DEFLATE_MAX_RATIO:
        return "it claims more than its bytes can hold"
    return ""
