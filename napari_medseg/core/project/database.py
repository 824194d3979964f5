"""The project: an SQLite database, with folders for images, labels, journals and runs beside it.

Files are written before their rows, so a crash can leave an unused file but never a row without a file. Rows are only
inserted, except that the states of reviews and runs are updated. Only the thread that opened a project may use it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Self

from napari_medseg.core.atomic_io import remove_unfinished_files
from napari_medseg.core.errors import MedSegError, format_os_error, get_reason
from napari_medseg.core.file_names import PROJECT_DATABASE
from napari_medseg.core.open_folders import ensure_in_place, unwatch_folder, watch_folder
from napari_medseg.core.project import case_history
from napari_medseg.core.project.case_history import ALL_IDS, CaseHistory, ListedCases, Span
from napari_medseg.core.project.identities import Identities, add_case_identity, add_note_texts
from napari_medseg.core.project.lock import FolderLock
from napari_medseg.core.project.lost_database import ensure_database_not_lost, ensure_has_database
from napari_medseg.core.project.migrations import open_database
from napari_medseg.core.project.rows import (
    TABLES,
    Record,
    RunItem,
    decode_record,
    decode_rows,
    encode_record,
    quote_column,
)
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.records import Case, CaseNote, Correction, Review, ReviewState, Run, RunState, now
from napari_medseg.core.snapshot import Role

DATABASE = PROJECT_DATABASE
FOLDERS = ("images", "labels", "journal", "runs", "exports")


class Project:
    """An open project; use `Project.open` or `Project.create`."""

    def __init__(self, folder: Path, lock: FolderLock, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._lock = lock
        self._connection = connection
        self.identities = Identities(folder / DATABASE, connection, self.transaction)
        self.listed = ListedCases(folder / DATABASE, connection)
        self._accepted_cases = case_history.AcceptedCases(connection)
        self._n_rollbacks = 0
        self._accepted: tuple[int, str | None, tuple[tuple[Case, Correction], ...]] | None = None
        watch_folder(
            folder,
            f"the project folder {folder} was renamed, moved or replaced while it is open, so nothing was saved. The "
            "draft is kept. Give the folder its name again, or close the project and open it where it is now.",
        )

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Create a project in a folder that holds none.

        Raises
        ------
        MedSegError
            If the folder already holds a project, also one whose database is lost, or cannot be written to.
        """
        if (folder / DATABASE).exists():
            raise MedSegError(f"{folder} already holds a project. Open it, or choose another folder.")
        ensure_database_not_lost(folder / DATABASE)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MedSegError(
                f"cannot make {folder}: {get_reason(error)}. Choose a folder you may write in."
            ) from error
        return cls._connect(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a project and migrate its database to this program's version.

        Raises
        ------
        MedSegError
            If there is no project, another window has it open, it is damaged, its database is empty although labels lie
            beside it, or a newer program wrote it.
        """
        ensure_has_database(folder / DATABASE)
        return cls._connect(folder)

    @classmethod
    def _connect(cls, folder: Path) -> Self:
        lock = FolderLock(folder)
        try:
            if (folder / DATABASE).is_file() and not (folder / DATABASE).stat().st_size:
                ensure_database_not_lost(folder / DATABASE)  # before SQLite, which would remove the journal beside it
            for name in FOLDERS:
                (folder / name).mkdir(exist_ok=True)
            remove_unfinished_files(folder)
            return cls(folder, lock, open_database(folder / DATABASE))
        except OSError as error:
            lock.release()
            raise MedSegError(f"cannot use {folder} as a project: {format_os_error(error)}") from error
        except MedSegError:
            lock.release()
            raise

    def close(self) -> None:
        """Close the database and release the lock. Calling it twice is allowed."""
        unwatch_folder(self.folder)
        self._connection.close()
        self._lock.release()

    @property
    def n_changes(self) -> int:
        """Number of rows written, and of rollbacks, since it was opened; while it stays, what was read is current."""
        return self._connection.total_changes + self._n_rollbacks

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all rows inside the context, or none of them, also inside another transaction, which may go on.

        Raises
        ------
        MedSegError
            If the disk is full, the database is damaged, or the project folder was renamed while it is open.
        """
        if self._connection.in_transaction:
            yield from self._write_all_or_none("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part; RELEASE part")
            return
        ensure_in_place(self.folder)
        with translate_sqlite_errors(self.folder / DATABASE):
            yield from self._write_all_or_none("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")

    def _write_all_or_none(self, begin: str, commit: str, take_back: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute(commit)
        except BaseException:
            self._n_rollbacks += 1
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # a failed clean-up must not hide the error
                    for statement in take_back.split("; "):
                        self._connection.execute(statement)
            raise

    def insert(self, record: Record) -> Record:
        """Write a new row and return the record with its id; a run has its own id, others must have id 0.

        Name, sources and series of a case, and the texts of a note, go into the table `identities`, and the group of a
        case is keyed, also in the result.
        """
        columns = encode_record(record)
        with self.transaction():
            if isinstance(record, Case):
                columns["group"] = self.identities.key_group(record.group)
            row_id = self._connection.execute(
                f"INSERT INTO {TABLES[type(record)].write} ({', '.join(map(quote_column, columns))}) "
                f"VALUES ({', '.join('?' * len(columns))})",
                list(columns.values()),
            ).lastrowid
            if isinstance(record, Case):
                add_case_identity(self._connection, int(row_id or 0), record)
            if isinstance(record, CaseNote):
                add_note_texts(self._connection, int(row_id or 0), record)
        if isinstance(record, Run):
            return record
        return self.get_record(type(record), int(row_id or 0))

    def read_records(self, kind: type[Record], column: str = "", value: str | int = "") -> list[Record]:
        """Read all records of a type in insertion order, or those whose `column` equals `value`."""
        order = "rowid" if kind is Run else "id"
        where = f"WHERE {quote_column(column)} = ?" if column else ""
        names = [field.name for field in fields(kind)]
        query = f"SELECT {', '.join(map(quote_column, names))} FROM {TABLES[kind].read} {where} ORDER BY {order}"
        with translate_sqlite_errors(self.folder / DATABASE):
            found = self._connection.execute(query, [value] if column else []).fetchall()
            return decode_rows(self._connection, found, partial(decode_record, kind))

    def get_record(self, kind: type[Record], record_id: int | str) -> Record:
        """Return the record with an id; raise `MedSegError` if there is none."""
        found = self.read_records(kind, "id", record_id)
        if not found:
            raise MedSegError(f"the project has no {kind.__name__.lower()} {record_id}. Choose one that it lists.")
        return found[0]

    def read_case_history(self, case_id: int) -> CaseHistory:
        """Read a case with its newest records in one query; raise `MedSegError` if there is no such case."""
        with translate_sqlite_errors(self.folder / DATABASE):
            found = case_history.read_case_history(self._connection, case_id)
        if found is None:
            raise MedSegError(f"the project has no case {case_id}. Choose one that it lists.")
        return found

    def read_case_histories(
        self, task: str | None = None, ids: Span = ALL_IDS, *, with_open_review: bool = False
    ) -> list[CaseHistory]:
        """Read the cases (of a task) that are on a list, in insertion order; see `case_history`."""
        with translate_sqlite_errors(self.folder / DATABASE):
            return case_history.read_case_histories(self._connection, task, ids, with_open_review=with_open_review)

    def read_accepted_cases(self, task: str | None = None) -> tuple[tuple[Case, Correction], ...]:
        """Read each case (of a task) whose last review was accepted, with its newest correction, in one query.

        The result is cached until something is written: no other process writes while this one holds the lock.
        """
        if self._accepted is not None and self._accepted[:2] == (self.n_changes, task):
            return self._accepted[2]
        with translate_sqlite_errors(self.folder / DATABASE):
            found = self._accepted_cases.read(task)
        if not self._connection.in_transaction:  # what is rolled back was counted as a change, too
            self._accepted = (self.n_changes, task, found)
        return found

    def close_review(self, review: Review) -> None:
        """Write the final state, seconds, changed voxels, doubtful places, person and end time of an open review.

        Raises
        ------
        MedSegError
            If the review is closed already.
        """
        with self.transaction():
            changed = self._connection.execute(
                "UPDATE reviews SET state = ?, seconds = ?, changed_voxels = ?, closed = ?, doubtful_places = ?, "
                "doubtful_places_seen = ?, who = ? WHERE id = ? AND state = ?",
                [
                    *(review.state, review.seconds, review.changed_voxels, review.closed, review.doubtful_places),
                    *(review.doubtful_places_seen, review.who, review.id, ReviewState.OPEN),
                ],
            ).rowcount
        if changed != 1:
            raise MedSegError("this review is closed already. Open the case again to change its labels once more.")

    def withdraw_review(self, review: Review) -> None:
        """Remove the row of an open review in which nobody did anything, as the work failed that it was opened for."""
        with self.transaction():
            self._connection.execute("DELETE FROM reviews WHERE id = ? AND state = ?", [review.id, ReviewState.OPEN])

    def set_run_state(self, run: Run, state: RunState, result_model: str | None = None) -> Run:
        """Write the state of a run and, if given, its resulting version."""
        after = replace(run, state=state, result_model=result_model or run.result_model)
        with self.transaction():
            self._connection.execute(
                "UPDATE runs SET state = ?, result_model = ? WHERE id = ?", [after.state, after.result_model, run.id]
            )
        return after

    def add_run_items(self, items: Sequence[RunItem]) -> None:
        """Write which corrections a run uses."""
        with self.transaction():
            key = self.identities.key_group
            rows = [(item.run_id, item.correction_id, key(item.group), item.role) for item in items]
            self._connection.executemany("INSERT INTO run_items VALUES (?, ?, ?, ?)", rows)

    def read_run_items(self) -> list[RunItem]:
        """Return the items of all runs, except failed and discarded runs."""
        with translate_sqlite_errors(self.folder / DATABASE):
            found = self._connection.execute(
                'SELECT run_id, correction_id, run_items."group", role FROM run_items JOIN runs ON runs.id = run_id '
                "WHERE state NOT IN (?, ?) ORDER BY run_items.rowid",
                [RunState.FAILED, RunState.DISCARDED],
            ).fetchall()
        return [RunItem(run_id, correction, group, Role(role)) for run_id, correction, group, role in found]

    def set_removed(self, cases: Sequence[Case], removed: bool) -> None:
        """Write that cases left the list of their task, or are on it again. All else that is known of them stays."""
        with self.transaction():
            self._connection.executemany(
                "INSERT INTO removed_cases (case_id, removed, created) VALUES (?, ?, ?)",
                [(case.id, removed, now()) for case in cases],
            )

    def read_removed_case_ids(self) -> frozenset[int]:
        """Return the ids of the cases that left the list of their task."""
        with translate_sqlite_errors(self.folder / DATABASE):
            found = self._connection.execute("SELECT case_id, removed FROM removed_cases ORDER BY id").fetchall()
        return frozenset(case_id for case_id, removed in dict(found).items() if removed)

    def set_hold_out(self, group: str, held_out: bool) -> None:
        """Write on which side of the split a group is from now on; earlier decisions are kept as history."""
        with self.transaction():
            row = [self.identities.key_group(group), held_out, now()]
            self._connection.execute('INSERT INTO hold_out ("group", held_out, created) VALUES (?, ?, ?)', row)

    def set_case_groups(self, group_of: Mapping[int, str]) -> None:
        """Write the group of cases by their ids; earlier groups are kept as history."""
        with self.transaction():
            rows = [(case_id, self.identities.key_group(group), now()) for case_id, group in group_of.items()]
            self._connection.executemany('INSERT INTO case_groups (case_id, "group", created) VALUES (?, ?, ?)', rows)

    def read_hold_out_groups(self) -> dict[str, bool]:
        """Return the current side of each group: True for hold-out."""
        with translate_sqlite_errors(self.folder / DATABASE):
            found = self._connection.execute('SELECT "group", held_out FROM hold_out ORDER BY id').fetchall()
        return {group: bool(held_out) for group, held_out in found}
