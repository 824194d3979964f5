"""Remove the names of patients that older versions of the program wrote outside the table `identities`.

Run folders are otherwise never changed: the new names go into the same places, and a note beside them keeps the hash of
the snapshot as the run saw it, which is the one on its model card.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.records import Case, Correction, Run, RunState, now
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, write_replay_images
from napari_medseg.core.snapshot import Snapshot, SnapshotItem, read_snapshot
from napari_medseg.workflow.hold_out.replayed import read_user_images
from napari_medseg.workflow.run_control import get_run_folder
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import CHECKPOINT_FILE, LOG_FILE, SNAPSHOT_FILE

NOTE_FILE = "names_removed.json"
MIN_LENGTH_IN_TEXT = 4
"""A shorter name is replaced only where it is a whole value: ``1`` occurs in any text."""

_GOES_ON = (RunState.RUNNING, RunState.PAUSED)
_CASE_KEYS = frozenset({"name", "case", "worst_case"})
_TEXT_SUFFIXES = (".html", ".txt", ".csv")


@dataclass(frozen=True)
class _NewNames:
    """The new names of cases and groups by their old ones; a case and its group may have had the same."""

    cases: Mapping[str, str]
    groups: Mapping[str, str]

    @property
    def all(self) -> dict[str, str]:
        """Those of both, for running text."""
        return {**self.groups, **self.cases}


def remove_old_names(ws: Workspace) -> list[Path]:
    """Remove names from run folders, from lists of replayed images, and with backups of older databases.

    Runs that go on or can be continued are left as they are.

    Returns
    -------
    list of Path
        Folders and files that were changed or removed.
    """
    changed = [folder for run in ws.project.read_records(Run) if (folder := _clean_run(ws, run)) is not None]
    for card in ws.registry.list_versions():
        path = ws.registry.get_folder(card.id) / REPLAY_IMAGES_FILE
        if ws.registry.user_dir in path.parents and path.exists():
            before, images = path.read_bytes(), read_user_images(ws, card)
            write_replay_images(path.parent, images)
            changed += [path] if path.read_bytes() != before else []
    for backup in sorted(ws.project.folder.glob(f"{Path(DATABASE).stem}.before-version-*.sqlite")):
        backup.unlink()
        changed.append(backup)
    return changed


def _clean_run(ws: Workspace, run: Run) -> Path | None:
    """Clean one run folder; return it if something was changed."""
    folder = get_run_folder(ws, run)
    if run.state in _GOES_ON or (folder / CHECKPOINT_FILE).exists() or not (folder / SNAPSHOT_FILE).exists():
        return None
    try:
        before = read_snapshot(folder / SNAPSHOT_FILE)
    except MedSegError as error:
        report_damage(f"{error} The names in this run folder stay.")
        return None
    after = _rename_items(ws, before)
    pairs = [(old, new) for old, new in zip(before.items, after.items, strict=True) if old != new]
    if not pairs:
        return None
    names = _NewNames({old.name: new.name for old, new in pairs}, {old.group: new.group for old, new in pairs})
    _clean_files(folder, names)
    note = {"removed": now(), "snapshot_sha256_of_the_run": before.sha256, "snapshot_sha256_now": after.sha256}
    atomic_write_text(folder / NOTE_FILE, json.dumps(note, indent=2) + "\n")
    return folder


def _clean_files(folder: Path, new: _NewNames) -> None:
    for path in sorted(folder.glob("*.json*")):
        if path.name != NOTE_FILE:
            _clean_json(path, new)
    (folder / LOG_FILE).unlink(missing_ok=True)  # nothing needs it any more, and it may hold anything
    for path in sorted(path for path in folder.iterdir() if path.suffix in _TEXT_SUFFIXES):
        text = path.read_text(encoding="utf-8", errors="replace")
        atomic_write_text(path, _replace_in_text(text, new.all, escape=html.escape))


def _rename_items(ws: Workspace, snapshot: Snapshot) -> Snapshot:
    """Return a snapshot with the names of the project; those of bundled samples are published and stay."""
    corrections = {Path(one.labels_file).name: one for one in ws.project.read_records(Correction)}
    cases = {case.id: case for case in ws.project.read_records(Case)}
    items: list[SnapshotItem] = []
    for number, item in enumerate(snapshot.items, start=1):
        correction = corrections.get(Path(item.labels).name)
        if correction is not None and correction.case_id in cases:
            case = cases[correction.case_id]
            changes = {"name": case.name, "group": ws.project.identities.key_group(item.group)}
        elif item.source.startswith("learnt by"):
            changes = {"name": f"older image {number}", "group": ws.project.identities.key_group(item.group)}
        else:
            changes = {}
        items.append(item.model_copy(update=changes))
    return snapshot.model_copy(update={"items": tuple(items)})


def _clean_json(path: Path, new: _NewNames) -> None:
    """Clean a file of JSON, or of one JSON value a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
        cleaned = [_replace_in_value(json.loads(line), new) for line in lines if line.strip()]
    except ValueError as error:
        report_damage(f"{path} is damaged and keeps the names that it may hold: {error}.")
        return
    indent = None if path.suffix == ".jsonl" else 2
    text = "\n".join(json.dumps(value, indent=indent, ensure_ascii=False) for value in cleaned)
    atomic_write_text(path, text + "\n")


def _replace_in_value(value: object, new: _NewNames, key: str = "") -> object:
    match value:
        case dict():
            return {name: _replace_in_value(one, new, str(name)) for name, one in value.items()}
        case list():
            return [_replace_in_value(one, new, key) for one in value]
        case str() if key in _CASE_KEYS:
            return new.cases.get(value, value)
        case str() if key == "group":
            return new.groups.get(value, value)
        case str() if key in ("text", "message"):
            return _replace_in_text(value, new.all, escape=str)
    return value


def _replace_in_text(text: str, new_names: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """Replace names where they are whole words, the longest first; short ones only as a whole cell of a table."""
    for old in sorted(new_names, key=len, reverse=True):
        shown, new = re.escape(escape(old)), escape(new_names[old])
        whole = rf"(?<![\w])(?:{shown})(?![\w])" if len(old) >= MIN_LENGTH_IN_TEXT else rf"(?<=>){shown}(?=<)"
        text = re.sub(whole, new.replace("\\", r"\\"), text)
    return text
