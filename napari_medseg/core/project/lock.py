"""Only one process may open a project: a file lock that the operating system releases when the process ends."""

import contextlib
import errno
import getpass
import logging
import os
import platform
from pathlib import Path

from filelock import FileLock, Timeout

from napari_medseg.core.errors import MedSegError, get_reason

logger = logging.getLogger(__name__)

LOCK_FILE = "lock"
HOLDER_FILE = "lock-holder.txt"
"""Names the process that holds the lock. A separate file, because Windows does not allow to read a locked file."""

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
