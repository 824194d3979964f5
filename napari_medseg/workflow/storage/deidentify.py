"""Take the identities out of a copy of a project, so that the copy can be passed on.

It concerns what is read into the copy, never the project itself. `docs/privacy.md` lists what an archive holds.
"""

import itertools
import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import get_group_of_source, is_keyed_group
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.model_card import CARD_FILE, DOMAIN_FILE, WEIGHTS_FILE, WORST_CASE_FILE, read_card
from napari_medseg.core.project.identities import GROUP, READER, READER_LABEL, add_key, list_tables_with_readers
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.snapshot import SNAPSHOT_FILE, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.workflow.storage.file_kinds import FileKind, ProjectFile
from napari_medseg.workflow.storage.foreign_paths import ITEM_PATHS, LEFT_OUT, drop_model_folders, is_absolute_path
from training.run_folder import (
    COST_FILE,
    EARLIER_COMPARISONS_FILE,
    ENVIRONMENT_FILE,
    EVENTS_FILE,
    RECIPE_FILE,
    read_events,
)

_RUN_FILES = frozenset(
    {CARD_FILE, COST_FILE, DOMAIN_FILE, EARLIER_COMPARISONS_FILE, ENVIRONMENT_FILE, EVENTS_FILE, RECIPE_FILE}
    | {SNAPSHOT_FILE, WEIGHTS_FILE, WORST_CASE_FILE}
)
"""What is passed on of a run. Logs, reports, tables, plans and whatever else lies there may hold paths and names."""
_FILE_NAMES = {
    FileKind.IMAGES: re.compile(r"images/[0-9a-f]{64}\.(tif|json)"),
    FileKind.LABELS: re.compile(r"labels/[a-z]+(-[0-9]+)?-[0-9a-f]{16,64}\.(tif|json)"),
    FileKind.JOURNALS: re.compile(r"journal/[0-9]+\.(journal|area\.json|places\.json)"),
    FileKind.TASKS: re.compile(rf"{TASKS_FOLDER}/[^/]+\.json"),
}
"""The files that this program writes, by kind; a person may have put another one beside them."""
_MARK = "\x01"


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
    """Whether a file of a project is one that this program writes, and holds no names after `clean_file`."""
    if file.kind is FileKind.RUNS:
        return len(parts := PurePosixPath(file.path).parts) == 3 and parts[-1] in _RUN_FILES
    return file.kind in _FILE_NAMES and _FILE_NAMES[file.kind].fullmatch(file.path) is not None


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
        return drop_model_folders(folder / file.path).encode()
    if file.kind is FileKind.RUNS and name == EVENTS_FILE:
        return _clean_events((folder / file.path).parent)
    if file.kind is FileKind.RUNS and name == CARD_FILE:
        return clean_card(folder / file.path)
    return None


def clean_card(path: Path) -> bytes:
    """Return a card without what a person typed at its promotion, and without folders.

    Raises
    ------
    MedSegError
        If it is damaged.
    """
    card = read_card(path)
    began_with = card.lineage.began_with
    if any(map(is_absolute_path, began_with.split())):
        began_with = LEFT_OUT
    lineage = card.lineage.model_copy(update={"promotion_reason": "", "began_with": began_with})
    return card.model_copy(update={"lineage": lineage}).model_dump_json(indent=2).encode() + b"\n"


def _clean_events(run_dir: Path) -> bytes:
    """Return the events of a run without free texts: an error of the system or of a library names paths."""
    lines = []
    for event, _ in read_events(run_dir):
        kept = {key: value for key, value in asdict(event).items() if key not in ("text", "message")}
        kept |= {key: LEFT_OUT for key in asdict(event) if key not in kept}
        lines.append(json.dumps({"event": type(event).__name__, **kept}).encode() + b"\n")
    return b"".join(lines)


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
    items = tuple(_leave_out_names(item, number) for number, item in enumerate(snapshot.items, start=1))
    return snapshot.model_copy(update={"items": items}).model_dump_json(indent=2).encode() + b"\n"


def _leave_out_names(item: SnapshotItem, number: int) -> SnapshotItem:
    """Drop the paths outside the project; an image of a folder of the user is named after its file."""
    outside = {name: LEFT_OUT for name in ITEM_PATHS if is_absolute_path(getattr(item, name))}
    name = f"image {number}" if item.source.startswith("learnt by") else item.name
    return item.model_copy(update={**outside, "name": name})
