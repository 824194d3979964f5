"""Read and validate this program's JSON files; any problem is reported as one readable error."""

import json
import logging
import os
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from napari_medseg.core.atomic_io import read_file, set_aside
from napari_medseg.core.errors import MedSegError, format_os_error, get_reason, report_damage

logger = logging.getLogger(__name__)

MAX_ERRORS_LISTED = 20


class DamagedFileError(MedSegError):
    """A file of this program can be read, but its content is damaged."""


Model = TypeVar("Model", bound=BaseModel)


def read_json_model(path: Path, model: type[Model], complaint: str, advice: str) -> Model:
    """Read a file as a pydantic model.

    Parameters
    ----------
    path
        A JSON file (UTF-8).
    model
        The expected content.
    complaint
        Error text for a file that cannot be read or has other content, such as ``"is not a base recipe"``.
    advice
        What the user can do, as a sentence.

    Raises
    ------
    MedSegError
        If the file is missing or unreadable, is not JSON or not UTF-8, or has unknown, missing or wrong keys; the text
        names the file and the keys. It is a `DamagedFileError` if the file could be read.
    """
    try:
        return model.model_validate_json(read_file(path))  # bytes: invalid UTF-8 becomes a validation error, too
    except OSError as error:
        raise MedSegError(f"{path} {complaint}: {get_reason(error)}. {advice}") from error
    except ValidationError as error:
        raise DamagedFileError(f"{path} {complaint}: {format_validation_error(error)}. {advice}") from error


def set_damaged_aside(path: Path, model: type[BaseModel]) -> None:
    """Keep a damaged file under another name and report it; raise `MedSegError` if it cannot be read at all."""
    if path.exists():
        try:
            read_json_model(path, model, "cannot be read", "Ask for permission, or move the file away.")
        except DamagedFileError:
            report_damage(f"the damaged {path} is kept as {set_aside(path).name}.")


def read_json_lines(path: Path, model: type[Model]) -> list[Model]:
    """Read a file of one JSON object a line, such as `append_json_line` writes; a missing file has none.

    A line that a killed command left is reported to the log and left out.

    Raises
    ------
    MedSegError
        If the file cannot be read.
    """
    try:
        lines = read_file(path).splitlines() if path.exists() else []
    except OSError as error:
        raise MedSegError(f"cannot read {path}: {format_os_error(error)}") from error
    entries = []
    for line in filter(None, lines):
        try:
            entries.append(model.model_validate_json(line))
        except ValidationError:
            logger.warning("%s: the line %r is damaged and is ignored", path, line[:60])
    return entries


def append_json_line(path: Path, entry: BaseModel) -> None:
    """Append an entry as a line, on a new line also after half a line; it is on the disk when this returns.

    Raises
    ------
    MedSegError
        If the file or its folder cannot be written.
    """
    line = entry.model_dump_json().encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.write(line if _ends_with_newline(file) else b"\n" + line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MedSegError(f"cannot write {path}: {format_os_error(error)}") from error


def _ends_with_newline(file: BinaryIO) -> bool:
    """Whether a file is empty or ends with a newline; a killed command may have left half a line."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def parse_json(content: str | bytes) -> Any:  # noqa: ANN401 - what a file holds is known after it was checked
    """Parse JSON that no model describes; names of files that are no text keep their escapes.

    Raises
    ------
    ValueError
        If it is not JSON, not UTF-8, holds a number of too many digits, or is nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def format_validation_error(error: ValidationError) -> str:
    """List the keys with wrong values and what is wrong with each; at most `MAX_ERRORS_LISTED`."""
    errors = error.errors(include_url=False)
    shown = [": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"]))) for item in errors]
    more = f"; and {len(shown) - MAX_ERRORS_LISTED} more" if len(shown) > MAX_ERRORS_LISTED else ""
    return "; ".join(shown[:MAX_ERRORS_LISTED]) + more
