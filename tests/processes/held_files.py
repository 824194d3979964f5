"""A pytest plugin: this process may not replace, rename or delete a file that it has open or mapped, as on Windows.

Tests marked ``refuse_held_files`` refuse this on Linux, which allows it: they show what fails on Windows. The mark is
on the folders and files that `tests/conftest.py` lists, and with ``pytest --refuse-held-files`` on all tests. The open
files are those of ``/proc/self/fd``, the mapped ones those of ``/proc/self/maps``.
"""

import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from unittest import mock

import pytest

OPEN_FILES, MAPPED_FILES = Path("/proc/self/fd"), Path("/proc/self/maps")
REFUSED = "The process cannot access the file because this process has it open or mapped"

FOLDERS_OF = {
    "replace": ("src_dir_fd", "dst_dir_fd"),
    "rename": ("src_dir_fd", "dst_dir_fd"),
    "unlink": ("dir_fd",),
    "remove": ("dir_fd",),
}
"""The functions of `os` that refuse, and their arguments for the folders of their paths."""
_refusing: list[bool] = []
"""Not empty while held files are refused."""

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def find_holder(paths: Sequence[PathLike], folders: Sequence[int | None] = ()) -> str:
    """Say how this process holds one of some files, or a file in a folder of such a name; empty if it does not.

    Parameters
    ----------
    paths
        Files or folders; a link is not followed, because it can be replaced.
    folders
        Descriptors of the folders that the paths are relative to, as in `os.unlink`; `None` for this process's own.
    """
    wanted = [place for path, folder in zip_longest(paths, folders) if (place := _find_place(path, folder))]
    if not wanted:
        return ""
    for kind, names in (("open", _list_open_files()), ("mapped", _list_mapped_files(wanted))):
        for name in names:
            if any(name == place or name.startswith(place + os.sep) for place in wanted) and not os.path.isdir(name):
                return f"{name} is {kind}"
    return ""


def _find_place(path: PathLike, folder: int | None) -> str:
    """Return where a file or folder lies, as the system names it; empty if it is a link or is missing."""
    start = Path.cwd() if folder is None else Path(os.readlink(OPEN_FILES / str(folder)))
    place = start / os.fsdecode(path)
    whole = str(Path(os.path.realpath(place.parent)) / place.name)
    return "" if os.path.islink(whole) or not os.path.exists(whole) else whole


def pytest_configure(config: pytest.Config) -> None:
    """Put our functions into `os` for the whole session; they refuse only inside of `refuse_held_files`.

    A patch for one test would stay if the test patched the same function: its patch is taken back after ours.
    """
    patches = ExitStack()
    for name, folders in FOLDERS_OF.items():
        patches.enter_context(mock.patch.object(os, name, _refuse(getattr(os, name), folders)))
    config.add_cleanup(patches.close)


@contextmanager
def refuse_held_files() -> Iterator[None]:
    """Refuse to replace, rename and delete what this process holds, until the end of the block."""
    _refusing.append(True)
    try:
        yield
    finally:
        _refusing.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse during a marked test; not while fixtures and pytest itself clean up."""
    if item.get_closest_marker("refuse_held_files") is None or not OPEN_FILES.is_dir():
        return (yield)
    with refuse_held_files():
        return (yield)


def _refuse(action: Callable[..., None], folders: tuple[str, ...]) -> Callable[..., None]:
    """Return `os.replace` or another of its kind, which first looks whether one of its files is held."""

    def call(*paths: PathLike, **options: int | None) -> None:
        given = [options.get(folder) for folder in folders[: len(paths)]]
        if _refusing and (holder := find_holder(paths, given)):
            raise PermissionError(errno.EACCES, f"{REFUSED}: {holder}", os.fsdecode(paths[0]))
        action(*paths, **options)

    return call


def _list_open_files() -> Iterator[str]:
    for descriptor in os.listdir(OPEN_FILES):
        try:
            yield os.readlink(OPEN_FILES / descriptor)
        except OSError:  # the descriptor of this very listing is gone
            continue


def _list_mapped_files(wanted: Sequence[str]) -> Iterator[str]:
    """List the files among the thousands of mappings, unless none of the places is named there at all."""
    mappings = MAPPED_FILES.read_bytes()
    if any(os.fsencode(place) in mappings for place in wanted):
        for line in os.fsdecode(mappings).split("\n"):
            if "/" in line:
                yield line[line.index("/") :]
