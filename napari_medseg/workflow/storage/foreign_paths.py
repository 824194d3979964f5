"""Paths in an archive that somebody else may have packed: they could name any file of this computer or of a network.

Labels and copies of images lie inside a project, so a row whose path leads out of it is refused. Paths of images and
models outside are honest in one's own archive; in any other they are left out, so that nothing of them is ever opened.
"""

import contextlib
import json
import os
import posixpath
import re
import sqlite3
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.replay import REPLAY_IMAGES_FILE
from napari_medseg.core.snapshot import SNAPSHOT_FILE, SnapshotItem, read_snapshot
from training.run_folder import EVALUATION_REQUEST_FILE, PROCESS_FILE, RECIPE_FILE, START_PLAN_FILE

LEFT_OUT = "left out"
"""Stands for a path or a text that is not kept."""
ITEM_PATHS = ("image", "labels", "field_labels", "reviewed_mask", "certain_mask")
_FILE_COLUMNS = (
    ("predictions", "labels_file"),
    ("predictions", "field_file"),
    ("corrections", "image_file"),
    ("corrections", "labels_file"),
    ("corrections", "reviewed_file"),
)
_FOLDER_KEYS = ("base", "compare_with", "roi_model", "field_base")
"""Folders of models in a recipe; the last one is that of older versions."""
_HASH = re.compile(r"[0-9a-f]{64}")
_RUN_FOLDER = re.compile(r"runs/[^/]+")
_PLANS = frozenset({EVALUATION_REQUEST_FILE, PROCESS_FILE, START_PLAN_FILE})
"""What a process of the other computer was asked to do."""


def is_absolute_path(path: str) -> bool:
    """Whether a path begins at a root, a drive or a network share, on any system."""
    windows = PureWindowsPath(path)
    return bool(windows.drive or windows.root) or PurePosixPath(path).is_absolute() or path.startswith("~")


def leads_out(path: str) -> bool:
    """Whether a path leads out of the folder that it is relative to, on any system."""
    return is_absolute_path(path) or "\0" in path or ".." in re.split(r"[/\\]", path)


def refuse_paths_that_lead_out(database: Path) -> None:
    """Refuse a database whose rows name files outside the project.

    Raises
    ------
    MedSegError
        Names the table and the row.
    """
    with translate_sqlite_errors(database), closing(sqlite3.connect(database)) as connection:
        for table, column in _FILE_COLUMNS:
            for number, path in connection.execute(f"SELECT id, {column} FROM {table}"):
                _refuse_row(table, number, is_refused=not isinstance(path, str) or leads_out(path))
        for number, digest in connection.execute("SELECT id, content_hash FROM cases"):  # names the copy of the image
            _refuse_row("cases", number, is_refused=not _HASH.fullmatch(str(digest)))
        for number, (name, folder) in enumerate(connection.execute("SELECT id, folder FROM runs"), start=1):
            is_inside = _RUN_FOLDER.fullmatch(str(folder)) and not leads_out(str(folder)) and "\\" not in str(folder)
            _refuse_row("runs", number, is_refused=not is_inside or leads_out(str(name)))


def leave_out_foreign_paths(project: Path) -> int:
    """Leave out all paths to files outside an unpacked project; return how many images are only there.

    A run that was not finished cannot go on without them. Its scores and its version stay.
    """
    for folder, _, names in os.walk(project / "runs"):
        for name in names:
            _leave_out_of_file(Path(folder) / name, project)
    database = project / DATABASE
    with translate_sqlite_errors(database), closing(sqlite3.connect(database, isolation_level=None)) as connection:
        query = """SELECT DISTINCT content_hash FROM cases JOIN identities ON kind = 'case' AND sources != '[]'
            AND subject = CAST(cases.id AS TEXT)"""
        hashes = [digest for (digest,) in connection.execute(query).fetchall()]
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("UPDATE identities SET sources = '[]'")
    return sum(not (project / "images" / f"{digest}.tif").exists() for digest in hashes)


def drop_model_folders(path: Path) -> str:
    """Return a recipe without the folders of model versions, which may hold the account of who trained.

    Raises
    ------
    MedSegError
        If it is damaged.
    """
    try:
        recipe = parse_json(read_file(path))
        settings = recipe.get("run", recipe)  # older recipes are flat
        settings |= {key: PureWindowsPath(settings[key]).name for key in _FOLDER_KEYS if settings.get(key)}
        return json.dumps(recipe, indent=2) + "\n"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise MedSegError(f"{path} is damaged. Discard the run, or pack with identities.") from error


def list_replay_lists(folder: Path) -> list[Path]:
    """Return the lists of replayed images below a folder; some systems find a file under another case of its name."""
    return [path for path in folder.rglob("*") if path.name.lower() == REPLAY_IMAGES_FILE]


def _leave_out_of_file(path: Path, project: Path) -> None:
    name = path.name.lower()
    if name in _PLANS:
        path.unlink()
    with contextlib.suppress(MedSegError):  # what cannot be read here, is not read by a run either
        if name == RECIPE_FILE:
            atomic_write_text(path, drop_model_folders(path))
        if name == SNAPSHOT_FILE:
            _leave_out_of_snapshot(path, path.parent.relative_to(project).as_posix())


def _leave_out_of_snapshot(path: Path, folder: str) -> None:
    snapshot = read_snapshot(path)
    items = tuple(_leave_out_of_item(item, folder) for item in snapshot.items)
    if items != snapshot.items:
        atomic_write_text(path, snapshot.model_copy(update={"items": items}).model_dump_json(indent=2) + "\n")


def _leave_out_of_item(item: SnapshotItem, folder: str) -> SnapshotItem:
    outside = [name for name in ITEM_PATHS if _is_outside(getattr(item, name), folder)]
    return item.model_copy(update=dict.fromkeys(outside, LEFT_OUT))


def _is_outside(path: str, folder: str) -> bool:
    """Whether a path relative to a folder of the project leads out of the project."""
    return is_absolute_path(path) or leads_out(posixpath.normpath(posixpath.join(folder, path)))


def _refuse_row(table: str, number: int, *, is_refused: bool) -> None:
    if is_refused:
        raise MedSegError(
            f"the row {number} of {table} in the archive's database names a file outside the project, which no project "
            "does. The archive was changed, so it is not unpacked. Ask whoever gave it to you."
        )
