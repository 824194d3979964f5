"""A case with its newest prediction, correction and reviews: one query for a case or for all cases of a task."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from sqlite3 import Connection
from typing import Any

from napari_medseg.core.project.rows import TABLES, decode_record, decode_rows, quote_column
from napari_medseg.core.readings.records import FIRST
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState


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
_IS_LISTED = """c.id NOT IN (SELECT r.case_id FROM removed_cases AS r
    WHERE r.removed AND r.id = (SELECT max(id) FROM removed_cases WHERE case_id = r.case_id))"""
_ACCEPTED_QUERY = f"""
    SELECT {_list_columns(Case, "c")}, {_list_columns(Correction, "k")}
    FROM {TABLES[Case].read} AS c
    JOIN corrections AS k ON {_GROUND_TRUTH}
    JOIN reviews AS d ON {_LAST_CLOSED} AND d.state = '{ReviewState.ACCEPTED}'"""


def read_case_history(connection: Connection, case_id: int) -> CaseHistory | None:
    """Read one case; `None` if there is no case with that id."""
    found = connection.execute(f"{_HISTORY_QUERY} WHERE c.id = ?", [case_id]).fetchone()
    return None if found is None else _decode_history(found)


def read_case_histories(connection: Connection, task: str | None) -> list[CaseHistory]:
    """Read the cases on the list of a task, or of all tasks, in insertion order."""
    return decode_rows(connection, _read_in_order(connection, _HISTORY_QUERY, task, _IS_LISTED), _decode_history)


def read_accepted_cases(connection: Connection, task: str | None) -> list[tuple[Case, Correction]]:
    """Read the cases whose last review was accepted, in insertion order, each with its newest correction."""
    found = _read_in_order(connection, _ACCEPTED_QUERY, task)
    return decode_rows(connection, found, _decode_accepted)


def _read_in_order(
    connection: Connection, query: str, task: str | None, condition: str = "TRUE"
) -> list[tuple[Any, ...]]:
    # The plus prevents the use of the task index, which would require sorting whole rows.
    where, values = ("TRUE", []) if task is None else ("+c.task = ?", [task])
    return connection.execute(f"{query} WHERE {where} AND {condition} ORDER BY c.id", values).fetchall()


def _decode_accepted(row: Sequence[Any]) -> tuple[Case, Correction]:
    return decode_record(Case, row[:_N_CASE]), decode_record(Correction, row[_N_CASE:])


def _decode_history(row: Sequence[Any]) -> CaseHistory:
    return CaseHistory(
        case=decode_record(Case, row[:_N_CASE]),
        prediction=None if row[_N_CASE] is None else decode_record(Prediction, row[_N_CASE:_CORRECTION_AT]),
        correction=None if row[_CORRECTION_AT] is None else decode_record(Correction, row[_CORRECTION_AT:_OPEN_AT]),
        open_review=None if row[_OPEN_AT] is None else decode_record(Review, row[_OPEN_AT:_CLOSED_AT]),
        closed_review=None if row[_CLOSED_AT] is None else decode_record(Review, row[_CLOSED_AT:]),
    )
