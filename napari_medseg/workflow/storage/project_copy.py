"""A look at a project that a window may have open: its database is copied, and nothing of it is locked or changed."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.lost_database import ensure_has_database
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors

_WAIT_S = 10.0


@contextmanager
def open_project_copy(folder: Path) -> Iterator[Project]:
    """Open a consistent copy of a project's database; only rows can be read from it, its files stay in `folder`.

    The copy is in a temporary folder that only this user can read, and is migrated to this program's version.

    Raises
    ------
    MedSegError
        If there is no project, its database is damaged, or a newer program wrote it.
    """
    ensure_has_database(folder / DATABASE)
    with tempfile.TemporaryDirectory(prefix="medseg-", ignore_cleanup_errors=True) as beside:
        copy_database(folder / DATABASE, Path(beside) / DATABASE)
        project = Project.open(Path(beside))
        try:
            yield project
        finally:
            project.close()


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as it is at one moment, also while another process writes to it.

    Raises
    ------
    MedSegError
        If it is damaged, busy for ten seconds, or the disk is full.
    """
    with translate_sqlite_errors(source), closing(_open_read_only(source)) as before, closing(_make(target)) as copy:
        before.backup(copy)


def _open_read_only(path: Path) -> sqlite3.Connection:
    place = f"file:{quote(path.absolute().as_posix())}?mode=ro"
    connection = sqlite3.connect(place, uri=True, timeout=_WAIT_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(f"{path.name}-wal").exists():  # rows of it are only there
            raise
        # SQLite needs a file beside a database with a write-ahead log, which a read-only folder does not allow.
        return sqlite3.connect(f"{place}&immutable=1", uri=True)
    return connection


def _make(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)
