"""How much disk a project uses, and what can be cleared: caches and states of ended runs, never work of a person."""

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import remove_file
from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import format_os_error
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Run, RunState
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER
from napari_medseg.workflow.storage.file_kinds import CACHES, FileKind, ProjectFile, list_project_files

ENDED = frozenset({RunState.FINISHED, RunState.CANCELLED, RunState.PROMOTED, RunState.KEPT_OLD, RunState.DISCARDED})
"""A run in one of these states cannot go on. One that failed can be continued from its checkpoint."""
LEFTOVER_AGE_S = 3600.0
"""A temporary file that was not written to for so long was left by a process that was killed."""


@dataclass(frozen=True)
class DiskUse:
    """Bytes and number of the files of a project by kind, and the free bytes of its disk."""

    n_bytes: dict[FileKind, int]
    n_files: dict[FileKind, int]
    free_bytes: int

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.n_bytes.values())


@dataclass(frozen=True)
class Cleared:
    """What was removed, and messages on files that could not be."""

    n_files: int
    n_bytes: int
    problems: tuple[str, ...]

    @property
    def text(self) -> str:
        """One sentence."""
        what = f"{format_bytes(self.n_bytes)} in {self.n_files:,} files were cleared." if self.n_files else ""
        return " ".join([what or "There was nothing to clear.", *self.problems])


def measure_disk_use(folder: Path) -> DiskUse:
    """Return how much disk a project uses. It only reads folders, so it may run in a worker thread."""
    n_bytes: Counter[FileKind] = Counter()
    n_files: Counter[FileKind] = Counter()
    for file in list_project_files(folder):
        n_bytes[file.kind] += file.n_bytes
        n_files[file.kind] += 1
    return DiskUse(dict(n_bytes), dict(n_files), shutil.disk_usage(folder).free)


def list_ended_runs(project: Project) -> frozenset[str]:
    """Return the ids of the runs that cannot go on; `list_clearable_files` clears their checkpoints."""
    return frozenset(run.id for run in project.read_records(Run) if run.state in ENDED)


def list_clearable_files(folder: Path, ended_runs: Collection[str]) -> list[ProjectFile]:
    """Return what can be removed: caches, leftovers of killed processes, and checkpoints of ended runs.

    It may run in a worker thread. What a run that can go on needs is never in the list.
    """
    return [file for file in list_project_files(folder) if _is_clearable(folder, file, ended_runs)]


def clear_files(folder: Path, files: Sequence[ProjectFile]) -> Cleared:
    """Remove files of `list_clearable_files`, and folders that are empty then. It may run in a worker thread.

    A file that another program holds stays, and is named; the others go.
    """
    n_files, n_bytes, problems = 0, 0, []
    for file in files:
        try:
            remove_file(folder / file.path)
        except OSError as error:
            problems.append(f"{file.path} stays: {format_os_error(error)}")
        else:
            n_files, n_bytes = n_files + 1, n_bytes + file.n_bytes
    _remove_empty_folders(folder, files)
    return Cleared(n_files, n_bytes, tuple(problems))


def describe_kinds(use: DiskUse) -> list[tuple[str, int, int]]:
    """Return name, bytes and number of files of each kind that occurs, the largest first."""
    kinds = sorted(use.n_bytes, key=lambda kind: -use.n_bytes[kind])
    return [(kind.value, use.n_bytes[kind], use.n_files[kind]) for kind in kinds]


def _is_clearable(folder: Path, file: ProjectFile, ended_runs: Collection[str]) -> bool:
    is_at_rest = not file.run_id or file.run_id in ended_runs
    if file.kind is FileKind.CHECKPOINTS or not is_at_rest:
        return bool(file.run_id) and is_at_rest
    if file.kind is FileKind.CHECKS:  # the present ones would take minutes out of the time budget of the next run
        return not file.path.startswith(f"{CHECKS_FOLDER}/")
    return file.kind in CACHES and (file.kind is not FileKind.LEFTOVERS or _is_old(folder / file.path))


def _is_old(path: Path) -> bool:
    """Whether nobody is still writing a temporary file."""
    try:
        return time.time() - path.stat().st_mtime > LEFTOVER_AGE_S
    except OSError:
        return False


def _remove_empty_folders(folder: Path, files: Iterable[ProjectFile]) -> None:
    """Remove the folders of removed files if they are empty; those that every project has stay."""
    parents = {
        (folder / file.path).parent for file in files if file.path.count("/") > 1 or file.kind is FileKind.CHECKS
    }
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):  # not empty
            parent.rmdir()
