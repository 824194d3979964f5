"""Check a project or an archive: is every file that the database names there, and is it as it was written?

Images outside of the project are only looked for, as reading them all would take as long as copying them.

Nothing is locked or changed, so a window may have the project open. What no row names is listed, too: a crash can leave
an unused file, which does no harm.
"""

import tempfile
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import compute_file_sha256, read_file
from napari_medseg.core.errors import MedSegError, explain, get_reason
from napari_medseg.core.model_card import check_version_folder
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import read_image_copy
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.journal_records import MAX_JOURNAL_BYTES, read_journal
from napari_medseg.core.records import Case, Correction, Prediction, Review, Run
from napari_medseg.core.snapshot import SNAPSHOT_FILE, read_snapshot
from napari_medseg.workflow.case_images.look_up import find_image_problems
from napari_medseg.workflow.storage.archive_reader import ProjectArchive, open_archive
from napari_medseg.workflow.storage.file_kinds import FileKind, list_project_files
from napari_medseg.workflow.storage.manifest import PROJECT_FOLDER, ArchivedFile
from napari_medseg.workflow.storage.pack import Progress
from napari_medseg.workflow.storage.project_copy import open_project_copy

_RESTORE = "Restore it from a backup or an archive."
_CONNECT = "Connect its drive, or put the files back; `medseg queue --clear-names` names them."
_MAY_BE_UNUSED = (FileKind.IMAGES, FileKind.LABELS, FileKind.JOURNALS, FileKind.RUNS, FileKind.CHECKPOINTS)
_CERTAIN_MASK = "labels/certain-"
"""Begins the masks that a training set makes again when it needs them."""
_ROWS = f"{PROJECT_FOLDER}/{DATABASE}"


@dataclass(frozen=True)
class Fault:
    """A file that is missing or changed, or a case without an image; `problem` says what is wrong, and what to do."""

    path: str
    problem: str


@dataclass(frozen=True)
class CheckResult:
    """What was found: faults, the number of checked files, and files that nothing names."""

    n_checked: int
    faults: tuple[Fault, ...]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Named:
    """A file that a row names; `check` returns a problem, or nothing. One that is not needed may be missing."""

    path: str
    check: Callable[[], str]
    is_needed: bool = True


def check_project(folder: Path, registry: ModelRegistry | None) -> Generator[Progress, None, CheckResult]:
    """Check each file of a project against its database; images are decoded and compared with their hash.

    Parameters
    ----------
    folder, registry
        The project, and the models that its runs made; `None` leaves the models out.

    Yields
    ------
    Progress
        In files.

    Raises
    ------
    MedSegError
        If there is no project, or its database is damaged.
    """
    with open_project_copy(folder) as project:
        named = list({one.path: one for one in _list_named_files(project, folder)}.values())
        runs = {run.folder for run in project.read_records(Run)}
        models = list(_check_models(project, registry)) if registry is not None else []
        images = list(_find_lost_images(project, folder))
    faults = []
    for number, one in enumerate(named, start=1):
        if problem := _check_named(folder, one):
            faults.append(Fault(one.path, problem))
        yield Progress(number, len(named))
    known = {one.path for one in named}
    unused = [
        file.path
        for file in list_project_files(folder)
        if file.kind in _MAY_BE_UNUSED and not _is_known(file.path, known, runs)
    ]
    return CheckResult(len(named), (*faults, *models, *images), tuple(unused))


def check_archive(path: Path) -> Generator[Progress, None, CheckResult]:
    """Check each file of an archive against its own list, and the files that its database names.

    Raises
    ------
    MedSegError
        If it cannot be read, or is no archive of a project.
    """
    with open_archive(path) as archive, tempfile.TemporaryDirectory(prefix="medseg-") as beside:
        faults = [
            Fault(name, f"{problem}. Use another copy of the archive.") for name, problem in archive.list_faults()
        ]
        broken = {fault.path for fault in faults}
        done, total = 0, archive.manifest.n_bytes
        for file in archive.manifest.files:
            if file.path not in broken:
                faults += _check_archived(archive, file, Path(beside))
            done += file.size
            yield Progress(done, total)
        if not {fault.path for fault in faults} & {_ROWS}:
            faults += _find_missing_in_archive(archive, Path(beside))
    return CheckResult(len(archive.manifest.files), tuple(faults))


def _check_archived(archive: ProjectArchive, file: ArchivedFile, beside: Path) -> list[Fault]:
    """Read a file to its end, which compares its hash; keep the database."""
    try:
        if file.path == _ROWS:
            with (beside / DATABASE).open("wb") as kept:
                kept.writelines(archive.read_file(file))
        else:
            for _ in archive.read_file(file):
                pass
    except MedSegError as error:
        return [Fault(file.path, str(error))]
    return []


