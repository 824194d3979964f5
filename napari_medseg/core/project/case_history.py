"""A case with its newest prediction, correction and reviews: one query for a case or for all cases of a task."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.project.identities import REASON
from napari_medseg.core.project.rows import TABLES, decode_record, decode_rows, quote_column
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.readings.records import FIRST, SECOND
from napari_medseg.core.records import Case, CaseNote, Correction, Prediction, Review, ReviewState

Span = tuple[int, int]
"""First and last id."""
ALL_IDS: Span = (0, 2**62)


@dataclass(frozen=True)
class CaseHistory:
    """A case and its newest records; `None` if there is none.

    Parameters
    ----------
    case
        The case, with the side of its group.
    prediction, correction
        The newest ones.
    open_review
        The newest open review.
    closed_review
        The newest accepted or rejected review.
    reading
        The reading whose records these are. Of a first reading, `correction` is the ground truth: the newest correction
        of a first reading, unless a person chose that of another reader since (`GroundTruthChoice`).
    """

    case: Case
    prediction: Prediction | None
    correction: Correction | None
    open_review: Review | None
    closed_review: Review | None
    reading: int = FIRST


@dataclass(frozen=True)
class WaitingCase:
    """A case without its names: what a forecast needs of thousands of them that nobody has decided."""

    id: int
    content_hash: str
    axes: str
    shape: tuple[int, ...]

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape of the labels of this case, (y, x) or (z, y, x)."""
        return self.shape[: len(self.axes.replace("C", ""))]


@dataclass(frozen=True)
class WorkDone:
    """The work on a draft: the version that made it, seconds without idle time, and voxels that were changed."""

    case: WaitingCase
    model: str
    seconds: float
    changed_voxels: int


def _list_columns(kind: type, alias: str) -> str:
    return ", ".join(f"{alias}.{quote_column(field.name)}" for field in fields(kind))


_N_CASE = len(fields(Case))
_CORRECTION_AT = _N_CASE + len(fields(Prediction))
_OPEN_AT = _CORRECTION_AT + len(fields(Correction))
_CLOSED_AT = _OPEN_AT + len(fields(Review))
_OPEN = f"'{ReviewState.OPEN}'"
_IS_FIRST = f"case_id = c.id AND reading = {FIRST}"
_GROUND_TRUTH = f"""k.id = coalesce(
        (SELECT g.correction_id FROM ground_truth_choices AS g
            WHERE g.id = (SELECT max(id) FROM ground_truth_choices WHERE case_id = c.id)
            AND NOT EXISTS (SELECT 1 FROM corrections WHERE {_IS_FIRST} AND id > g.made_after)),
        (SELECT max(id) FROM corrections WHERE {_IS_FIRST}))"""
_LAST_CLOSED = f"d.id = (SELECT max(id) FROM reviews WHERE {_IS_FIRST} AND state != {_OPEN})"
_HISTORY_QUERY = f"""
    SELECT {_list_columns(Case, "c")}, {_list_columns(Prediction, "p")}, {_list_columns(Correction, "k")},
        {_list_columns(Review, "o")}, {_list_columns(Review, "d")}
    FROM {TABLES[Case].read} AS c
    LEFT JOIN predictions AS p ON p.id = (SELECT max(id) FROM predictions WHERE case_id = c.id)
    LEFT JOIN corrections AS k ON {_GROUND_TRUTH}
    LEFT JOIN reviews AS o ON o.id = (SELECT max(id) FROM reviews WHERE {_IS_FIRST} AND state = {_OPEN})
    LEFT JOIN reviews AS d ON {_LAST_CLOSED}"""
_HAS_OPEN_REVIEW = f"EXISTS (SELECT 1 FROM reviews WHERE case_id = c.id AND state = {_OPEN})"
"""Of any reading."""
_IS_LISTED = """c.id NOT IN (SELECT r.case_id FROM removed_cases AS r
    WHERE r.removed AND r.id = (SELECT max(id) FROM removed_cases WHERE case_id = r.case_id))"""
_IS_DECIDED = f"""EXISTS (SELECT 1 FROM reviews AS d WHERE {_LAST_CLOSED} AND (d.state = '{ReviewState.ACCEPTED}'
    OR NOT EXISTS (SELECT 1 FROM predictions WHERE case_id = c.id AND created > coalesce(d.closed, ''))))"""
"""A rejected case that was predicted again is undecided."""
_ACCEPTED = f"""
    FROM {TABLES[Case].read} AS c
    JOIN corrections AS k ON {_GROUND_TRUTH}
    JOIN reviews AS d ON {_LAST_CLOSED} AND d.state = '{ReviewState.ACCEPTED}'"""
_ACCEPTED_QUERY = f"SELECT {_list_columns(Case, 'c')}, {_list_columns(Correction, 'k')} {_ACCEPTED}"
_ACCEPTED_KEYS_QUERY = f'SELECT c.id, k.id, c."group", c.held_out {_ACCEPTED}'
"""What can change of an accepted case; all else of it is written once."""
MAX_READ_AGAIN = 500
"""If more accepted cases than these are new, all are read."""


