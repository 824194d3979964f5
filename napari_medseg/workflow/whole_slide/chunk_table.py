"""What is known of each chunk and each object of a slide: one SQLite file, one transaction for each chunk.

A chunk is done when its transaction is committed; the labels are written before that. What a killed process wrote
without committing has numbers above those of the table, and is erased when the chunk is predicted again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.workflow.whole_slide.chunk_merge import ObjectRecord

ChunkState = Literal["waiting", "done", "failed"]
READ_ROWS = 1000
_CONTENT = """
CREATE TABLE IF NOT EXISTS chunks (
    number INTEGER PRIMARY KEY, state TEXT NOT NULL DEFAULT 'waiting', n_objects INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', seconds REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS objects (
    id INTEGER PRIMARY KEY, area_px INTEGER NOT NULL, y REAL NOT NULL, x REAL NOT NULL, top INTEGER NOT NULL,
    left_ INTEGER NOT NULL, bottom INTEGER NOT NULL, right_ INTEGER NOT NULL, is_cut INTEGER NOT NULL,
    is_corrected INTEGER NOT NULL, chunk INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS objects_of_chunks ON objects (chunk);
CREATE TABLE IF NOT EXISTS pairs (loser INTEGER NOT NULL, winner INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS numbers (next_id INTEGER NOT NULL);
"""
_COLUMNS = "id, area_px, y, x, top, left_, bottom, right_, is_cut, is_corrected"


class ChunkTable:
    """States of chunks, records of objects, and pairs of numbers that wait to become one; a context manager.

    Parameters
    ----------
    path
        The file; it is made if it is missing.

    Raises
    ------
    MedSegError
        If it is damaged or cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
            self._db.executescript(_CONTENT)
            if self._db.execute("SELECT count(*) FROM numbers").fetchone()[0] == 0:
                self._db.execute("INSERT INTO numbers VALUES (1)")
                self._db.commit()
        except sqlite3.Error as error:
            raise MedSegError(
                f"{path} cannot be used: {get_reason(error)}. Free disk space, or predict into another folder."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not committed is dropped."""
        self._db.close()

    def plan(self, numbers: Iterable[int]) -> None:
        """Note the chunks that are to be predicted."""
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO chunks (number) VALUES (?)", ((number,) for number in numbers))

    def list_chunks(self, *states: ChunkState) -> list[int]:
        """Return the numbers of the chunks in some states, in order; of all chunks if none is given."""
        marks = ", ".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        return [row[0] for row in self._db.execute(f"SELECT number FROM chunks {where} ORDER BY number", states)]

    def list_reasons(self) -> list[tuple[int, str]]:
        """Return the failed chunks, each with its reason."""
        return self._db.execute("SELECT number, reason FROM chunks WHERE state = 'failed' ORDER BY number").fetchall()

    def count(self, state: ChunkState) -> int:
        """Return how many chunks are in a state."""
        return int(self._db.execute("SELECT count(*) FROM chunks WHERE state = ?", (state,)).fetchone()[0])

    @property
    def n_chunks(self) -> int:
        """How many chunks are to be predicted in all."""
        return int(self._db.execute("SELECT count(*) FROM chunks").fetchone()[0])

    @property
    def n_objects(self) -> int:
        """How many objects there are."""
        return int(self._db.execute("SELECT count(*) FROM objects").fetchone()[0])

    @property
    def n_corrected(self) -> int:
        """How many of the objects a person drew."""
        return int(self._db.execute("SELECT count(*) FROM objects WHERE is_corrected = 1").fetchone()[0])

    @property
    def next_id(self) -> int:
        """Number of the next new object; labels with this number or a larger one were not committed."""
        return int(self._db.execute("SELECT next_id FROM numbers").fetchone()[0])

    def list_chunks_with_objects(self) -> list[int]:
        """Return the chunks in whose cores objects lie, in order; also those that only a person drew in."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT chunk FROM objects ORDER BY chunk")]

    def copy_to(self, path: Path) -> None:
        """Write a copy, also while chunks are added."""
        copy = sqlite3.connect(path)
        try:
            self._db.backup(copy)
        finally:
            copy.close()

    def commit_chunk(
        self, number: int, records: Sequence[ObjectRecord], pairs: Sequence[tuple[int, int]], seconds: float
    ) -> None:
        """Note that a chunk is done, with its objects and the pairs that are to become one; all of it or nothing."""
        with self._db:
            self._insert(records, number)
            self._db.executemany("INSERT INTO pairs VALUES (?, ?)", pairs)
            self._db.execute(
                "UPDATE chunks SET state = 'done', n_objects = ?, reason = '', seconds = ? WHERE number = ?",
                (len(records), seconds, number),
            )

    def fail_chunk(self, number: int, reason: str) -> None:
        """Note that a chunk cannot be predicted, and why; a later run tries it again."""
        with self._db:
            self._db.execute("UPDATE chunks SET state = 'failed', reason = ? WHERE number = ?", (reason, number))

    def list_pairs(self) -> list[tuple[int, int]]:
        """Return the pairs of numbers that wait to become one, in order."""
        return self._db.execute("SELECT loser, winner FROM pairs ORDER BY rowid").fetchall()

    def join(self, loser: int, winner: int) -> None:
        """Note that the labels of `loser` have the number `winner` now: one record, of both."""
        with self._db:
            one, other = self.find_objects([loser]), self.find_objects([winner])
            if one and other:
                self._replace(_join_records(other[0], one[0]))
            self._db.execute("DELETE FROM objects WHERE id = ?", (loser,))
            self._db.execute("DELETE FROM pairs WHERE loser = ? AND winner = ?", (loser, winner))
            self._db.execute("UPDATE pairs SET loser = ? WHERE loser = ?", (winner, loser))
            self._db.execute("UPDATE pairs SET winner = ? WHERE winner = ?", (winner, loser))
            self._db.execute("DELETE FROM pairs WHERE loser = winner")

    def find_objects(self, ids: Sequence[int]) -> list[ObjectRecord]:
        """Return the records of some objects; those that do not exist are left out."""
        found: list[ObjectRecord] = []
        for first in range(0, len(ids), READ_ROWS):
            some = ids[first : first + READ_ROWS]
            query = f"SELECT {_COLUMNS} FROM objects WHERE id IN ({', '.join('?' * len(some))})"
            found += [ObjectRecord(*row) for row in self._db.execute(query, some)]
        return found

    def iterate_objects(self) -> Iterator[ObjectRecord]:
        """Yield all objects; only `READ_ROWS` are in memory at a time."""
        cursor = self._db.execute(f"SELECT {_COLUMNS} FROM objects ORDER BY chunk, id")
        while rows := cursor.fetchmany(READ_ROWS):
            yield from map(ObjectRecord._make, rows)

    def list_objects_of(self, chunk: int) -> list[ObjectRecord]:
        """Return the objects that a chunk wrote."""
        query = f"SELECT {_COLUMNS} FROM objects WHERE chunk = ? ORDER BY id"
        return [ObjectRecord(*row) for row in self._db.execute(query, (chunk,))]

    def correct(self, removed: Sequence[int], changed: Sequence[ObjectRecord], chunk: int) -> None:
        """Replace objects by those that a person drew, or by what is left of them; all of it or nothing."""
        with self._db:
            self._db.executemany("DELETE FROM objects WHERE id = ?", ((number,) for number in removed))
            self._db.executemany("DELETE FROM objects WHERE id = ?", ((record.id,) for record in changed))
            self._insert(changed, chunk)

    def _insert(self, records: Sequence[ObjectRecord], chunk: int) -> None:
        self._db.executemany(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", ((*record, chunk) for record in records)
        )
        if records:
            self._db.execute(
                "UPDATE numbers SET next_id = max(next_id, ?)", (max(record.id for record in records) + 1,)
            )

    def _replace(self, record: ObjectRecord) -> None:
        columns = ", ".join(f"{name.strip()} = ?" for name in _COLUMNS.split(",")[1:])
        self._db.execute(f"UPDATE objects SET {columns} WHERE id = ?", (*record[1:], record.id))


def _join_records(one: ObjectRecord, other: ObjectRecord) -> ObjectRecord:
    """Return the record of two parts of an object, under the number of the first one."""
    area = one.area_px + other.area_px
    return ObjectRecord(
        id=one.id,
        area_px=area,
        y=(one.y * one.area_px + other.y * other.area_px) / area,
        x=(one.x * one.area_px + other.x * other.area_px) / area,
        top=min(one.top, other.top),
        left=min(one.left, other.left),
        bottom=max(one.bottom, other.bottom),
        right=max(one.right, other.right),
        is_cut=max(one.is_cut, other.is_cut),
        is_corrected=max(one.is_corrected, other.is_corrected),
    )
