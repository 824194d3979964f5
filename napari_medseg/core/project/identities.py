"""The table `identities`: the only place of a project with clear names, and the key that keeps them out elsewhere.

It holds the key of the project, the clear name of each group, the file name, paths and series UID of each case, the
patterns that people typed, and their notes about cases. Nothing exports it but notes, see `workflow.output.notes`. All
other tables and files know groups by their keyed hash (`core.grouping.keyed_groups`), cases by their number, and the
people who correct by a label such as ``reader 2``.
"""

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from sqlite3 import Connection
from typing import Protocol

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import compute_group_digest, get_group_digest, make_keyed_group
from napari_medseg.core.name_matching import find_name
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.records import Case, CaseNote, now

KEY_BYTES = 32
KEY, GROUP, CASE, PATTERN = "key", "group", "case", "pattern"
NOTE, REASON, READER = "note", "rejection reason", "reader"
SHARED_UID, SHARED_PATIENT = "shared uid", "shared patient"
"""Kinds of rows. The subject of a group is its keyed hash, that of a case its number, that of a text its row's id, and
that of a reader the label. That of a shared UID or patient is the new one, its value the old one."""
READER_LABEL = re.compile(r"reader ([1-9][0-9]{0,8})")

CREATE_IDENTITIES = """CREATE TABLE identities (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL,
    label TEXT NOT NULL DEFAULT '', sources TEXT NOT NULL DEFAULT '[]', series TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL, UNIQUE (kind, subject))"""
_GROUP_COLUMNS = "label || ' #' || subject"


class _Transaction(Protocol):
    def __call__(self) -> AbstractContextManager[None]: ...


class Identities:
    """The clear names of an open project; `Project.identities` makes it.

    Parameters
    ----------
    path, connection, transaction
        The database, its connection, and `Project.transaction`.
    """

    def __init__(self, path: Path, connection: Connection, transaction: _Transaction) -> None:
        self._path = path
        self._connection = connection
        self._transaction = transaction

    def key_group(self, group: str, noun: str = "patient") -> str:
        """Return the keyed group of a clear one; the first time, it gets the next number of its noun.

        A group that is keyed already is returned as it is.
        """
        with self._transaction():
            if (known := self.find_group(group)) is not None:
                return known
            return add_group(self._connection, group, noun)

    def hash_text(self, text: str) -> str:
        """Return the keyed hash of a text that may name someone, such as a path; without the key it tells nothing."""
        with translate_sqlite_errors(self._path):
            return compute_group_digest(text, read_key(self._connection))

    def find_group(self, group: str) -> str | None:
        """Return the keyed group of a clear or keyed one; `None` if the project does not have it."""
        with translate_sqlite_errors(self._path):
            digests = (get_group_digest(group), compute_group_digest(group, read_key(self._connection)))
            found = [_find_keyed(self._connection, digest) for digest in digests]
        return group if found[0] == group else found[1]

    def read_groups(self) -> dict[str, str]:
        """Return the clear name of each group by its keyed one."""
        with translate_sqlite_errors(self._path):
            query = f"SELECT {_GROUP_COLUMNS}, value FROM identities WHERE kind = ? ORDER BY id"
            return dict(self._connection.execute(query, [GROUP]).fetchall())

    def set_pattern(self, pattern: str) -> None:
        """Write the pattern that names the groups of new cases from now on; empty: the rule of `core.grouping`."""
        with self._transaction():
            ((number,),) = self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM identities").fetchall()
            insert_identity(self._connection, PATTERN, f"after row {number}", pattern)

    def read_pattern(self) -> str:
        """Return the current pattern; empty if there is none."""
        with translate_sqlite_errors(self._path):
            query = "SELECT value FROM identities WHERE kind = ? ORDER BY id DESC LIMIT 1"
            found = self._connection.execute(query, [PATTERN]).fetchone()
        return str(found[0]) if found else ""

    def key_reader(self, name: str) -> str:
        """Return the label of a person who corrects, such as ``reader 2``; the first time, it gets the next number."""
        with self._transaction():
            return self.find_reader(name) or add_reader(self._connection, name)

    def find_reader(self, name: str) -> str:
        """Return the label of a person, whose name may differ in case; empty if the project does not know it."""
        labels = {value: label for label, value in self.read_readers().items()}
        known = find_name(name, labels)
        return "" if known is None else labels[known]

    def read_readers(self) -> dict[str, str]:
        """Return the clear name of each person who corrects by the label."""
        with translate_sqlite_errors(self._path):
            query = "SELECT subject, value FROM identities WHERE kind = ? ORDER BY id"
            return dict(self._connection.execute(query, [READER]).fetchall())

    def rename_reader(self, label: str, name: str) -> None:
        """Give a person another name; the label stays."""
        with self._transaction():
            query = "UPDATE identities SET value = ? WHERE kind = ? AND subject = ?"
            self._connection.execute(query, [name, READER, label])

    def find_sources(self, part: str) -> dict[int, tuple[str, ...]]:
        """Return the paths of cases by their number, of those in whose paths a text occurs; no other case is read."""
        with translate_sqlite_errors(self._path):
            query = "SELECT subject, sources FROM identities WHERE kind = ? AND instr(sources, ?) ORDER BY id"
            found = self._connection.execute(query, [CASE, json.dumps(part)[1:-1]]).fetchall()
        return {int(subject): tuple(json.loads(sources)) for subject, sources in found}

    def move_sources(self, sources: Mapping[int, tuple[str, ...]]) -> None:
        """Write where the files of cases lie now, by the number of the case; their content must be the same."""
        if not sources:  # a project that cannot be written to just now can still be looked at
            return
        with self._transaction():
            for case_id, paths in sources.items():
                self._connection.execute(
                    "UPDATE identities SET sources = ? WHERE kind = ? AND subject = ?",
                    [json.dumps(paths), CASE, str(case_id)],
                )

    def keep_shared(self, uids: Mapping[str, str], patients: Mapping[str, str]) -> None:
        """Write which UIDs and PatientIDs shared DICOM files had before, by the new ones; known ones stay."""
        known = {subject for kind in (SHARED_UID, SHARED_PATIENT) for subject in self.read_shared(kind)}
        with self._transaction():
            for kind, replaced in ((SHARED_UID, uids), (SHARED_PATIENT, patients)):
                for new, old in replaced.items():
                    if new not in known:
                        insert_identity(self._connection, kind, new, old)

    def read_shared(self, kind: str) -> dict[str, str]:
        """Return the old UIDs (`SHARED_UID`) or PatientIDs (`SHARED_PATIENT`) by the new ones."""
        with translate_sqlite_errors(self._path):
            query = "SELECT subject, value FROM identities WHERE kind = ? ORDER BY id"
            return dict(self._connection.execute(query, [kind]).fetchall())