def read_case_history(connection: Connection, case_id: int) -> CaseHistory | None:
    """Read one case; `None` if there is no case with that id."""
    found = connection.execute(f"{_HISTORY_QUERY} WHERE c.id = ?", [case_id]).fetchone()
    return None if found is None else _decode_history(found)


def read_case_histories(
    connection: Connection, task: str | None, ids: Span, *, with_open_review: bool = False
) -> list[CaseHistory]:
    """Read the cases on the list of a task, or of all tasks, in insertion order.

    Parameters
    ----------
    connection, task
        Database, and name of the task; `None` for all.
    ids
        Read only cases with these ids.
    with_open_review
        Whether to read only cases whose review is open.
    """
    condition = (
        f"{_IS_LISTED} AND c.id BETWEEN {ids[0]:d} AND {ids[1]:d}" + f" AND {_HAS_OPEN_REVIEW}" * with_open_review
    )
    return decode_rows(connection, _read_in_order(connection, _HISTORY_QUERY, task, condition), _decode_history)


class ListedCases:
    """What is asked often about the lists of an open project, without decoding cases; `Project.listed`."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection

    def read_tasks(self) -> list[str]:
        """Return the tasks that have a case on their list, the one with the newest case first."""
        query = f"SELECT task FROM cases AS c WHERE {_IS_LISTED} GROUP BY task ORDER BY max(id) DESC"
        return [str(task) for (task,) in self._fetch(query)]

    def find_ids(self, task: str, after_id: int, n_cases: int) -> list[int]:
        """Return the ids of the next `n_cases` listed cases of a task, fewer at the end."""
        query = f"SELECT id FROM cases AS c WHERE c.task = ? AND c.id > ? AND {_IS_LISTED} ORDER BY id LIMIT ?"
        return [int(case_id) for (case_id,) in self._fetch(query, task, after_id, n_cases)]

    def read_waiting(self, task: str) -> list[WaitingCase]:
        """Return the listed cases of a task that nobody has accepted or rejected; 10,000 take some 50 ms."""
        query = f"SELECT id, content_hash, axes, shape FROM cases AS c WHERE c.task = ? AND {_IS_LISTED}"
        rows = self._fetch(f"{query} AND NOT {_IS_DECIDED} ORDER BY id", task)
        return decode_rows(self._connection, rows, _decode_waiting)

    def read_first_corrections(self, task: str) -> list[WorkDone]:
        """Return the first correction that each reader made of a draft of each case, without masks of elsewhere."""
        query = """SELECT c.id, c.content_hash, c.axes, c.shape, k.model, k.seconds, k.changed_voxels
            FROM corrections AS k JOIN cases AS c ON c.id = k.case_id
            WHERE c.task = ? AND k.model != '' AND k.imported = ''
            AND k.id IN (SELECT min(id) FROM corrections GROUP BY case_id, reading) ORDER BY k.id"""
        return decode_rows(self._connection, self._fetch(query, task), _decode_work)

    def read_learnt_corrections(self, model: str) -> set[int]:
        """Return the ids of the corrections that the runs which made a model version have read."""
        query = """SELECT i.correction_id FROM run_items AS i JOIN runs AS r ON r.id = i.run_id
            WHERE r.result_model = ? AND NOT EXISTS (SELECT 1 FROM unread_corrections AS u
            WHERE u.run_id = i.run_id AND u.correction_id = i.correction_id)"""
        return {int(correction_id) for (correction_id,) in self._fetch(query, model)}

    def count_images(self, task: str = "") -> int:
        """Count the images on the list of a task, or all of the project; one that is a case of several counts once."""
        of_task = f"WHERE c.task = ? AND {_IS_LISTED}" if task else ""
        query = f"SELECT count(DISTINCT c.content_hash) FROM cases AS c {of_task}"
        return int(self._fetch(query, *([task] if task else []))[0][0])

    def count_unread_corrections(self) -> dict[str, int]:
        """Return how many corrections each run was given and did not read; runs that read all are missing."""
        return dict(self._fetch("SELECT run_id, count(*) FROM unread_corrections GROUP BY run_id"))

    def read_notes(self, first_id: int, last_id: int) -> list[CaseNote]:
        """Read the notes of the cases with these ids and those between, earlier notes first."""
        names = ", ".join(quote_column(each.name) for each in fields(CaseNote))
        query = f"SELECT {names} FROM {TABLES[CaseNote].read} WHERE case_id BETWEEN ? AND ? ORDER BY id"
        return decode_rows(self._connection, self._fetch(query, first_id, last_id), partial(decode_record, CaseNote))

    def read_groups(self) -> set[str]:
        """Return the keyed groups that any case has now, also those of cases that left their list."""
        return {str(group) for (group,) in self._fetch('SELECT DISTINCT "group" FROM cases_with_group')}

    def list_corrected(self) -> set[int]:
        """Return the ids of the cases whose labels were accepted at least once."""
        return {int(case_id) for (case_id,) in self._fetch("SELECT DISTINCT case_id FROM corrections")}

    def is_removed(self, case_id: int) -> bool:
        """Whether a case left the list of its task."""
        query = "SELECT removed FROM removed_cases WHERE case_id = ? ORDER BY id DESC LIMIT 1"
        found = self._fetch(query, case_id)
        return bool(found and found[0][0])

    def read_rejection_reasons(self, task: str, presets: Sequence[str], n_reasons: int) -> list[str]:
        """Return the reasons, other than the presets, that were given for cases of a task, those given last first."""
        query = f"""SELECT r.value FROM identities AS r JOIN case_notes AS n ON n.id = CAST(r.subject AS INTEGER)
            JOIN cases AS c ON c.id = n.case_id
            WHERE r.kind = ? AND c.task = ? AND r.value NOT IN ({", ".join("?" * len(presets))})
            GROUP BY r.value ORDER BY max(n.id) DESC LIMIT ?"""
        return [str(reason) for (reason,) in self._fetch(query, REASON, task, *presets, n_reasons)]

    def read_version_of_readings(self) -> tuple[int, ...]:
        """Return numbers that change with what is known of second readings; rows are inserted, and reviews closed."""
        tables = ("second_reading_shares", "second_reading_choices", "ground_truth_choices", "corrections")
        numbers = [f"(SELECT coalesce(max(id), 0) FROM {table})" for table in tables]
        reviews = f"SELECT count(*), coalesce(sum(state != {_OPEN}), 0) FROM reviews WHERE reading = {SECOND}"
        ((first, second),) = self._fetch(reviews)
        return *self._fetch(f"SELECT {', '.join(numbers)}")[0], first, second

    def _fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with translate_sqlite_errors(self._path):
            return self._connection.execute(query, values).fetchall()


class AcceptedCases:
    """The accepted cases of an open project. Each is read once: which they are is asked in a sixth of the time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[Any, ...], tuple[Case, Correction] | None] = {}  # `None`: damaged

    def read(self, task: str | None) -> tuple[tuple[Case, Correction], ...]:
        """Read the cases whose last review was accepted, in insertion order, each with its newest correction."""
        keys = _read_in_order(self._connection, _ACCEPTED_KEYS_QUERY, task)
        known = dict(self._known) if self._connection.in_transaction else self._known  # it may be rolled back
        new = [key for key in keys if key not in known]
        if new:
            ids = ", ".join(str(int(key[0])) for key in new)
            condition = f"c.id IN ({ids})" if len(new) <= MAX_READ_AGAIN else "TRUE"
            rows = _read_in_order(self._connection, _ACCEPTED_QUERY, task, condition)
            found = {(pair[0].id, pair[1].id): pair for pair in decode_rows(self._connection, rows, _decode_accepted)}
            known.update((key, found.get(key[:2])) for key in new)
        return tuple(pair for key in keys if (pair := known[key]) is not None)


