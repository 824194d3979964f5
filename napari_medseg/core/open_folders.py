"""Folders that must stay where they are while this process uses them: the open project, the run that it trains.

A folder that is renamed while it is open takes its open files along: the database and the lock. Whatever is written by
name would go to a new folder at the old place. So every write by name asks `ensure_in_place` first.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_medseg.core.errors import MedSegError

_watched: dict[Path, tuple[os.stat_result, str]] = {}


def watch_folder(folder: Path, refusal: str) -> None:
    """Refuse writes into a folder from now on if it is no longer the same folder as now; `refusal` is the text then."""
    _watched[folder] = folder.stat(), refusal


def unwatch_folder(folder: Path) -> None:
    """Forget a folder; does nothing if it is not watched."""
    _watched.pop(folder, None)


@contextmanager
def watched_folder(folder: Path, refusal: str) -> Iterator[None]:
    """Watch a folder inside the context, see `watch_folder`."""
    watch_folder(folder, refusal)
    try:
        yield
    finally:
        unwatch_folder(folder)


def ensure_in_place(path: Path) -> None:
    """Check the watched folders that contain `path`, or are it. Worker threads may call it.

    Raises
    ------
    MedSegError
        If one of them was renamed, moved, deleted, or replaced by another folder.
    """
    for folder, (before, refusal) in list(_watched.items()):
        if path.is_relative_to(folder) and not _is_same(folder, before):
            raise MedSegError(refusal)


def _is_same(folder: Path, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(folder.stat(), before)
    except OSError:
        return False
