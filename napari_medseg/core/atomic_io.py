"""What makes a write outlast a power cut: files synced before they take their name, folders after."""

import contextlib
import hashlib
import os
from pathlib import Path

from napari_medseg.core.formats.decode_errors import atomic_write

CHUNK_BYTES = 1 << 20


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
