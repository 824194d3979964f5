"""The manifest of a project archive: every file with its size and hash, and the model versions that it needs."""

import re
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import get_name_key
from napari_medseg.core.json_model import format_validation_error
from napari_medseg.core.project.database import DATABASE

MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 2**28
PROJECT_FOLDER, REGISTRY_FOLDER = "project", "registry"
"""Folders of an archive: the project, and the model versions that it needs."""
ARCHIVE_VERSION = 1
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]')
_MAX_PATH_CHARS = 1000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def check_archive_path(path: str) -> str:
    """Return a path of an archive if it stays inside the folder that it is unpacked into, on every system.

    Raises
    ------
    ValueError
        If it is absolute, leads upwards, has a drive, a backslash or a character that a system forbids, or is long.
    """
    parts = path.split("/")
    is_safe = not _FORBIDDEN.search(path) and all(part.strip(". ") and part == part.rstrip(". ") for part in parts)
    if not is_safe or len(parts) < 2 or len(path) > _MAX_PATH_CHARS or str(PurePosixPath(path)) != path:
        raise ValueError(f"{path[:80]!r} is no path of a project archive")
    if parts[0] not in (PROJECT_FOLDER, REGISTRY_FOLDER):
        raise ValueError(f"{path[:80]!r} is neither of the project nor of its models")
    return path


class ArchivedFile(_Frozen):
    """One file; `path` begins with ``project/`` or ``registry/``, `modified` is in seconds since 1970."""

    path: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    modified: float = Field(0.0, ge=0, lt=2**40)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        return check_archive_path(path)


class ArchivedVersion(_Frozen):
    """A model version that the project needs. A bundled one comes with the program and is not in the archive."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*@[1-9][0-9]*$")
    weights_sha256: str
    is_bundled: bool = False

    @property
    def folder(self) -> str:
        """Its folder in the archive and in a registry, such as ``lungs-unet/4``."""
        return self.id.replace("@", "/")


class LiveVersion(_Frozen):
    """The live version of a task, and the reason that was given for it."""

    model: str
    reason: str = ""


class Manifest(_Frozen):
    """What an archive holds.

    `has_identities` says whether clear names of patients and files are in it, `live` which version was live per task.
    """

    archive_version: int = Field(ge=1)
    program: str
    created: str
    has_identities: bool
    files: tuple[ArchivedFile, ...] = ()
    versions: tuple[ArchivedVersion, ...] = ()
    live: dict[str, LiveVersion] = {}

    def find_problem(self) -> str:
        """Return why the list of files cannot be that of a project; empty if it can."""
        keys = {get_name_key(file.path) for file in self.files}
        folders = {get_name_key(str(parent)) for file in self.files for parent in PurePosixPath(file.path).parents}
        if len(keys) != len(self.files) or folders & keys:
            return "two files have the same name"
        return "" if f"{PROJECT_FOLDER}/{DATABASE}" in {file.path for file in self.files} else f"{DATABASE} is missing"

    @property
    def n_bytes(self) -> int:
        """Bytes of all files when they are unpacked."""
        return sum(file.size for file in self.files)


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Read the manifest of the archive `name`.

    Raises
    ------
    MedSegError
        If it is damaged, holds paths that lead out of the archive, or a newer program wrote it.
    """
    try:
        manifest = Manifest.model_validate_json(data)
        problem = manifest.find_problem()
    except ValidationError as error:
        problem = format_validation_error(error)
    if problem:
        raise MedSegError(
            f"{name} is not an archive of a project, or is damaged: {problem}. Pack the project again, or use another "
            "copy."
        )
    if manifest.archive_version > ARCHIVE_VERSION:
        raise MedSegError(f"{name} was packed by a newer napari-medseg ({manifest.program}). Update napari-medseg.")
    return manifest
