"""Errors of SQLite as messages: a database that is busy, a disk that is full, a file that is damaged."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import make_printable


@contextlib.contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite on the database `path` as `MedSegError`; wrong statements of ours pass unchanged."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except UnicodeEncodeError as error:  # what was to be written; the file is as it was
        raise MedSegError(
            f"{make_printable(error.object)!r} cannot be stored in the project: some of its bytes are no text. Rename "
            "the file or folder that has this name, then add it again."
        ) from error
    except (sqlite3.DatabaseError, UnicodeError) as error:  # the message of SQLite may quote wrong bytes
        is_busy = (
            isinstance(error, sqlite3.OperationalError)
            and getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR
        )
        if is_busy:  # or the disk is full; a table or column that is missing is damage
            raise MedSegError(
                f"cannot use {path}: {error}. Free disk space or close other programs that use the file, then try "
                "again."
            ) from error
        raise MedSegError(
            f"{path} is damaged: {error}. Labels, images and journals in the folders beside it are not affected. "
            "Restore the file from a backup, or move it away and start a new project."
        ) from error
