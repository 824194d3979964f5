"""What became of each case, one file each, written by the worker that did it: the truth that a second start reads.

A worker writes what it made, then the record, each whole or not at all. So whatever is killed, client, worker or
scheduler, a case is either done with its record there, or it is not done; and a second start repeats only the latter.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.atomic_io import atomic_write_text, read_file, remove_file, remove_unfinished_files
from napari_medseg.core.containers.part_paths import find_inner_path
from napari_medseg.core.errors import MedSegError, format_os_error
from napari_medseg.core.project.lock import hold_lock

RECORDS_FOLDER = ".medseg-cases"
LOCK_FILE, TOKEN_END = "lock", ".token"
KEY_CHARS, STAGED_CHARS = 24, 12
MAX_STARTS = 3
"""A case is started once, and twice again if its worker died."""

CaseState = Literal["done", "failed"]


class CaseRecord(BaseModel):
    """One case.

    Parameters
    ----------
    key, fingerprint
        Of `make_case_key` and `make_fingerprint`.
    path
        First file of the case.
    state, error
        Whether it is done, and if not, why.
    content_sha256
        Hash of the image's pixels, as in a project.
    seconds
        Of the whole case: reading, prediction, writing.
    worker
        Address of the worker that did it.
    n_starts
        How often it was begun; more than once if workers died.
    notes
        Notices for the user.
    result
        What else the case has: sizes, scores, names.
    labels_file
        Final name of its label file, once the client has chosen it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    fingerprint: str
    path: str
    state: CaseState
    error: str = ""
    content_sha256: str = ""
    seconds: float = 0.0
    worker: str = ""
    n_starts: int = 1
    notes: tuple[str, ...] = ()
    result: dict[str, Any] = {}
    labels_file: str = ""


def make_case_key(*parts: str | Path) -> str:
    """Return the key of a case: the same for the same files and task, whatever the options."""
    return hashlib.sha256(b"\0".join(os.fsencode(part) for part in parts)).hexdigest()[:KEY_CHARS]


def make_fingerprint(files: Sequence[Path], options: dict[str, Any]) -> str:
    """Return a hash of what the result of a case depends on: version and options, and size and time of its files.

    The pixels are not read for it: 4,000 series would have to be read again at each start.
    """
    stamps = []
    for file in sorted({_get_stored_file(file) for file in files}):
        with contextlib.suppress(OSError):  # reading it will report the problem
            status = os.stat(file)
            stamps.append((os.fsencode(file).hex(), status.st_size, status.st_mtime_ns))
    content = json.dumps([stamps, options], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _get_stored_file(path: Path) -> Path:
    """Return the file of a path that may lead into an archive or name a part of a file."""
    inner = find_inner_path(path)
    return path if inner is None else inner.file


class CaseRecords:
    """The records of an output folder, which workers and client share on one disk.

    Parameters
    ----------
    folder
        The output folder; it is made with its hidden folder of records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / RECORDS_FOLDER

    def make_folder(self) -> None:
        """Make the folder; raise `MedSegError` if it cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MedSegError(f"cannot make the folder {self.folder}: {format_os_error(error)}") from error

    @contextlib.contextmanager
    def hold(self) -> Iterator[str]:
        """Hold the folder for one client; yield a token, a file that each worker must see to be on the same disk.

        Raises
        ------
        MedSegError
            If another client works in the folder.
        """
        self.make_folder()
        refusal = f"another command works in {self.folder.parent}. Wait for it, or choose another folder with -o."
        with hold_lock(self.folder / LOCK_FILE, 0.5, refusal):
            remove_unfinished_files(self.folder)
            self._remove_orphans()
            token = self.folder / f"{uuid.uuid4().hex[:12]}{TOKEN_END}"
            token.write_text("", encoding="utf-8")
            try:
                yield token.name
            finally:
                with contextlib.suppress(OSError):
                    token.unlink(missing_ok=True)

    def _remove_orphans(self) -> None:
        """Remove files without their record: of workers that were killed, or whose client was, or is a later one."""
        for path in self.folder.glob("*"):
            key, rest = path.name[:KEY_CHARS], path.name[KEY_CHARS:]
            if path.name == LOCK_FILE or (self.get_file(key, ".json").exists() and not rest.startswith("-")):
                continue
            known = self.read(key)
            if known is None or not path.name.startswith(self.get_staged_file(key, known.fingerprint, "").name):
                path.unlink(missing_ok=True)

    def remove_others(self, keys: Collection[str]) -> None:
        """Remove what is left of all other cases: a task that was cancelled may end after its client."""
        for path in self.folder.glob("*"):
            if path.name != LOCK_FILE and path.suffix != TOKEN_END and path.name[:KEY_CHARS] not in keys:
                path.unlink(missing_ok=True)

    def get_file(self, key: str, ending: str) -> Path:
        """Return the path of a file of a case, whatever its version and options."""
        return self.folder / f"{key}{ending}"

    def get_staged_file(self, key: str, fingerprint: str, ending: str) -> Path:
        """Return the path of what a worker made of a case, for a result that depends on what the fingerprint says.

        A task that a client gave up may still run, and end after a later one of another version: both have own files.
        """
        return self.get_file(key, f"-{fingerprint[:STAGED_CHARS]}{ending}")

    def read(self, key: str) -> CaseRecord | None:
        """Return the record of a case; `None` if there is none, or it is damaged."""
        try:
            return CaseRecord.model_validate_json(read_file(self.get_file(key, ".json")))
        except (OSError, ValidationError):
            return None

    def read_all(self) -> list[CaseRecord]:
        """Return all records, in no order."""
        keys = sorted(path.stem for path in self.folder.glob("*.json"))
        return [record for record in map(self.read, keys) if record is not None]

    def write(self, record: CaseRecord) -> None:
        """Write a record, whole or not at all."""
        atomic_write_text(self.get_file(record.key, ".json"), record.model_dump_json(indent=1) + "\n")

    def remove(self, key: str) -> None:
        """Remove the record of a case that is done again."""
        try:
            remove_file(self.get_file(key, ".json"))
        except OSError as error:
            raise MedSegError(f"cannot change {self.folder}: {format_os_error(error)}") from error

    def begin(self, key: str, token: str, worker: str) -> list[str]:
        """Note that a worker begins a case; return the workers that began it before, in the same run."""
        path = self.get_file(key, ".starts")
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            before = [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == token]
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{token} {worker}\n")
        except OSError as error:
            raise MedSegError(f"cannot write {path}: {format_os_error(error)}") from error
        return before

    def end(self, key: str) -> None:
        """Forget who began a case."""
        with contextlib.suppress(OSError):
            self.get_file(key, ".starts").unlink(missing_ok=True)
