"""Projects of older versions: clear names move from their tables and image files into the table `identities`.

Groups are mapped one to one, so that the hold-out has the same cases afterwards. Pages of the database that held names
are overwritten. What older versions wrote besides, such as run folders, is cleaned by `medseg groups remove-old-names`.
"""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.grouping.keyed_groups import choose_group_noun
from napari_medseg.core.project.identities import (
    CASE,
    CREATE_IDENTITIES,
    PATTERN,
    add_group,
    add_key,
)
from napari_medseg.core.tasks.bundled_tasks import TASKS

IDENTITIES_VERSION = 8
"""The version of the database that has the table."""

_GROUP_TABLES = ("cases", "case_groups", "hold_out", "run_items")
_KEEP_RUN_ITEMS = """CREATE TRIGGER run_items_stay BEFORE UPDATE ON run_items
    BEGIN SELECT RAISE(ABORT, 'what a run saw is immutable'); END"""
_GROUP_VIEW = """CREATE VIEW cases_with_group AS SELECT id, task, coalesce((SELECT case_groups."group" FROM case_groups
    WHERE case_groups.case_id = cases.id ORDER BY case_groups.id DESC LIMIT 1), cases."group") AS "group",
    content_hash, axes, shape, spacing_mm, created FROM cases"""


# The label is the group without its hash: rtrim takes the hexadecimal digits away, then the separator.
_SIDE_VIEW = f"""CREATE VIEW cases_with_side AS SELECT c.*,
    rtrim(rtrim(c."group", '0123456789abcdef'), ' #') || ' case ' || c.id AS name,
    coalesce(i.sources, '[]') AS sources, coalesce(i.value, '') AS file_name, coalesce(i.series, '') AS series,
    coalesce((SELECT held_out FROM hold_out WHERE hold_out."group" = c."group" ORDER BY hold_out.id DESC LIMIT 1), 0)
    AS held_out
    FROM cases_with_group AS c LEFT JOIN identities AS i ON i.kind = '{CASE}' AND i.subject = CAST(c.id AS TEXT)"""


def move_identities(connection: sqlite3.Connection) -> None:
    """Make the table and move all clear names into it; a step of the migrations, in their transaction."""
    connection.execute(CREATE_IDENTITIES)
    add_key(connection)
    _key_groups(connection)
    connection.execute(
        "INSERT INTO identities (kind, subject, value, sources, created) "
        f"SELECT '{CASE}', CAST(id AS TEXT), name, sources, created FROM cases ORDER BY id"
    )
    connection.execute(
        "INSERT INTO identities (kind, subject, value, created) "
        f"SELECT '{PATTERN}', CAST(id AS TEXT), pattern, created FROM group_patterns ORDER BY id"
    )
    for statement in (
        "DROP VIEW cases_with_side",
        "DROP VIEW cases_with_group",
        "DROP TABLE group_patterns",
        "ALTER TABLE cases DROP COLUMN name",
        "ALTER TABLE cases DROP COLUMN sources",
        _GROUP_VIEW,
        _SIDE_VIEW,
    ):
        connection.execute(statement)


def _key_groups(connection: sqlite3.Connection) -> None:
    """Replace each group by its keyed one, in the order in which the groups were imported."""
    noun_of = dict(connection.execute('SELECT "group", task FROM cases ORDER BY id DESC').fetchall())
    keyed: dict[str, str] = {}
    connection.execute("DROP TRIGGER run_items_stay")
    for table in _GROUP_TABLES:
        rows = connection.execute(f'SELECT rowid, "group" FROM {table} ORDER BY rowid').fetchall()
        for row_id, group in rows:
            if group not in keyed:
                task = TASKS.get(noun_of.get(group, ""))
                keyed[group] = add_group(connection, group, choose_group_noun(task) if task else "patient")
            connection.execute(f'UPDATE {table} SET "group" = ? WHERE rowid = ?', [keyed[group], row_id])
    connection.execute(_KEEP_RUN_ITEMS)


def finish_identities(connection: sqlite3.Connection, path: Path) -> None:
    """Clean what the migration left: texts beside the image copies, old pages of the database, and its backup.

    The backup is removed last, so that all of this is done again if it was interrupted.
    """
    backup = get_backup_path(path, IDENTITIES_VERSION)
    if not backup.exists():
        return
    for origin in sorted((path.parent / "images").glob("*.json")):
        _clean_origin(connection, origin)
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if (verdict := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(verdict)
    backup.unlink()


def get_backup_path(path: Path, version: int) -> Path:
    """Return where the database is kept as it was before a version."""
    return path.with_name(f"{path.stem}.before-version-{version}.sqlite")


def _clean_origin(connection: sqlite3.Connection, path: Path) -> None:
    """Move the series UID of an image copy into `identities`; clear the texts of its header."""
    from napari_medseg.core.formats.decode_errors import translate_decode_errors
    from napari_medseg.core.nifti.header import clear_header_texts
    from napari_medseg.core.project.case_files import keep_known_words

    try:
        with translate_decode_errors(path, "the metadata of an image"):
            origin: dict[str, Any] = json.loads(read_file(path))
            series = str(origin["series"])
            header = clear_header_texts(bytes.fromhex(origin.get("nifti_header", "")))
            acquisition = keep_known_words(Acquisition(**origin.get("acquisition", {})))
    except MedSegError as error:
        report_damage(f"{error} It keeps the names that it may hold.")
        return
    connection.execute(
        f"UPDATE identities SET series = ? WHERE kind = '{CASE}' AND series = '' AND subject IN "
        "(SELECT CAST(id AS TEXT) FROM cases WHERE content_hash = ?)",
        [series, path.stem],
    )
    origin |= {"series": "", "notes": [], "nifti_header": header.hex()}
    origin |= {"acquisition": asdict(acquisition)}
    atomic_write_text(path, json.dumps(origin) + "\n")