def add_case_identity(connection: Connection, case_id: int, case: Case) -> None:
    """Write the file name, paths and series UID of a new case, or of one that is used for another task, too."""
    value = case.file_name or case.name
    insert_identity(connection, CASE, str(case_id), value, sources=case.sources, series=case.series)


def add_note_texts(connection: Connection, note_id: int, note: CaseNote) -> None:
    """Write the texts of a new note."""
    for kind, text in ((NOTE, note.note), (REASON, note.reason)):
        if text:
            insert_identity(connection, kind, str(note_id), text)


def add_group(connection: Connection, group: str, noun: str) -> str:
    """Write a new group and return its keyed form."""
    query = "SELECT count(*) FROM identities WHERE kind = ? AND label LIKE ?"
    number = connection.execute(query, [GROUP, f"{noun} %"]).fetchone()[0] + 1
    digest = compute_group_digest(group, read_key(connection))
    insert_identity(connection, GROUP, digest, group, label=f"{noun} {number}")
    return make_keyed_group(noun, number, digest)


def add_reader(connection: Connection, name: str) -> str:
    """Write a new person who corrects and return the label; no row of the project has it yet.

    A label that a row has, but no identity, belongs to somebody: an archive without identities may have lost the name.
    """
    used = [subject for (subject,) in connection.execute("SELECT subject FROM identities WHERE kind = ?", [READER])]
    for table in list_tables_with_readers(connection):
        used += [who for (who,) in connection.execute(f'SELECT DISTINCT who FROM "{table}"')]
    numbers = [int(found[1]) for label in used if (found := READER_LABEL.fullmatch(str(label)))]
    return insert_reader(connection, max(numbers, default=0) + 1, name)


def insert_reader(connection: Connection, number: int, name: str) -> str:
    """Write a person with a number that nobody has, and return the label."""
    label = f"reader {number}"
    insert_identity(connection, READER, label, name, label=label)
    return label


def list_tables_with_readers(connection: Connection) -> list[str]:
    """Return the tables whose rows say who made them, in the order in which they were created."""
    query = """SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p
        WHERE m.type = 'table' AND p.name = 'who' ORDER BY m.rowid"""
    return [table for (table,) in connection.execute(query).fetchall()]


def add_key(connection: Connection) -> None:
    """Write the random key of a new or migrated project."""
    insert_identity(connection, KEY, "", secrets.token_hex(KEY_BYTES))


def read_key(connection: Connection) -> bytes:
    """Return the key of the project.

    Raises
    ------
    MedSegError
        If it is lost or damaged: groups of new images could not be compared with those of the cases.
    """
    found = connection.execute("SELECT value FROM identities WHERE kind = ?", [KEY]).fetchone()
    try:
        if found is not None and len(key := bytes.fromhex(found[0])) == KEY_BYTES:
            return key
    except (TypeError, ValueError):
        pass
    raise MedSegError("the key of the groups in the database is damaged. Restore the file from a backup.")


def insert_identity(
    connection: Connection,
    kind: str,
    subject: str,
    value: str,
    *,
    label: str = "",
    sources: tuple[str, ...] = (),
    series: str = "",
) -> None:
    """Write one row."""
    connection.execute(
        "INSERT INTO identities (kind, subject, value, label, sources, series, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [kind, subject, value, label, json.dumps(sources), series, now()],
    )


def _find_keyed(connection: Connection, digest: str) -> str | None:
    query = f"SELECT {_GROUP_COLUMNS} FROM identities WHERE kind = ? AND subject = ?"
    found = connection.execute(query, [GROUP, digest]).fetchone()
    return None if found is None else str(found[0])
