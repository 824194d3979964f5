"""Pack a project into one archive file: a ZIP (with zip64) of its files, its database and the models that it needs.

ZIP, because its directory states name and size of each file before anything is read, one file can be checked without
the others, every system opens it, and Python writes it. Images and weights are compressed already and are only stored.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import CHUNK_BYTES, atomic_write, sync_folder
from napari_medseg.core.errors import MedSegError, get_reason, translate_errors
from napari_medseg.core.file_names import get_name_key
from napari_medseg.core.model_card import CARD_FILE, OPTIONAL_FILES, WEIGHTS_FILE
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.records import Case, now
from napari_medseg.core.replay import REPLAY_IMAGES_FILE
from napari_medseg.workflow.storage import archived_models, deidentify
from napari_medseg.workflow.storage.file_kinds import NOT_ARCHIVED, FileKind, list_project_files
from napari_medseg.workflow.storage.manifest import (
    ARCHIVE_VERSION,
    MANIFEST_FILE,
    PROJECT_FOLDER,
    REGISTRY_FOLDER,
    ArchivedFile,
    ArchivedVersion,
    Manifest,
    check_archive_path,
)
from napari_medseg.workflow.storage.project_copy import copy_database, open_project_copy

ARCHIVE_SUFFIX = ".medseg.zip"
"""The usual end of an archive's name; any name is accepted."""
_COMPRESSED = frozenset({".tif", ".tiff", ".png", ".jpg", ".npz", ".gz", ".zip", ".safetensors"})
_REGULAR_FILE = 0o100600
_COMPRESSION_LEVEL = 3


