"""The rows of the meter as a table for spreadsheets. People are labels such as ``reader 2``, unless names are asked."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.workflow.meter.rows import MeterRow

Cell = str | int | float | bool | None


def describe_row(row: MeterRow, names: Mapping[str, str] | None = None) -> dict[str, Cell]:
    """Return a row as plain data; `names` are clear names of readers by label, if they were asked for."""
    correction, who = row.correction, row.correction.who
    return {
        "case": row.case.id,
        "name": row.case.name,
        "task": row.case.task,
        "kind": row.kind,
        "held_out": row.case.held_out,
        "reader": who if names is None else names.get(who, who),
        "reading": correction.reading,
        "model": correction.model,
        "accepted": correction.created,
        "seconds": round(correction.seconds, 1),
        "edited_voxels": correction.changed_voxels,
        "edited_share": None if row.edited_share is None else round(row.edited_share, 5),
        "dice": None if row.dice is None else round(row.dice, 5),
        "imported": bool(correction.imported),
        "repeat": row.is_repeat,
        "counts": row.counts,
    }


def write_meter_csv(path: Path, rows: Sequence[MeterRow], names: Mapping[str, str] | None = None) -> None:
    """Write the rows of the meter as CSV (UTF-8), whole or not at all; raise `MedSegError` if that is impossible."""
    lines = [describe_row(row, names) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else ["case"], lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _protect(value) for key, value in line.items()} for line in lines])
    atomic_write_text(path, text.getvalue())


def _protect(value: Cell) -> Cell:
    """Return a cell that a spreadsheet takes as text: one that starts like a formula would be computed."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
