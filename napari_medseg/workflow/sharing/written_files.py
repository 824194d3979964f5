"""Which files of an output folder this program wrote, so that it can write them again and touches no other."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import parse_json

WRITTEN_FILE = ".medseg-files.json"


def claim_files(folder: Path, names: Iterable[str]) -> None:
    """Note the names of files, with slashes, before the first one is written, and remove those of an earlier time.

    Raises
    ------
    MedSegError
        If one exists that this program did not write, or the list is damaged. Then nothing was changed.
    """
    wanted = set(names)
    earlier = read_written_names(folder)
    if foreign := sorted(name for name in wanted - earlier if (folder / name).exists()):
        raise MedSegError(
            f"{folder / foreign[0]} exists and was not written by this command. Choose another folder; "
            "nothing is overwritten."
        )
    _write_names(folder, wanted | earlier)
    for name in sorted(earlier - wanted):
        (folder / name).unlink(missing_ok=True)
    _write_names(folder, wanted)


def read_written_names(folder: Path) -> set[str]:
    """Return the names of `claim_files`; empty if there are none.

    Raises
    ------
    MedSegError
        If the list is damaged, or names files outside of the folder.
    """
    path = folder / WRITTEN_FILE
    if not path.exists():
        return set()
    try:
        names = {str(name) for name in parse_json(read_file(path))["files"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MedSegError(f"{path} is damaged: {error}. Choose another folder.") from error
    if elsewhere := [name for name in names if not _is_inside(name)]:
        raise MedSegError(f"{path} names {elsewhere[0]!r}, which is not in its folder. Choose another folder.")
    return names


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not re.search(r"[\\\0:]", name)


def _write_names(folder: Path, names: Iterable[str]) -> None:
    text = json.dumps({"files": sorted(names)}, indent=1, ensure_ascii=False)
    atomic_write_text(folder / WRITTEN_FILE, text + "\n")
