"""Files that are whole or not there, and outlast a power cut: synced before they take their name, folders after."""

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
    """Give a temporary name beside `path` that becomes `path` only when all was written.

    Raises
    ------
    MedSegError
        If the folder cannot be written to; a file that was there before is left as it was.
    """
    # The suffix stays last: libraries choose the format, and whether to compress, by it.
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
        raise MedSegError(f"cannot write {path}: {error.strerror}. Choose another folder, or make room.") from error
    finally:
        with contextlib.suppress(OSError):  # a failed clean-up must not hide the error above
            temporary.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) that is whole or not there; raise `MedSegError` where the disk refuses."""
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk; systems that cannot sync a folder do so by themselves."""
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
