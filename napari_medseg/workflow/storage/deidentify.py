"""Take the identities out of a copy of a project, so that the copy can be passed on.

It concerns what is read into the copy, never the project itself. `docs/privacy.md` lists what an archive holds.
"""

import itertools
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import get_group_of_source, is_keyed_group
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.project.identities import GROUP, READER, READER_LABEL, add_key, list_tables_with_readers
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.replay import REPLAY_IMAGES_FILE
from napari_medseg.core.snapshot import SNAPSHOT_FILE, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.workflow.storage.file_kinds import FileKind, ProjectFile
from training.run_folder import LOG_FILE, PROCESS_FILE, RECIPE_FILE, START_PLAN_FILE

_LEFT_OUT_OF_RUNS = frozenset({LOG_FILE, PROCESS_FILE, START_PLAN_FILE, REPLAY_IMAGES_FILE})
"""A log may hold anything; the plan of a start and the list of replayed images hold paths."""
_FOLDER_KEYS = ("base", "compare_with", "roi_model")
_MARK = "\x01"
_LEFT_OUT = frozenset({FileKind.EXPORTS, FileKind.OTHER})


def remove_identities(path: Path) -> None:
    """Remove names, paths, patterns, accounts and the key of the groups from a copy of a project's database.

    Groups keep their labels and hashes, and readers become ``reader 1``, ``reader 2``, which stay taken: who works on
    in the copy is another person. The new key makes it impossible to find a PatientID by trying all of them; images of
    a known patient that are added later become a new group.

    Raises
    ------
    MedSegError
        If the database is damaged.
    """
    with translate_sqlite_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM identities WHERE kind NOT IN (?, ?)", [GROUP, READER])  # all else names someone
        connection.execute("UPDATE identities SET value = label, sources = '[]', series = '' WHERE kind = ?", [GROUP])
        _keep_reader_labels(connection)
        add_key(connection)
        connection.execute("DELETE FROM mask_meanings")  # each is kept for a folder, by a hash with the old key
        _rename_readers(connection)
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def number_readers(accounts: Sequence[str]) -> dict[str, str]:
    """Return ``reader 1``, ``reader 2`` by account, in the order in which they first appear; such labels stay."""
    named = dict.fromkeys(account for account in accounts if not READER_LABEL.fullmatch(account))
    taken = {account for account in accounts if READER_LABEL.fullmatch(account)}
    free = (label for number in itertools.count(1) if (label := f"reader {number}") not in taken)
    return dict(zip(named, free, strict=False))


def may_be_passed_on(file: ProjectFile) -> bool:
    """Whether a file of a project holds no names, after `clean_file` if it is JSON."""
    parts = PurePosixPath(file.path).parts
    return file.kind not in _LEFT_OUT and not (parts[0] == "runs" and parts[-1] in _LEFT_OUT_OF_RUNS)


def clean_file(folder: Path, file: ProjectFile) -> bytes | None:
    """Return the content of a file without names and paths; `None` if it can be copied as it is.

    Raises
    ------
    MedSegError
        If a run of an older version has clear names in its files, or a file cannot be read.
    """
    name = PurePosixPath(file.path).name
    if file.kind is FileKind.IMAGES and name.endswith(".json"):
        return _clean_origin(folder / file.path)
    if file.kind is FileKind.RUNS and name == SNAPSHOT_FILE:
        return _clean_snapshot(read_snapshot(folder / file.path), file.path)
    if file.kind is FileKind.RUNS and name == RECIPE_FILE:
        return _clean_recipe(folder / file.path)
    return None


def _keep_reader_labels(connection: sqlite3.Connection) -> None:
    """Replace the name of each person by the label. A row whose subject is no label could name someone, so it goes."""
    for number, subject in connection.execute("SELECT id, subject FROM identities WHERE kind = ?", [READER]).fetchall():
        if READER_LABEL.fullmatch(subject):
            update = "UPDATE identities SET value = subject, label = subject, sources = '[]', series = '' WHERE id = ?"
            connection.execute(update, [number])
        else:
            connection.execute("DELETE FROM identities WHERE id = ?", [number])


def _rename_readers(connection: sqlite3.Connection) -> None:
    """Replace accounts by numbered readers in all tables; triggers that protect rows are made again."""
    tables = list_tables_with_readers(connection)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f'DROP TRIGGER "{name}"')
    accounts = [who for table in tables for (who,) in connection.execute(f'SELECT who FROM "{table}" ORDER BY id')]
    known = connection.execute("SELECT subject FROM identities WHERE kind = ?", [READER]).fetchall()
    for account, reader in number_readers([*(label for (label,) in known), *accounts]).items():
        for table in tables:
            connection.execute(f'UPDATE "{table}" SET who = ? WHERE who = ?', [f"{_MARK}{reader}", account])
    for table in tables:  # in two steps, because an account may be called "reader 2"
        connection.execute(f"UPDATE \"{table}\" SET who = replace(who, ?, '')", [_MARK])
    for _, statement in triggers:
        connection.execute(statement)


def _clean_origin(path: Path) -> bytes:
    try:
        origin = parse_json(read_file(path))
        return json.dumps(origin | {"series": "", "notes": []}).encode() + b"\n"
    except (OSError, ValueError, TypeError) as error:
        raise MedSegError(
            f"{path} is damaged, so it is not known whether it names someone. Restore it from a backup."
        ) from error


def _clean_snapshot(snapshot: Snapshot, path: str) -> bytes:
    own = [item for item in snapshot.items if item.source == "corrections" or item.source.startswith("learnt by")]
    if any(not is_keyed_group(get_group_of_source(item.group)) for item in own):
        raise MedSegError(
            f"{path} was written by an older version and may hold names of patients. Remove them first: "
            "medseg groups remove-old-names."
        )
    items = tuple(map(_drop_absolute_paths, snapshot.items))
    return snapshot.model_copy(update={"items": items}).model_dump_json(indent=2).encode() + b"\n"


def _drop_absolute_paths(item: SnapshotItem) -> SnapshotItem:
    names = ("image", "labels", "field_labels", "reviewed_mask", "certain_mask")
    absolute = [name for name in names if Path(getattr(item, name)).is_absolute() or ":" in getattr(item, name)[:3]]
    return item.model_copy(update=dict.fromkeys(absolute, "left out"))


def _clean_recipe(path: Path) -> bytes:
    """Drop the folders of model versions: they may hold the account of who trained."""
    try:
        recipe = parse_json(read_file(path))
        settings = recipe.get("run", recipe)  # older recipes are flat
        settings |= {key: PurePosixPath(settings[key]).name for key in _FOLDER_KEYS if settings.get(key)}
        return json.dumps(recipe, indent=2).encode() + b"\n"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise MedSegError(f"{path} is damaged. Discard the run, or pack with identities.") from error
