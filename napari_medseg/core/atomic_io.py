"""Atomic file writing that survives a power failure: the file is synced, renamed, then its folder is synced."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from napari_medseg.core.errors import MedSegError

CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` after everything was written.

    Raises
    ------
    MedSegError
        If the folder cannot be written to; an existing file is not changed.
    """
    # The suffix must stay last: libraries choose format and compression by it.
    temporary = path.with_name(f".writing-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedSegError(f"cannot make the folder {path.parent}: {error.strerror}. Choose another folder.") from error
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise MedSegError(
            f"cannot write {path}: {error.strerror}. Choose another folder, or free disk space."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a failed clean-up must not hide the error above
            temporary.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; raise `MedSegError` if it cannot be written."""
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")
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
