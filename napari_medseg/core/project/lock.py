"""One window per project: a lock that the operating system lets go of when its process ends, however it ends."""

import logging
import os
import sys
from pathlib import Path
from typing import IO

from napari_medseg.core.errors import MedSegError

logger = logging.getLogger(__name__)

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes against reading too, so the locked byte lies behind the text that names the holder.
    LOCKED_BYTE = 1 << 20

    def _try_lock(file: IO[str]) -> bool:
        os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            logger.warning("this file system has no locks (%s): do not open the project twice", error)
        return True


class FolderLock:
    """Hold a folder for this process until `release` or the end of the process.

    Parameters
    ----------
    folder
        Gets a file ``lock`` that names the holder; the file stays, the lock does not.

    Raises
    ------
    MedSegError
        If another process (or another window of this one) holds it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise MedSegError(
                f"cannot write in the project folder {folder}: {error.strerror}. Choose a folder that you may write in."
            ) from error
        if not _try_lock(self._file):
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise MedSegError(
                f"the project {folder} is open in another window or command ({holder or 'unknown process'}). "
                "Close it there, or open another project."
            )
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        """Let go of the folder."""
        self._file.close()
