"""Files of this program, written whole or not at all, and read whole.

Writing survives a power failure: the file is synced, renamed, then its folder is synced.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from napari_medseg.core.errors import MedSegError, explain, format_os_error
from napari_medseg.core.open_folders import ensure_in_place

CHUNK_BYTES = 1 << 20
MAX_READ_BYTES = 2**29
"""Of a file that is read whole: many times what a snapshot of 100,000 images takes."""
TEMPORARY_PREFIX = ".writing-"
TEMPORARY_TAIL = 24
"""Characters of a file's name that its temporary file keeps."""
HELD_S = 2.0
"""How long to try again where another program holds a file."""
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.2
_HELD_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY})


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` after everything was written.

    Raises
    ------
    MedSegError
        If the folder cannot be written to, the disk is full, or the format cannot store the content; an existing file
        is not changed. Also if the project or run that holds the file was renamed while it is open.
    """
    ensure_in_place(path)
    temporary = make_temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedSegError(f"cannot make the folder {path.parent}: {format_os_error(error)}") from error
    try:
        yield temporary
        sync_file(temporary)
        replace_file(temporary, path)
    except MedSegError:
        raise
    except Exception as error:
        explained = _explain_failed_write(error, path)
        if explained is None:
            raise
        raise explained from error
    finally:
        with contextlib.suppress(OSError):  # a failed clean-up must not hide the error above
            temporary.unlink(missing_ok=True)


def refuse_unwritable_folder(folder: Path) -> None:
    """Refuse a folder that nothing can be written to, or that cannot be made; call it before long work, not after.

    A small file is written where the folder is or will be, and removed; the folder is not made.

    Raises
    ------
    MedSegError
        If it is or lies in a file, may not be written to, or its disk is full or read-only.
    """
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder.lstat()  # a name that is too long is no missing one
        place = next((each for each in (folder, *folder.absolute().parents) if os.path.lexists(each)), folder)
        if not place.is_dir():
            raise MedSegError(f"cannot write to {folder}: {place} is a file. Choose a folder, with another name.")
        probe = make_temporary_path(place / "probe")
        try:
            probe.write_bytes(b"1")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = format_os_error(error) if isinstance(error, OSError) else f"{error}. Choose another name."
        raise MedSegError(f"cannot write to {folder}: {reason}") from error


def refuse_unwritable_file(path: Path) -> None:
    """Refuse a file that cannot be written, or replaced if it exists; as `refuse_unwritable_folder`."""
    if os.path.isdir(path):
        raise MedSegError(f"cannot write to {path}: it is a folder. Give the name of a file.")
    refuse_unwritable_folder(path.parent if os.path.lexists(path) else path)


def make_temporary_path(path: Path) -> Path:
    """Return a free name beside `path` for a file that is not complete yet.

    The end of the name stays: libraries choose format and compression by it. The rest would make it too long.
    """
    return path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{path.name[-TEMPORARY_TAIL:]}")


def _explain_failed_write(error: Exception, path: Path) -> MedSegError | None:
    if isinstance(error, OSError):
        return MedSegError(f"cannot write {path}: {format_os_error(error)}")
    explained = explain(error)
    return None if explained is None else MedSegError(f"cannot write {path}: {explained}")


def remove_unfinished_files(folder: Path) -> None:
    """Delete temporary files of `atomic_write` that a killed process left in a folder or one of its direct subfolders.

    Call it only while no other process writes there: under the lock of a project, a run or the registry.
    """
    with contextlib.suppress(OSError):  # a leftover does no harm
        for path in (*folder.glob(f"{TEMPORARY_PREFIX}*"), *folder.glob(f"*/{TEMPORARY_PREFIX}*")):
            path.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; raise `MedSegError` if it cannot be written.

    Bytes of file names that are no text are written as escapes.
    """
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    sync_folder(path.parent)


def read_file(path: Path, max_bytes: int = MAX_READ_BYTES) -> bytes:
    """Return the content of a file of this program.

    Raises
    ------
    OSError
        If it cannot be read, is no file but a pipe or a device, which have no end, or is larger than `max_bytes`.
    """
    with _open_file(path, max_bytes) as file:
        return file.read()


def _open_file(path: Path, max_bytes: int | None) -> BinaryIO:
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 -- the caller closes it
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and (max_bytes is None or status.st_size <= max_bytes):
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path.name} is a pipe or a device, not a file")
    raise OSError(f"{path.name} has {status.st_size:,} bytes; at most {max_bytes:,} are expected")


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe is opened, too, and not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def set_aside(path: Path) -> Path:
    """Rename a damaged file to a free name beside it, such as ``live.json.damaged-1``, and return the new path.

    Raises
    ------
    MedSegError
        If the folder cannot be written to.
    """
    try:
        kept = reserve_damaged_path(path)
        os.replace(path, kept)
    except OSError as error:
        raise MedSegError(f"cannot move the damaged file {path} away: {format_os_error(error)}") from error
    sync_folder(path.parent)
    return kept


def reserve_damaged_path(path: Path) -> Path:
    """Create an empty file for what is set aside of a damaged file; no earlier one is overwritten."""
    for number in itertools.count(1):  # pragma: no branch
        kept = path.with_name(f"{path.name}.damaged-{number}")
        with contextlib.suppress(FileExistsError):
            kept.open("xb").close()
            break
    return kept


def replace_file(source: Path, target: Path) -> None:
    """Rename a file, over `target` if that exists, or a folder; try again for `HELD_S` while another program holds it.

    On Windows a virus scanner, an indexer or OneDrive opens each new file for a moment, and nobody may rename it then.

    Raises
    ------
    OSError
        If it cannot be renamed, or is held for longer.
    """
    _retry_while_held(lambda: os.replace(source, target))


def remove_file(path: Path) -> None:
    """Remove a file if it exists; try again as `replace_file` does, and raise as it does."""
    _retry_while_held(lambda: path.unlink(missing_ok=True))


def _retry_while_held(action: Callable[[], None]) -> None:
    until, wait_s = time.monotonic() + HELD_S, _FIRST_WAIT_S
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno not in _HELD_ERRNOS or time.monotonic() + wait_s > until:
                raise
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk; does nothing on systems that cannot sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def compute_file_sha256(path: Path, max_bytes: int | None = None) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits; raises `OSError` as `read_file`."""
    digest = hashlib.sha256()
    with _open_file(path, max_bytes) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
