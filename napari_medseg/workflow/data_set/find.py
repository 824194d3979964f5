"""Whether a folder or an archive is a data set of this program."""

import zipfile
from pathlib import Path, PurePosixPath

from napari_medseg.core.containers.zip_archive import is_zip, refuse_long_list
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.data_set.card import CARD_FILE

_MAX_DEPTH = 3
"""Folders around the card in an archive that was packed by hand."""


def is_data_set(path: Path) -> bool:
    """Whether a folder, or a zip archive of one, holds the card of a data set; what cannot be read is none."""
    if path.is_dir():
        return (path / CARD_FILE).is_file()
    if not is_zip(path):
        return False
    try:
        with path.open("rb") as file:
            refuse_long_list(file, path.name)
            with zipfile.ZipFile(file) as archive:
                names = map(PurePosixPath, archive.namelist())
                return any(name.name == CARD_FILE and len(name.parts) <= _MAX_DEPTH for name in names)
    except (MedSegError, OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # opening it as an archive says what is wrong
