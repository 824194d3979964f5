"""Unpack an archive of a project into a new folder, and its models into the user's registry."""

import contextlib
import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import make_temporary_path, replace_file, sync_folder
from napari_medseg.core.decoded_size.limit import format_bytes
from napari_medseg.core.errors import MedSegError, format_os_error, translate_errors
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import DATABASE, FOLDERS, Project
from napari_medseg.workflow.storage.archive_reader import ProjectArchive, open_archive
from napari_medseg.workflow.storage.archived_models import (
    add_versions,
    localise_replay_list,
    refuse_other_versions,
    set_live_versions,
)
from napari_medseg.workflow.storage.foreign_paths import (
    leave_out_foreign_paths,
    list_replay_lists,
    refuse_paths_that_lead_out,
)
from napari_medseg.workflow.storage.manifest import PROJECT_FOLDER, REGISTRY_FOLDER, Manifest
from napari_medseg.workflow.storage.pack import Progress

RESERVE_BYTES = 100 * 2**20
"""Free space that is left on the disk."""


@dataclass(frozen=True)
class UnpackedProject:
    """A project in its new folder, the models that were added to the registry, and what to know."""

    folder: Path
    manifest: Manifest
    added_models: tuple[str, ...]
    notices: tuple[str, ...]


def unpack_project(
    path: Path, folder: Path, registry: ModelRegistry, *, is_own: bool = False
) -> Generator[Progress, None, UnpackedProject]:
    """Unpack an archive. Everything is checked in a folder beside `folder`, which gets its name last.

    Parameters
    ----------
    path
        An archive; anybody may have made it.
    folder
        The new project; it does not exist yet, or is empty.
    registry
        Receives the models of the project, under the same names.
    is_own
        Whether this user packed it, and goes on with it. Only then do paths of images and models outside the project
        stay, and do its models go live where nobody chose one for their task.

    Yields
    ------
    Progress
        After each file.

    Raises
    ------
    MedSegError
        If the archive is damaged, changed, or no archive of a project; if a row names a file outside the project; if it
        needs more than the free space; if the folder holds something; or if the registry has another model of the same
        name. No project is left then.
    """
    _refuse_used_folder(folder)
    with open_archive(path) as archive, translate_errors():
        manifest = archive.manifest
        if faults := archive.list_faults():
            listed = "; ".join(f"{name}: {fault}" for name, fault in faults[:5])
            raise MedSegError(f"{path.name} is not as it was packed: {listed}. Use another copy, or pack it again.")
        refuse_other_versions(registry, manifest.versions, path.name)
        beside = make_temporary_path(folder.absolute())
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            _refuse_above_free_space(manifest, beside.parent)
            yield from _extract(archive, beside)
            n_without = _settle(beside, folder, is_own=is_own)
            added = add_versions(registry, manifest.versions, beside / REGISTRY_FOLDER)
            _take_place(beside / PROJECT_FOLDER, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    notices = [*set_live_versions(registry, manifest.live, is_own=is_own)]
    notices += _describe_missing_models(registry, manifest)
    if n_without:
        notices.append(
            f"{n_without} images are not in the archive, and the paths to them are left out, because anybody may have "
            "packed it. Drop these images again. If you packed it yourself, unpack it with --own instead."
        )
    if not manifest.has_identities:
        notices.append(
            "The archive has no clear names: images of a known patient that you add now become another patient."
        )
    return UnpackedProject(folder, manifest, tuple(added), tuple(notices))


def _refuse_used_folder(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise MedSegError(f"{folder} is a file or a link. Choose a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise MedSegError(f"{folder} is not empty. Choose a new folder; nothing in it was changed.")


def _refuse_above_free_space(manifest: Manifest, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if manifest.n_bytes + RESERVE_BYTES > free:
        raise MedSegError(
            f"the project takes {format_bytes(manifest.n_bytes)}, but only {format_bytes(free)} are free in {folder}. "
            "Free disk space, or choose another disk."
        )


def _extract(archive: ProjectArchive, beside: Path) -> Generator[Progress, None, None]:
    done, total = 0, archive.manifest.n_bytes
    for file in archive.manifest.files:
        target = beside / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as unpacked:
            for chunk in archive.read_file(file):
                unpacked.write(chunk)
            unpacked.flush()
            os.fsync(unpacked.fileno())
        with contextlib.suppress(OSError, OverflowError):  # drafts are listed by the time of their last stroke
            os.utime(target, (file.modified, file.modified))
        done += file.size
        yield Progress(done, total)


def _settle(beside: Path, folder: Path, *, is_own: bool) -> int:
    """Open the project once, which refuses a wrong database, and set or leave out paths.

    Returns the number of images that are not in the project, and whose paths were left out.
    """
    project = beside / PROJECT_FOLDER
    for name in FOLDERS:
        (project / name).mkdir(exist_ok=True)
    Project.open(project).close()
    refuse_paths_that_lead_out(project / DATABASE)
    for listed in list_replay_lists(beside):
        try:
            localise_replay_list(listed, folder, is_own=is_own)
        except (OSError, ValueError, TypeError, LookupError):
            if not is_own:  # a damaged list of one's own goes along as it is
                listed.unlink()
    return 0 if is_own else leave_out_foreign_paths(project)


def _take_place(unpacked: Path, folder: Path) -> None:
    try:
        if folder.is_dir():
            folder.rmdir()
        replace_file(unpacked, folder)
    except OSError as error:
        raise MedSegError(f"cannot make {folder}: {format_os_error(error)}") from error
    sync_folder(folder.parent)


def _describe_missing_models(registry: ModelRegistry, manifest: Manifest) -> list[str]:
    known = {card.id for card in registry.list_versions()}
    return [
        f"{one.id} came with another version of this program and is not here; labels that it made are not affected."
        for one in manifest.versions
        if one.id not in known
    ]
