"""`live.json` of a registry: the promotions and roll-backs of each task, the oldest first.

A damaged file is reported and counts as empty; the next change sets it aside. A file of a later version of this program
is reported, read as far as this version knows it, and never replaced.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.json_model import parse_json, read_json_model, set_damaged_aside

COMPLAINT = "cannot be read, so it is not known which model is live"
ADVICE = "The bundled models are live until you promote another; restore the file from a backup, or promote."


class LiveChange(BaseModel):
    """One entry of `live.json`: a version was promoted or rolled back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["promote", "roll_back"]
    model: str
    at: str
    reason: str = ""


class LiveFile(BaseModel):
    """The content of `live.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, tuple[LiveChange, ...]] = {}


def read_live_file(path: Path) -> LiveFile:
    """Read the promotions; empty if there is no file, or a damaged one, which is reported."""
    if not path.exists():
        return LiveFile()
    try:
        return read_json_model(path, LiveFile, COMPLAINT, ADVICE)
    except MedSegError as error:
        if (unknown := find_later_parts(path)) is None:
            report_damage(str(error))
            return LiveFile()
        report_damage(
            f"{_describe_later(path, unknown)} Which model is live is read from the rest of it, and may be wrong."
        )
        return _read_known_part(path)


def append_live_change(path: Path, task: str, change: LiveChange) -> None:
    """Add a change to the file; a damaged file is kept under another name.

    Raises
    ------
    MedSegError
        If a later version of this program wrote the file, or it cannot be read or written. Then it stays as it is.
    """
    if path.exists() and (unknown := find_later_parts(path)) is not None:
        raise MedSegError(f"{_describe_later(path, unknown)} Nothing was promoted or rolled back.")
    if not (tasks := read_live_file(path).tasks):
        set_damaged_aside(path, LiveFile)
    after = LiveFile(tasks={**tasks, task: (*tasks.get(task, ()), change)})
    atomic_write_text(path, after.model_dump_json(indent=2) + "\n")


def find_later_parts(path: Path) -> list[str] | None:
    """Return what a later version of this program must have added to the file; `None` if it did not write it.

    All that this version knows must be whole. A name that differs by one letter from a known one is damage.
    """
    try:
        LiveFile.model_validate_json(read_file(path))
    except ValidationError as error:
        parts = [_find_later_part(one["type"], one["loc"], one["input"]) for one in error.errors(include_url=False)]
        return [part for part in parts if part] if all(parts) else None
    except OSError:
        return None
    return None


def _find_later_part(kind: str, place: tuple[int | str, ...], value: object) -> str:
    """Return the name of an unknown key or action; empty if it is something else."""
    if kind == "extra_forbidden":
        name, known = str(place[-1]), {*LiveFile.model_fields, *LiveChange.model_fields}
    elif kind == "literal_error" and place[-1] == "action":
        name, known = str(value), {"promote", "roll_back"}
    else:
        return ""
    is_word = name.isascii() and name.isidentifier()
    return name if is_word and not any(_differs_by_a_letter(name, one) for one in known) else ""


def _differs_by_a_letter(one: str, other: str) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def _describe_later(path: Path, unknown: list[str]) -> str:
    names = ", ".join(repr(name) for name in dict.fromkeys(unknown))
    return (
        f"{path} was written by a later version of napari-medseg: this one does not know {names}. The file is kept as "
        "it is. Update napari-medseg."
    )


def _read_known_part(path: Path) -> LiveFile:
    """Return the changes of a later version's file that this version knows."""
    content: dict[str, Any] = parse_json(read_file(path))
    return LiveFile(
        tasks={
            task: tuple(
                LiveChange.model_validate({key: one[key] for key in LiveChange.model_fields if key in one})
                for one in changes
                if one["action"] in ("promote", "roll_back")
            )
            for task, changes in content.get("tasks", {}).items()
        }
    )
