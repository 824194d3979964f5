"""Whether a file is still as it was when it was read, so that it need not be read again."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

Content = TypeVar("Content")

SETTLING_NS = 2_000_000_000
"""A file that changed less long ago may change again without another time stamp: FAT counts in steps of 2 s."""


class FileState(NamedTuple):
    """What differs between two contents of a file: times in ns, size in bytes, and the number of the file on its disk.

    The number differs after another file took the place, and `changed_ns` after the times were set by hand.
    """

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


def read_file_state(path: Path | str) -> FileState | None:
    """Return the state of a file; `None` if there is none that can be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileState(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def is_settled(state: FileState | None) -> bool:
    """Whether each later change of the file gives it another state.

    It is asked before the file is read. What was read may be kept only if it is true. Without a file, it is true.
    """
    return state is None or time.time_ns() - max(state.modified_ns, state.changed_ns) > SETTLING_NS


class KeptContent(Generic[Content]):
    """Keeps what was made of some files until one of them changes, also by another process."""

    def __init__(self) -> None:
        self._kept: tuple[dict[Path | str, FileState | None], Content] | None = None

    def read(self, files: Iterable[Path | str], read: Callable[[], Content]) -> Content:
        """Return what `read` made of these files; it is called again after any of them changed, came or went."""
        states, kept = {path: read_file_state(path) for path in files}, self._kept
        if kept is not None and kept[0] == states:
            return kept[1]
        is_lasting = all(map(is_settled, states.values()))  # asked before: what changes meanwhile is read next time
        content = read()
        self._kept = (states, content) if is_lasting else None
        return content
