"""Read and validate this program's JSON files; any problem is reported as one readable error."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_medseg.core.atomic_io import read_file, set_aside
from napari_medseg.core.errors import MedSegError, get_reason, report_damage

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
