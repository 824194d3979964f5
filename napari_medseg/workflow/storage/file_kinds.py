"""What each file of a project folder is for: it decides what is counted, what is cleared, and what is archived."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.project.lock import HOLDER_FILE, LOCK_FILE, SHARED_LOCK_FILE
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.workflow.guidance.probability_cache import CACHE_FOLDER
from napari_medseg.workflow.learning.states import ADAPTED_FOLDER
from napari_medseg.workflow.video.predicted_frames import PREDICTED_FOLDER
from napari_medseg.workflow.whole_slide.manifest import SLIDES_FOLDER
from training.run_folder import (
    BEST_FILE,
    CHECKPOINT_FILE,
    CYCLE_PATTERN,
    START_FOLDER,
    TENSORBOARD_FOLDER,
    TRAINER_LOCK_FILE,
)


class FileKind(StrEnum):
    """What a file of a project is for."""

    DATABASE = "database"
    IMAGES = "images"
    LABELS = "labels"
    JOURNALS = "journals"
    TASKS = "tasks"
    RUNS = "runs"
    EXPORTS = "exports"
    CHECKPOINTS = "checkpoints"
    PROBABILITIES = "probabilities"
    ADAPTED = "adapted weights"
    VIDEOS = "predicted videos"
    CHECKS = "results of checks"
    SLIDES = "predictions of whole slides"
    LEFTOVERS = "leftovers"
    BACKUPS = "backups of older databases"
    LOCKS = "locks"
    OTHER = "other files"


CACHES = frozenset({FileKind.PROBABILITIES, FileKind.ADAPTED, FileKind.VIDEOS, FileKind.CHECKS, FileKind.LEFTOVERS})
"""They hold nothing that a person made, and are made again when they are needed."""
NOT_ARCHIVED = CACHES | {FileKind.LOCKS, FileKind.BACKUPS, FileKind.SLIDES}
"""A slide takes hours to predict, so it is not cleared; but it can be predicted again, and has thousands of files."""

_BY_FOLDER = {
    "images": FileKind.IMAGES,
    "labels": FileKind.LABELS,
    "journal": FileKind.JOURNALS,
    "exports": FileKind.EXPORTS,
    TASKS_FOLDER: FileKind.TASKS,
    CACHE_FOLDER: FileKind.PROBABILITIES,
    ADAPTED_FOLDER: FileKind.ADAPTED,
    SLIDES_FOLDER: FileKind.SLIDES,
    PREDICTED_FOLDER: FileKind.VIDEOS,
}
_CHECKS_FOLDER = re.compile(r"checks(-\d+)?")
_LOCK_FILES = frozenset({LOCK_FILE, HOLDER_FILE, SHARED_LOCK_FILE, TRAINER_LOCK_FILE})
_BACKUP = re.compile(rf"{re.escape(Path(DATABASE).stem)}\.before-version-\d+\.sqlite(-\w+)?")
_TRAINING_STATE_FOLDERS = frozenset({START_FOLDER, TENSORBOARD_FOLDER})


@dataclass(frozen=True)
class ProjectFile:
    """One file; `path` is relative to the project folder, with slashes."""

    path: str
    kind: FileKind
    n_bytes: int

    @property
    def run_id(self) -> str:
        """The run that it belongs to; empty for a file of no run."""
        parts = PurePosixPath(self.path).parts
        return parts[1] if parts[0] == "runs" and len(parts) > 2 else ""


def find_file_kind(path: str) -> FileKind:
    """Return the kind of a file by its path relative to the project folder, with slashes."""
    parts = PurePosixPath(path).parts
    if any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        return FileKind.LEFTOVERS
    if parts[-1] in _LOCK_FILES and (len(parts) == 1 or parts[0] == "runs"):
        return FileKind.LOCKS
    if len(parts) == 1:
        return _find_kind_at_top(parts[0])
    if parts[0] == "runs":
        return FileKind.CHECKPOINTS if _is_training_state(parts[2:]) else FileKind.RUNS
    if _CHECKS_FOLDER.fullmatch(parts[0]):
        return FileKind.CHECKS
    return _BY_FOLDER.get(parts[0], FileKind.OTHER)


def list_project_files(folder: Path) -> Iterator[ProjectFile]:
    """Yield the files of a project, sorted within each folder. Links are neither followed nor listed.

    A file that vanishes meanwhile is left out: a window, the engine and a run may work in the project.
    """
    yield from _list_files(folder, "")


def _list_files(folder: Path, prefix: str) -> Iterator[ProjectFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        path = f"{prefix}{entry.name}"
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _list_files(Path(entry.path), f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                yield ProjectFile(path, find_file_kind(path), entry.stat(follow_symlinks=False).st_size)
        except FileNotFoundError:
            continue


def _find_kind_at_top(name: str) -> FileKind:
    if name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"):
        return FileKind.DATABASE
    return FileKind.BACKUPS if _BACKUP.fullmatch(name) else FileKind.OTHER


def _is_training_state(parts: tuple[str, ...]) -> bool:
    """Whether a file of a run is needed only while the run can go on, by its path in the run folder."""
    if len(parts) > 1:
        return parts[0] in _TRAINING_STATE_FOLDERS
    return bool(parts) and (parts[0] in (CHECKPOINT_FILE, BEST_FILE) or PurePosixPath(parts[0]).match(CYCLE_PATTERN))