def _find_missing_in_archive(archive: ProjectArchive, beside: Path) -> list[Fault]:
    """Return the files that the database of an archive names, and the archive does not hold."""
    held = {
        file.path.partition("/")[2] for file in archive.manifest.files if file.path.startswith(f"{PROJECT_FOLDER}/")
    }
    try:
        with open_project_copy(beside) as project:
            named = [one.path for one in _list_named_files(project, beside) if one.is_needed]
    except MedSegError as error:
        return [Fault(_ROWS, str(error))]
    problem = f"it was missing when the project was packed. {_RESTORE}"
    return [Fault(f"{PROJECT_FOLDER}/{path}", problem) for path in dict.fromkeys(named) if path not in held]


def _list_named_files(project: Project, folder: Path) -> Iterator[_Named]:
    cases = {case.id: case for case in project.read_records(Case)}
    for prediction in project.read_records(Prediction):
        yield _Named(prediction.labels_file, partial(_compare_hash, folder / prediction.labels_file, prediction.sha256))
        if prediction.field_file:
            yield _Named(prediction.field_file, lambda: "")
    for correction in project.read_records(Correction):
        yield _Named(correction.labels_file, partial(_compare_hash, folder / correction.labels_file, correction.sha256))
        if correction.reviewed_file:
            check = partial(_compare_hash, folder / correction.reviewed_file, correction.reviewed_sha256)
            yield _Named(correction.reviewed_file, check)
        if (case := cases.get(correction.case_id)) is not None:
            yield _Named(correction.image_file, partial(_check_image, folder, case))
            yield _Named(str(PurePosixPath(correction.image_file).with_suffix(".json")), lambda: "")
    for review in project.read_records(Review):
        path = f"journal/{review.id}.journal"
        yield _Named(path, partial(_check_journal, folder / path), is_needed=False)
    for run in project.read_records(Run):
        yield _Named(f"{run.folder}/{SNAPSHOT_FILE}", partial(_check_snapshot, folder / run.folder / SNAPSHOT_FILE))


def _check_named(folder: Path, one: _Named) -> str:
    path = folder / one.path
    if not path.exists():
        return f"it is missing. {_RESTORE}" if one.is_needed else ""
    try:
        return one.check()
    except (OSError, MedSegError) as error:
        return f"it cannot be read: {get_reason(error)}. {_RESTORE}"


def _compare_hash(path: Path, sha256: str) -> str:
    return "" if compute_file_sha256(path) == sha256 else f"it is not as it was written. {_RESTORE}"


def _check_image(folder: Path, case: Case) -> str:
    try:
        read_image_copy(folder, case)
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        return str(explained)
    return ""


def _check_journal(path: Path) -> str:
    content = read_journal(read_file(path, MAX_JOURNAL_BYTES))
    if content is None:
        return "it is no journal of strokes. Accepted labels are not affected; a draft would lose its strokes."
    if content.is_damaged:
        return "some strokes cannot be read. Open the case: all that can be read is kept."
    return ""


def _check_snapshot(path: Path) -> str:
    read_snapshot(path)
    return ""


def _find_lost_images(project: Project, folder: Path) -> Iterator[Fault]:
    """Yield the listed cases whose files are gone, and of whose image the project has no copy; no file is read."""
    removed = project.read_removed_case_ids()
    cases = [case for case in project.read_records(Case) if case.id not in removed]
    for found in find_image_problems(folder, cases):
        for case, problem in found:
            if problem is not None:  # its text names files, which may name patients
                yield Fault(case.name, f"its {problem.short_text}, and the project has no copy. {_CONNECT}")


def _check_models(project: Project, registry: ModelRegistry) -> Iterator[Fault]:
    """Yield faults of the versions that the runs of a project made."""
    known = {card.id: card for card in registry.list_versions()}
    made = dict.fromkeys(run.result_model for run in project.read_records(Run) if run.result_model)
    for model in made:
        if model not in known:
            yield Fault(model, f"this model was made here, but is not in {registry.user_dir}. {_RESTORE}")
            continue
        try:
            check_version_folder(known[model], registry.get_folder(model))
        except (MedSegError, OSError) as error:
            yield Fault(model, get_reason(error) + ".")


def _is_known(path: str, named: Collection[str], runs: Collection[str]) -> bool:
    parts = PurePosixPath(path).parts
    if parts[0] == "runs":
        return "/".join(parts[:2]) in runs
    if parts[0] == "journal":  # beside a journal lie the region, the seen places, and what was set aside of them
        return f"journal/{parts[-1].partition('.')[0]}.journal" in named
    return path in named or path.startswith(_CERTAIN_MASK)
