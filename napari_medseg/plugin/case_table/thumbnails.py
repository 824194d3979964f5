"""Thumbnails of cases: made in a thread, kept in memory and in the cache of the project."""

import logging
from collections import OrderedDict
from collections.abc import Generator, Iterable
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QPointF, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.array_archive import read_array
from napari_medseg.core.records import Case
from napari_medseg.plugin.layers import compute_contrast_limits
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_images.middle_plane import read_middle_plane
from napari_medseg.workflow.guidance.probability_cache import CACHE_FOLDER
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)

SHOWN_PX = 28
MAX_THUMBNAIL_PX = 56
MAX_KEPT = 3000
MAX_WAITING = 40
"""Rows that were scrolled past long ago are not read."""
MAX_READ_VOXELS = 30_000_000
"""Larger images are not read for their thumbnail alone: it is made when they are predicted or opened."""
MAX_FILE_BYTES = 100_000


class Thumbnails(QObject):
    """Pictures of cases; `made` is emitted when there are new ones.

    A case is read only when its row is visible, the one that was asked for last first.
    """

    made = Signal()

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._pictures: OrderedDict[int, QPixmap] = OrderedDict()
        self._waiting: OrderedDict[int, tuple[Case, Image | None]] = OrderedDict()
        self._failed: set[int] = set()
        self._compared: set[int] = set()
        self._worker: Worker | None = None
        self._empty, self._broken = _make_grey_square(), _make_broken_picture()

    def get(self, case: Case) -> QPixmap:
        """Return the picture of a case; an empty one if it is not made yet, which is then done; crossed out without."""
        if (known := self._pictures.get(case.id)) is not None:
            return known
        if case.id not in self._failed and case.id not in self._waiting:
            self._ask(case, None)
        return self._empty if self._workspace.image_problems.get(case) is None else self._broken

    def retry(self, case_ids: Iterable[int]) -> None:
        """Make the pictures of cases whose image failed, but may be there now."""
        self._failed.difference_update(case_ids)

    def add_image(self, case: Case, image: Image) -> None:
        """Make the picture of a case whose image is in memory; it replaces one that was not compared with the case."""
        if case.id not in self._compared:
            self._ask(case, image)

    def close(self) -> None:
        """Make no more pictures."""
        self._waiting.clear()
        if self._worker is not None:
            self._worker.stop()

    def _ask(self, case: Case, image: Image | None) -> None:
        self._waiting.pop(case.id, None)
        self._waiting[case.id] = case, image  # as the last; `move_to_end` fails if the thread has just taken it
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        if self._worker is None:
            self._worker = Worker(self._make_waiting(), self)
            self._worker.yielded.connect(self._on_made)
            self._worker.ended.connect(self._on_ended)
            self._worker.start()

    def _make_waiting(self) -> Generator[tuple[int, NDArray[np.uint8] | None, bool]]:
        """Make one picture after the other, in the thread; what is asked for meanwhile comes first."""
        while self._waiting:
            try:
                case_id, (case, image) = self._waiting.popitem(last=True)
            except KeyError:  # the last one was dropped by the main thread
                return
            yield case_id, load_thumbnail(self._workspace, case, image), image is not None

    def _on_made(self, item: tuple[int, NDArray[np.uint8] | None, bool]) -> None:
        case_id, grey, is_compared = item
        if grey is None:
            self._failed.add(case_id)
            self.made.emit()  # it may be crossed out now
            return
        self._failed.discard(case_id)
        self._pictures[case_id] = _make_picture(grey)
        (self._compared.add if is_compared else self._compared.discard)(case_id)
        while len(self._pictures) > MAX_KEPT:
            self._pictures.popitem(last=False)
        self.made.emit()

    def _on_ended(self) -> None:
        self._worker = None
        if self._waiting:
            _, (case, image) = self._waiting.popitem(last=True)
            self._ask(case, image)


def load_thumbnail(workspace: Workspace, case: Case, image: Image | None) -> NDArray[np.uint8] | None:
    """Return the thumbnail of a case, from the cache or from its image; `None` if it cannot be read. In a thread.

    Only the picture of an image that was compared with the case is written: another file may lie at its place now.
    """
    path = get_thumbnail_path(workspace.project.folder, case)
    if (known := _read_thumbnail(path)) is not None:
        return known
    try:
        if image is None and (plane := read_middle_plane(workspace.project.folder, case)) is not None:
            return make_thumbnail(plane)
        if image is None and prod(case.shape) > MAX_READ_VOXELS:
            return None
        made = make_thumbnail(image or cases.load_image(workspace, case))
    except (MedSegError, OSError, ValueError, MemoryError) as error:
        logger.info("no thumbnail of case %d: %s", case.id, type(error).__name__)  # not the error, which names the file
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.save(file, made, allow_pickle=False)
    except OSError as error:  # such as a full disk: it is made again next time
        logger.info("%s is not written: %s", path.name, type(error).__name__)
    return made


def get_thumbnail_path(folder: Path, case: Case) -> Path:
    """Return the file of a thumbnail in the cache of a project, which may be deleted at any time."""
    return folder / CACHE_FOLDER / "thumbnails" / f"{case.content_hash[:32]}.npy"


def make_thumbnail(image: Image) -> NDArray[np.uint8]:
    """Return the middle plane at display contrast: uint8, shape (height, width), at most 56 px per side."""
    plane = image.pixels[image.pixels.shape[0] // 2] if image.axes.startswith("Z") else image.pixels
    step = max(1, -(-max(plane.shape[:2]) // MAX_THUMBNAIL_PX))
    small = plane[::step, ::step].astype(np.float32)
    if image.axes.endswith("C"):
        small = small.mean(axis=-1)
    low, high = compute_contrast_limits(image)
    return (np.clip((small - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)


def _read_thumbnail(path: Path) -> NDArray[np.uint8] | None:
    try:
        found = read_array(path, MAX_FILE_BYTES)
    except (OSError, ValueError, MedSegError):  # there is none, or it is damaged
        return None
    is_sound = found.dtype == np.uint8 and found.ndim == 2 and 0 < max(found.shape) <= MAX_THUMBNAIL_PX
    return found if is_sound else None


def _make_picture(grey: NDArray[np.uint8]) -> QPixmap:
    """Return a square picture with the thumbnail in its middle, so that all rows look alike."""
    side = MAX_THUMBNAIL_PX
    square = np.zeros((side, side), np.uint8)
    top, left = ((side - size) // 2 for size in grey.shape)
    square[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    picture = QPixmap.fromImage(QImage(square.data, side, side, side, QImage.Format.Format_Grayscale8).copy())
    picture.setDevicePixelRatio(side / SHOWN_PX)
    return picture


def _make_grey_square() -> QPixmap:
    picture = QPixmap(MAX_THUMBNAIL_PX, MAX_THUMBNAIL_PX)
    picture.fill(QColor(128, 128, 128, 60))
    picture.setDevicePixelRatio(MAX_THUMBNAIL_PX / SHOWN_PX)
    return picture


def _make_broken_picture() -> QPixmap:
    """Return the picture of a case whose image is missing or damaged: a cross."""
    picture = _make_grey_square()
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(200, 90, 80), 2))
    near, far = SHOWN_PX * 0.3, SHOWN_PX * 0.7
    painter.drawLine(QPointF(near, near), QPointF(far, far))
    painter.drawLine(QPointF(near, far), QPointF(far, near))
    painter.end()
    return picture
