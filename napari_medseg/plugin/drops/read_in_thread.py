"""What the threads of a drop do: find images, and read them no faster than the window adds them."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from napari_medseg.core.containers.image_source import FoundImages
from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.dicom.bare_files import is_directory_file
from napari_medseg.core.formats import search_images
from napari_medseg.plugin.widgets.worker import Worker

Item = TypeVar("Item")

MAX_WAITING = 8
"""Items that are read before the window has added those before."""
WAIT_S = 0.01


def wait_for_window(work: Generator[Item], get_worker: Callable[[], Worker]) -> Generator[Item]:
    """Read no further while the window has images to add: hundreds of them may not fit into memory."""
    with closing(work):
        for item in work:
            while get_worker().n_waiting >= MAX_WAITING and not get_worker().is_stopped:
                time.sleep(WAIT_S)
            yield item


def find_in_thread(paths: Sequence[Path]) -> Generator[FoundImages]:
    """Yield the images of files and folders."""
    yield search_images(paths)


def is_searched(paths: Sequence[Path]) -> bool:
    """Whether images are found that nobody named: in a folder, an archive or a DICOM directory."""
    return any(path.is_dir() or is_zip(path) or is_directory_file(path) for path in paths)
