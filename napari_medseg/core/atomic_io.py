"""Atomic file writing that survives a power failure: the file is synced, renamed, then its folder is synced."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from napari_medseg.core.errors import MedSegError, explain, format_os_error
from napari_medseg.core.open_folders import ensure_in_place

CHUNK_BYTES = 1 << 20
TEMPORARY_PREFIX = ".writing-"
TEMPORARY_TAIL = 24
"""Characters of a file's name that its temporary file keeps."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` after everything was written.

    Raises
    ------
    MedSegError
        If the folder cannot be written to, the disk is full, or the format cannot store the content; an existing file
        is not changed. Also if the project or run that holds the file was renamed while it is open.
    """
    ensure_in_place(path)
    # The end of the name must stay: libraries choose format and compression by it. The rest would make it too long.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{path.name[-TEMPORARY_TAIL:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedSegError(f"cannot make the folder {path.parent}: {format_os_error(error)}") from error
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
    except MedSegError:
        raise
    except Exception as error:
        explained = _explain_failed_write(error, path)
        if explained is None:
            raise
        raise explained from error
    finally:
        with contextlib.suppress(OSError):  # a failed clean-up must not hide the error above
            temporary.unlink(missing_ok=True)


def _explain_failed_write(error: Exception, path: Path) -> MedSegError | None:
    if isinstance(error, OSError):
        return MedSegError(f"cannot write {path}: {format_os_error(error)}")
    explained = explain(error)
    return None if explained is None else MedSegError(f"cannot write {path}: {explained}")


def remove_unfinished_files(folder: Path) -> None:
    """Delete temporary files of `atomic_write` that a killed process left in a folder or one of its direct subfolders.

    Call it only while no other process writes there: under the lock of a project, a run or the registry.
    """
    with contextlib.suppress(OSError):  # a leftover does no harm
        for path in (*folder.glob(f"{TEMPORARY_PREFIX}*"), *folder.glob(f"*/{TEMPORARY_PREFIX}*")):
            path.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; raise `MedSegError` if it cannot be written.

    Bytes of file names that are no text are written as escapes.
    """
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk; does nothing on systems that cannot sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def compute_file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
