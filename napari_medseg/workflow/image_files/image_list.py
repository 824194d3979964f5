"""Lists of images: a CSV file with a column `path`, for cohorts whose files lie in many places."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError, format_os_error

LIST_SUFFIX = ".csv"
PATH_COLUMN = "path"


def expand_lists(files: Iterable[Path]) -> list[Path]:
    """Return the paths, with those that CSV files list in place of the files; relative ones start at their file.

    Raises
    ------
    MedSegError
        If a list cannot be read, has no column `path`, or names nothing.
    """
    return [path for file in files for path in (read_list(file) if _is_list(file) else [file])]


def read_list(file: Path) -> list[Path]:
    """Return the paths of a CSV file, in order; raises as `expand_lists`. Other columns and empty rows are left out."""
    try:
        text = read_file(file).decode("utf-8-sig")
    except OSError as error:
        raise MedSegError(f"cannot read {file}: {format_os_error(error)}") from error
    except UnicodeDecodeError as error:
        raise MedSegError(f"{file} is not text in UTF-8. Save it again as CSV (UTF-8).") from error
    first_line = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in first_line else ",")
    columns = {name.strip().lower(): name for name in rows.fieldnames or () if name}
    if PATH_COLUMN not in columns:
        raise MedSegError(
            f"{file} has no column {PATH_COLUMN!r}, but {', '.join(columns) or 'nothing'}. Its first line names the "
            f"columns; {PATH_COLUMN} holds a file, a folder or an archive in each row."
        )
    try:
        named = [(row[columns[PATH_COLUMN]] or "").strip() for row in rows]
    except csv.Error as error:
        raise MedSegError(f"{file} is no CSV file: {error}. Save it again as CSV (UTF-8).") from error
    if not any(named):
        raise MedSegError(f"{file} lists no image. Give a path in each row of its column {PATH_COLUMN!r}.")
    return [file.parent / name for name in named if name]


def _is_list(file: Path) -> bool:
    return file.suffix.lower() == LIST_SUFFIX and file.is_file()
