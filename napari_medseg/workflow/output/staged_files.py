"""The files of one exported case appear together or not at all, also if the export is cancelled."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from napari_medseg.core.atomic_io import make_temporary_path, replace_file, sync_folder
from napari_medseg.core.errors import MedSegError, format_os_error

MAX_NAMES_LISTED = 5


class ExportCancelled(MedSegError):
    """The export was cancelled by the user; the text says what is complete."""


def is_never_cancelled() -> bool:
    """Whether an export that nobody can cancel was cancelled."""
    return False


def raise_if_cancelled(is_cancelled: Callable[[], bool]) -> None:
    """Raise `ExportCancelled` if the export was cancelled, before its first file was written."""
    if is_cancelled():
        raise ExportCancelled("The export was cancelled before anything was written.")


def describe_cancelled(stems: list[str], n_cases: int, folder: Path) -> str:
    """Return what a cancelled export of `n_cases` cases left: `stems` are the names of the complete ones."""
    if not stems:
        return f"The export was cancelled. No case was written to {folder}; files of earlier exports are unchanged."
    names = ", ".join(stems[:MAX_NAMES_LISTED])
    more = f" and {len(stems) - MAX_NAMES_LISTED} more" if len(stems) > MAX_NAMES_LISTED else ""
    return f"The export was cancelled. Complete in {folder}: {len(stems)} of {n_cases} cases ({names}{more})."


@contextlib.contextmanager
def stage_files(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield a temporary path for each file, under the same key; write all of them.

    At the end of the block they get their names, one right after the other. After an error or a cancellation they are
    removed, and files of the same names stay as they were.

    Raises
    ------
    MedSegError
        If a file cannot be renamed. The text of an error from the block names the file, not the temporary one.
    """
    staged = {kind: make_temporary_path(path) for kind, path in files.items()}
    try:
        yield staged
        for kind, path in files.items():
            try:
                replace_file(staged[kind], path)
            except OSError as error:
                raise MedSegError(f"cannot write {path}: {format_os_error(error)}") from error
        for folder in {path.parent for path in files.values()}:
            sync_folder(folder)
    except MedSegError as error:
        text = str(error)
        for kind, path in files.items():
            text = text.replace(staged[kind].name, path.name)
        if text == str(error):
            raise
        raise MedSegError(text) from error
    finally:
        for path in staged.values():
            with contextlib.suppress(OSError):  # a failed clean-up must not hide the error above
                path.unlink(missing_ok=True)
