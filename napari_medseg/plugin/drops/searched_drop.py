"""What a thread finds out about dropped paths: a share of the network may answer late, and the window does not wait."""

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import FoundImages
from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.dicom.bare_files import is_directory_file
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.formats import ReadFailure, search_images
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.find_reader import READERS
from napari_medseg.core.video.found_videos import holds_video

Opener = tuple[Callable[[Sequence[Path]], tuple[list[Path], list[Path]]], Callable[[list[Path]], None]]
"""Finds in a thread the files that are shown piece by piece, as slides and videos, and the others; opens the first."""
FOLDER_SUFFIXES = frozenset((".zarr",))
"""A folder of this name may be another plugin's."""
ANSWER_WITHIN_S = 0.3
"""How long the window waits for what a dropped file is; a file that says it later is ours, and read in a thread."""


@dataclass(frozen=True)
class SearchedDrop:
    """The images of a drop.

    `is_searched`: they were found, nobody named them: in a folder, an archive or a DICOM directory. `is_alone`: one
    file was dropped.
    """

    found: FoundImages
    is_searched: bool
    is_alone: bool


def search_drop(paths: Sequence[Path]) -> Generator[SearchedDrop]:
    """Yield the images of dropped paths; call it in a thread. Errors are those of `search_images`."""
    is_searched = any(path.is_dir() or is_zip(path) or is_directory_file(path) for path in paths)
    yield SearchedDrop(search_images(paths), is_searched, len(paths) == 1 and paths[0].is_file())


@dataclass(frozen=True)
class OwnFiles:
    """The files of a drop that are shown piece by piece, with what opens them, and the other paths."""

    own: tuple[tuple[Callable[[list[Path]], None], list[Path]], ...]
    others: list[Path]


def split_drop(
    paths: Sequence[Path], openers: Sequence[Opener], split: Callable[[Sequence[Path]], Generator[Any]] | None
) -> Generator[Any]:
    """Yield `OwnFiles`, then what `split` finds in the others; call it in a thread.

    An opener that fails is told by a `ReadFailure`, and the paths go to the next one.
    """
    others, own = list(paths), []
    for find, open_files in openers:
        try:
            with translate_errors():
                found, others = find(others)
        except MedSegError as error:
            yield ReadFailure(str(error))
            continue
        if found:
            own.append((open_files, found))
    yield OwnFiles(tuple(own), others)
    if others and split is not None:
        yield from split(others)


def may_hold_images(paths: Sequence[Path]) -> bool:
    """Whether one of these paths can be read as an image, a slide or a video, as far as that is known soon."""
    if any(get_suffix(path) in READERS.keys() - FOLDER_SUFFIXES for path in paths):
        return True  # no file is opened
    answers: list[bool] = []

    def ask() -> None:
        answers.append(any(formats.can_read(path) or holds_video(path) for path in paths))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_WITHIN_S)
    return answers[0] if answers else bool(paths)
