"""Whether a folder holds a project, and whether its database is lost while the files of its cases are still there."""

import re
from pathlib import Path

from napari_medseg.core.errors import MedSegError

# Only names that this program gives: a person may keep pictures in a folder `images` where a project is to begin.
_OWN_FILES = {
    "labels": re.compile(r"(prediction|field|correction|reviewed)-\d+-[0-9a-f]{16}\.tif"),
    "journal": re.compile(r"\d+\.journal"),
    "images": re.compile(r"[0-9a-f]{32,128}\.tif"),
    ".": re.compile(r"project\.before-version-\d+\.sqlite"),
}


def ensure_has_database(path: Path) -> None:
    """Refuse a folder that is no project.

    Parameters
    ----------
    path
        Where the database of the project should be.

    Raises
    ------
    MedSegError
        If it is not there, or lost: see `ensure_database_not_lost`.
    """
    if not path.is_file():
        ensure_database_not_lost(path)
        raise MedSegError(
            f"{path.parent} holds no project ({path.name} is missing). Choose another folder, or make a project there: "
            "open it in the window, or use medseg import."
        )


def ensure_database_not_lost(path: Path) -> None:
    """Refuse to start an empty project where files of an earlier one lie.

    Parameters
    ----------
    path
        The database. It is missing, has zero bytes, or holds no tables.

    Raises
    ------
    MedSegError
        If the folder holds labels, strokes or image copies of a project; an empty database beside them would look like
        a project without cases, and give their numbers to new ones.
    """
    if (found := _find_own_file(path.parent)) is None:
        return
    problem = "is empty" if path.exists() else "is missing"
    backups = sorted(path.parent.glob(f"{path.stem}.before-version-*.sqlite"), key=lambda each: each.stat().st_mtime)
    where = f"a backup, such as {backups[-1].name} in this folder" if backups else "a backup"
    raise MedSegError(
        f"{path} {problem}, but files of a project lie beside it, such as {found.relative_to(path.parent)}. "
        f"They are not changed. Restore {path.name} from {where}, or choose another folder for a new project."
    )


def _find_own_file(folder: Path) -> Path | None:
    for name, pattern in _OWN_FILES.items():
        place = folder / name
        if place.is_dir() and (found := next((each for each in place.iterdir() if pattern.fullmatch(each.name)), None)):
            return found
    return None
