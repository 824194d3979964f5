"""Locks between processes, which the operating system releases when their process ends, also after `kill -9`.

Only one process may open a project, train in a run folder, or change the registry at a time.
"""

import contextlib
import errno
import getpass
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from napari_medseg.core.atomic_io import remove_unfinished_files
from napari_medseg.core.errors import MedSegError, format_os_error, get_reason

logger = logging.getLogger(__name__)

LOCK_FILE = "lock"
HOLDER_FILE = "lock-holder.txt"
"""Names the process that holds the lock. A separate file, because Windows does not allow to read a locked file."""

SHARED_LOCK_FILE = ".lock"
SHARED_LOCK_WAIT_S = 60.0

PROBE_S = 0.03
POLL_S = 0.01
"""`is_lock_held` asks for the lock several times, because another process may ask at the same moment."""

NO_LOCKS_ERRNOS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})


class FolderLock:
    """Lock a folder for this process until `release` or the end of the process.

    Parameters
    ----------
    folder
        Folder for the file ``lock``, which may remain, and for a text file that names the holder of the lock.

    Raises
    ------
    MedSegError
        If another process or window holds the lock, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._holder_path = folder / HOLDER_FILE
        # No soft lock if the file system has no locks: it would remain after a crash of another machine.
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            self._lock.acquire()
            self._holder_path.write_text(_describe_process(), encoding="utf-8")
        except Timeout as error:
            raise MedSegError(
                f"the project {folder} is open in another window or command ({_read_holder(self._holder_path)}). "
                "Close it there, or open another project."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS_ERRNOS:
                self._lock.release()
                raise MedSegError(
                    f"cannot write in the project folder {folder}: {get_reason(error)}. "
                    "Choose a folder with write permission."
                ) from error
            logger.warning("this file system has no locks (%s): do not open the project twice", error)

    def release(self) -> None:
        """Release the lock; calling it twice is allowed."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # a remaining holder file locks nothing
                self._holder_path.unlink()
            self._lock.release()


@contextlib.contextmanager
def hold_lock(path: Path, wait_s: float, refusal: str) -> Iterator[None]:
    """Hold a lock file inside the context; the file remains, which means nothing.

    Parameters
    ----------
    path
        The lock file; its folder exists. On a file system without locks there is a warning, and nothing is locked.
    wait_s
        Seconds to wait for another holder.
    refusal
        Text of the error if another process or thread still holds it then.

    Raises
    ------
    MedSegError
        If the lock is held elsewhere, or the file cannot be written.
    """
    lock = FileLock(path, timeout=wait_s, poll_interval=POLL_S, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise MedSegError(refusal) from error
    except OSError as error:
        if error.errno not in NO_LOCKS_ERRNOS:
            raise MedSegError(f"cannot write {path}: {format_os_error(error)}") from error
        logger.warning("this file system has no locks (%s): do not use %s in two programs", error, path.parent)
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()


@contextlib.contextmanager
def lock_shared_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that several processes change, such as the registry; make the folder if needed.

    Read what is to be changed inside the context. Others wait. A thread that holds the lock must not ask for it again.

    Raises
    ------
    MedSegError
        If another process holds the lock for a minute, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedSegError(f"cannot make the folder {folder}: {format_os_error(error)}") from error
    refusal = f"another program has been changing {folder} for a minute. Close it, then try again."
    with hold_lock(folder / SHARED_LOCK_FILE, SHARED_LOCK_WAIT_S, refusal):
        remove_unfinished_files(folder)
        yield


def is_lock_held(path: Path) -> bool:
    """Whether a process holds a lock file. False if the file is missing, or the file system has no locks."""
    if not path.exists():
        return False
    lock = FileLock(path, timeout=PROBE_S, poll_interval=POLL_S, thread_local=False, fallback_to_soft=False)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _describe_process() -> str:
    """Return user, machine and process id for the message to other users."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user name, as in some containers
        user = "unknown user"
    return f"{user} on {platform.node() or 'unknown machine'}, process {os.getpid()}"


def _read_holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown process"
    except (OSError, UnicodeDecodeError):
        return "unknown process"
