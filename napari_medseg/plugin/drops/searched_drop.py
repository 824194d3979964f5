"""What a thread finds out about dropped paths: a share of the network may answer late, and the window does not wait."""

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import FoundImages
from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.dicom.bare_files import is_directory_file
from napari_medseg.core.formats import search_images
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.find_reader import READERS
from napari_medseg.core.video.video_files import is_video

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


def may_hold_images(paths: Sequence[Path]) -> bool:
    """Whether one of these paths can be read as an image, a slide or a video, as far as that is known soon."""
    if any(get_suffix(path) in READERS or is_video(path) for path in paths):
        return True  # no file is opened
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(any(map(formats.can_read, paths))), daemon=True)
    asking.start()
    asking.join(ANSWER_WITHIN_S)
    return answers[0] if answers else bool(paths)
