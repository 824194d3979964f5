"""Remove the names of patients that older versions of the program wrote outside the table `identities`.

Run folders are otherwise never changed: the new names go into the same places, and a note beside them keeps the hash of
the snapshot as the run saw it, which is the one on its model card. The snapshot, which says what the names are, is
rewritten last: after an interruption the next call finds them again and goes on.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text, read_file, remove_file, remove_unfinished_files
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.grouping.keyed_groups import is_keyed_group
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.records import Case, Correction, Run, RunState, now
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import Snapshot, SnapshotItem, read_snapshot
from napari_medseg.workflow.hold_out.replayed import read_user_images
from napari_medseg.workflow.output.name_replacement import (
    NewNames,
    replace_in_json,
    replace_in_json_lines,
    replace_in_page,
    replace_in_table,
)
from napari_medseg.workflow.run_control import get_run_folder
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import (
    CHECKPOINT_FILE,
    EARLIER_COMPARISONS_FILE,
    LOG_FILE,
    SNAPSHOT_FILE,
    TENSORBOARD_FOLDER,
)

NOTE_FILE = "names_removed.json"
OLD_HASH = "snapshot_sha256_of_the_run"

_GOES_ON = (RunState.RUNNING, RunState.PAUSED)
_LEFT_ALONE = (NOTE_FILE, SNAPSHOT_FILE, EARLIER_COMPARISONS_FILE)
"""The last one is a number."""


@dataclass
class RemovedNames:
    """What was done.

    Parameters
    ----------
    changed
        Folders of runs and lists of replayed images without names now, and backups that were removed.
    problems
        Messages on files that could not be read or written; they may still hold names.
    """

    changed: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def go_on_after_errors(self) -> Iterator[None]:
        """Keep an error of a file as a message, so that the other files are cleaned."""
        try:
            with translate_errors():
                yield
        except MedSegError as error:
            self.problems.append(str(error))


def remove_old_names(ws: Workspace) -> RemovedNames:
    """Remove names from run folders, from lists of replayed images, and with backups of older databases.

    Runs that go on or can be continued are left as they are. What a file that is held by another program hides from
    one call is done by the next one.
    """
    done = RemovedNames()
    for run in ws.project.read_records(Run):
        with done.go_on_after_errors():
            _clean_run(ws, run, done)
    for card in ws.registry.list_versions():
        with done.go_on_after_errors():
            _clean_replay_images(ws, card, done)
    for backup in sorted(ws.project.folder.glob(f"{Path(DATABASE).stem}.before-version-*.sqlite")):
        with done.go_on_after_errors():
            remove_file(backup)
            done.changed.append(backup)
    return done


def _clean_replay_images(ws: Workspace, card: ModelCard, done: RemovedNames) -> None:
    path = ws.registry.get_folder(card.id) / REPLAY_IMAGES_FILE
    if ws.registry.user_dir not in path.parents or not path.exists():
        return
    images = read_user_images(ws, card)
    if images != read_replay_images(path.parent):
        write_replay_images(path.parent, images)
        done.changed.append(path)


def _clean_run(ws: Workspace, run: Run, done: RemovedNames) -> None:
    """Clean one run folder, the snapshot last and only if all other files are clean."""
    folder = get_run_folder(ws, run)
    if run.state in _GOES_ON or (folder / CHECKPOINT_FILE).exists() or not (folder / SNAPSHOT_FILE).exists():
        return
    before = read_snapshot(folder / SNAPSHOT_FILE)
    after = _rename_items(ws, before)
    pairs = [(old, new) for old, new in zip(before.items, after.items, strict=True) if old != new]
    if not pairs:
        return
    names = NewNames({old.name: new.name for old, new in pairs}, {old.group: new.group for old, new in pairs})
    _write_note(folder, before, after)
    n_problems = len(done.problems)
    _clean_files(folder, names, done)
    if len(done.problems) == n_problems:
        atomic_write_text(folder / SNAPSHOT_FILE, after.model_dump_json(indent=2) + "\n")
        done.changed.append(folder)


def _write_note(folder: Path, before: Snapshot, after: Snapshot) -> None:
    """Write the hashes of the snapshot before and after; that of the run stays if an earlier call wrote it."""
    try:
        seen = str(json.loads(read_file(folder / NOTE_FILE))[OLD_HASH])
    except (OSError, ValueError, LookupError, TypeError):
        seen = before.sha256
    note = {"removed": now(), OLD_HASH: seen, "snapshot_sha256_now": after.sha256}
    atomic_write_text(folder / NOTE_FILE, json.dumps(note, indent=2) + "\n")


def _clean_files(folder: Path, names: NewNames, done: RemovedNames) -> None:
    remove_unfinished_files(folder)
    with done.go_on_after_errors():
        remove_file(folder / LOG_FILE)  # nothing needs it any more, and it may hold anything
    with done.go_on_after_errors():
        if (folder / TENSORBOARD_FOLDER).exists():  # likewise; its files are binary
            shutil.rmtree(folder / TENSORBOARD_FOLDER)
    for path in sorted(path for path in folder.iterdir() if path.name not in _LEFT_ALONE):
        with done.go_on_after_errors():
            _clean_file(path, names)


def _clean_file(path: Path, names: NewNames) -> None:
    """Rewrite a file of text with new names, if it holds old ones."""
    if path.suffix not in (".json", ".jsonl", ".csv", ".html", ".txt"):
        return
    text = path.read_bytes().decode("utf-8", errors="replace")  # as it is: a table ends its lines in its own way
    match path.suffix:
        case ".json":
            cleaned = replace_in_json(text, names, str(path))
        case ".jsonl":
            cleaned = replace_in_json_lines(text, names, str(path))
        case ".csv":
            cleaned = replace_in_table(text, names)
        case ".html":
            cleaned = replace_in_page(text, names)
        case _:
            cleaned = names.replace_in_prose(text)
    if cleaned != text:
        atomic_write_text(path, cleaned)


def _rename_items(ws: Workspace, snapshot: Snapshot) -> Snapshot:
    """Return a snapshot with the names of the project; those of bundled samples are published and stay."""
    corrections = {Path(one.labels_file).name: one for one in ws.project.read_records(Correction)}
    cases = {case.id: case for case in ws.project.read_records(Case)}
    items: list[SnapshotItem] = []
    for number, item in enumerate(snapshot.items, start=1):
        correction = corrections.get(Path(item.labels).name)
        if correction is not None and correction.case_id in cases:
            changes = {} if is_keyed_group(item.group) else _rename_case(ws, item, cases[correction.case_id])
        elif item.source.startswith("learnt by"):
            changes = {"name": f"older image {number}", "group": ws.project.identities.key_group(item.group)}
        else:
            changes = {}
        items.append(item.model_copy(update=changes))
    return snapshot.model_copy(update={"items": tuple(items)})


def _rename_case(ws: Workspace, item: SnapshotItem, case: Case) -> dict[str, str]:
    return {"name": case.name, "group": ws.project.identities.key_group(item.group)}
