"""Folders of images or masks that are packed in a zip archive: they are unpacked as long as their pairs are used."""

from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core.containers.zip_archive import UnpackedArchive, is_zip, unpack


@dataclass(frozen=True)
class OpenedFolder:
    """A folder, and the archive whose files lie in it; `None` if it is a folder of the disk."""

    path: Path
    archive: UnpackedArchive | None = field(default=None, repr=False)


def open_folder(path: Path) -> OpenedFolder:
    """Return a folder itself, or that of the files of an archive, without the folders in it that hold only one folder.

    Raises
    ------
    MedSegError
        If the archive is damaged, encrypted, or too large.
    """
    if not is_zip(path):
        return OpenedFolder(path)
    archive = unpack(path)
    folder = archive.folder
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return OpenedFolder(folder, archive)