@dataclass(frozen=True)
class Progress:
    """Work that is done, in bytes, of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class PackedProject:
    """A finished archive. `notices` say what is not in it."""

    path: Path
    manifest: Manifest
    n_bytes: int
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """A file to pack: from `file`, or with the `content`."""

    path: str
    n_bytes: int
    file: Path
    content: bytes | None = None


def pack_project(
    folder: Path, target: Path, registry: ModelRegistry, *, with_identities: bool = True, replace: bool = False
) -> Generator[Progress, None, PackedProject]:
    """Pack a project; it may be open in a window, and is not changed.

    Parameters
    ----------
    folder, target, registry
        The project, the archive to write, and the models of the user.
    with_identities
        Whether clear names, paths and exports go with it, so that work goes on elsewhere as it was. Without them the
        archive can be passed on; see `deidentify`.
    replace
        Whether an existing file may be replaced.

    Yields
    ------
    Progress
        After each file.

    Raises
    ------
    MedSegError
        If the target exists or lies inside the project, the project is damaged, or the disk is full. No file is left
        under the name of the target, and one that was there is not changed.
    """
    if target.exists() and (not replace or not target.is_file()):
        raise MedSegError(f"{target} exists. Choose another name, or allow to replace it (--replace).")
    if target.resolve().is_relative_to(folder.resolve()):
        raise MedSegError(f"{target} lies inside the project. Choose a folder outside of it.")
    with open_project_copy(folder) as project, tempfile.TemporaryDirectory(prefix="medseg-") as beside:
        database = _copy_rows(project, Path(beside) / DATABASE, with_identities=with_identities)
        needed = archived_models.list_needed_versions(project, registry)
        versions = tuple(archived_models.describe_version(registry, card) for card in needed.cards)
        sources, notices = _leave_out_bad_names(
            [
                _Source(f"{PROJECT_FOLDER}/{DATABASE}", database.stat().st_size, database),
                *_list_project_sources(folder, with_identities=with_identities),
                *_list_model_sources(registry, versions, folder, with_identities=with_identities),
            ]
        )
        notices += _describe_missing(project, folder, needed.missing)
        empty = Manifest(
            archive_version=ARCHIVE_VERSION,
            program=f"napari-medseg {version('napari-medseg')}",
            created=now(),
            has_identities=with_identities,
            versions=versions,
            live=archived_models.list_live_versions(project, registry, with_reasons=with_identities),
        )
        manifest = yield from _write_archive(target, sources, empty)
    return PackedProject(target, manifest, target.stat().st_size, tuple(notices))


def _copy_rows(project: Project, target: Path, *, with_identities: bool) -> Path:
    copy_database(project.folder / DATABASE, target)
    if not with_identities:
        deidentify.remove_identities(target)
    return target


def _list_project_sources(folder: Path, *, with_identities: bool) -> Iterator[_Source]:
    """Yield the files of a project but the database: what a row names is on the disk before the row."""
    for file in list_project_files(folder):
        if file.kind in NOT_ARCHIVED or file.kind is FileKind.DATABASE:
            continue
        content = None
        if not with_identities:
            if not deidentify.may_be_passed_on(file):
                continue
            content = deidentify.clean_file(folder, file)
        elif file.kind is FileKind.RUNS and PurePosixPath(file.path).name == REPLAY_IMAGES_FILE:
            content = _make_portable(folder / file.path, folder)
        yield _Source(f"{PROJECT_FOLDER}/{file.path}", file.n_bytes, folder / file.path, content)


def _list_model_sources(
    registry: ModelRegistry, versions: Iterable[ArchivedVersion], project: Path, *, with_identities: bool
) -> Iterator[_Source]:
    """Yield the files of the versions that do not come with the program."""
    for one in versions:
        if one.is_bundled:
            continue
        folder = registry.get_folder(one.id)
        for name in (CARD_FILE, WEIGHTS_FILE, *OPTIONAL_FILES, *[REPLAY_IMAGES_FILE] * with_identities):
            path = folder / name
            if path.is_file():
                content = _make_portable(path, project) if name == REPLAY_IMAGES_FILE else None
                if name == CARD_FILE and not with_identities:
                    content = deidentify.clean_card(path)
                yield _Source(f"{REGISTRY_FOLDER}/{one.folder}/{name}", path.stat().st_size, path, content)


def _make_portable(path: Path, project: Path) -> bytes | None:
    try:
        return archived_models.make_replay_list_portable(path, project)
    except (OSError, ValueError, TypeError, LookupError):
        return None  # a damaged list goes along as it is


def _leave_out_bad_names(sources: Iterable[_Source]) -> tuple[list[_Source], list[str]]:
    """Return the sources whose names every system can store, and a notice for each other one."""
    taken: set[str] = set()
    kept, notices = [], []
    for source in sources:
        try:
            source.path.encode()
            check_archive_path(source.path)
            if get_name_key(source.path) in taken:
                raise ValueError("another file has the same name on some systems")
        except (ValueError, UnicodeError):
            notices.append(f"{source.path} is left out: some systems cannot store its name. Rename it.")
            continue
        taken.add(get_name_key(source.path))
        kept.append(source)
    return kept, notices


def _describe_missing(project: Project, folder: Path, missing: Iterable[str]) -> list[str]:
    notices = [
        f"{model} is named in the project, but is no longer there; it is not in the archive." for model in missing
    ]
    cases = project.read_records(Case)
    n_without = sum(not get_image_copy_path(folder, case.content_hash).exists() for case in cases)
    if n_without:
        notices.append(
            f"{n_without} of {len(cases)} cases were not accepted yet, so their images are not in the project: take "
            "those files along, too."
        )
    return notices


def _write_archive(target: Path, sources: list[_Source], empty: Manifest) -> Generator[Progress, None, Manifest]:
    with (
        translate_errors(),
        atomic_write(target) as unfinished,
        zipfile.ZipFile(unfinished, "w", compresslevel=_COMPRESSION_LEVEL) as archive,
    ):
        files = yield from _write_sources(archive, sources)
        manifest = empty.model_copy(update={"files": tuple(files)})
        archive.writestr(_make_entry(MANIFEST_FILE, 0), manifest.model_dump_json(indent=1) + "\n")
    sync_folder(target.parent)
    return manifest


def _write_sources(archive: zipfile.ZipFile, sources: list[_Source]) -> Generator[Progress, None, list[ArchivedFile]]:
    total = sum(source.n_bytes for source in sources)
    done, files = 0, []
    for source in sources:
        try:
            files.append(_write_source(archive, source))
        except FileNotFoundError as error:  # a run or the engine removed it meanwhile; no row names such files
            if not source.path.startswith(f"{PROJECT_FOLDER}/runs/"):
                raise MedSegError(
                    f"{source.file} vanished while it was packed: {get_reason(error)}. Try again."
                ) from error
        done += source.n_bytes
        yield Progress(done, total)
    return files


def _write_source(archive: zipfile.ZipFile, source: _Source) -> ArchivedFile:
    """Write one file, as long as it was when it was listed: a journal may grow, and its end would be half a record."""
    digest, size = hashlib.sha256(), 0
    modified = source.file.stat().st_mtime
    chunks = iter([source.content]) if source.content is not None else _read_chunks(source.file, source.n_bytes)
    chunk = next(chunks, b"")  # before the entry: a file that vanished leaves none
    with archive.open(_make_entry(source.path, source.n_bytes), "w") as packed:
        while chunk:
            digest.update(chunk)
            size += len(chunk)
            packed.write(chunk)
            chunk = next(chunks, b"")
    return ArchivedFile(path=source.path, size=size, sha256=digest.hexdigest(), modified=modified)


def _read_chunks(path: Path, n_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while n_bytes and (chunk := file.read(min(CHUNK_BYTES, n_bytes))):
            n_bytes -= len(chunk)
            yield chunk


def _make_entry(path: str, n_bytes: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path)
    entry.external_attr = _REGULAR_FILE << 16
    entry.file_size = n_bytes
    is_compressed = PurePosixPath(path).suffix in _COMPRESSED
    entry.compress_type = zipfile.ZIP_STORED if is_compressed else zipfile.ZIP_DEFLATED
    return entry