def _read_in_order(
    connection: Connection, query: str, task: str | None, condition: str = "TRUE"
) -> list[tuple[Any, ...]]:
    # The plus prevents the use of the task index, which would require sorting whole rows.
    where, values = ("TRUE", []) if task is None else ("+c.task = ?", [task])
    return connection.execute(f"{query} WHERE {where} AND {condition} ORDER BY c.id", values).fetchall()


def _decode_accepted(row: Sequence[Any]) -> tuple[Case, Correction]:
    return decode_record(Case, row[:_N_CASE]), decode_record(Correction, row[_N_CASE:])


def _decode_waiting(row: Sequence[Any]) -> WaitingCase:
    try:
        return WaitingCase(int(row[0]), str(row[1]), str(row[2]), _decode_shape(row[3]))
    except (TypeError, ValueError) as error:
        raise MedSegError(f"the row {row[0]!r} of the table cases is damaged: {get_reason(error)}") from error


@lru_cache(maxsize=4096)  # thousands of cases have a few shapes
def _decode_shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, parse_json(text)))


def _decode_work(row: Sequence[Any]) -> WorkDone:
    try:
        return WorkDone(_decode_waiting(row[:4]), str(row[4]), float(row[5]), int(row[6]))
    except (TypeError, ValueError) as error:
        raise MedSegError(f"a correction of the case {row[0]!r} is damaged: {get_reason(error)}") from error


def _decode_history(row: Sequence[Any]) -> CaseHistory:
    return CaseHistory(
        case=decode_record(Case, row[:_N_CASE]),
        prediction=None if row[_N_CASE] is None else decode_record(Prediction, row[_N_CASE:_CORRECTION_AT]),
        correction=None if row[_CORRECTION_AT] is None else decode_record(Correction, row[_CORRECTION_AT:_OPEN_AT]),
        open_review=None if row[_OPEN_AT] is None else decode_record(Review, row[_OPEN_AT:_CLOSED_AT]),
        closed_review=None if row[_CLOSED_AT] is None else decode_record(Review, row[_CLOSED_AT:]),
    )
