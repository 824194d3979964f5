"""Image import: files dropped on the window, and layers added by a reader or a script."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari.layers import Layer
from napari.utils.events import Event
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QDropEvent, QGuiApplication
from qtpy.QtWidgets import QWidget

from napari_medseg.core.containers.image_source import FoundImages, ImageSource
from napari_medseg.core.formats import ReadFailure, ReadNote, ReadProgress, read_found, read_images
from napari_medseg.core.image import Image
from napari_medseg.plugin import layers
from napari_medseg.plugin.drops.searched_drop import (
    Opener,
    OwnFiles,
    SearchedDrop,
    may_hold_images,
    search_drop,
    split_drop,
)
from napari_medseg.plugin.widgets.notifications import show_notice
from napari_medseg.plugin.widgets.worker import Worker, wait_for_window

if TYPE_CHECKING:
    from napari import Viewer
Found = TypeVar("Found")

MAX_NOTES = 5
"""Different remarks that are shown after a drop of many images."""


Ask = Callable[[Sequence[ImageSource], bool, Callable[[Sequence[ImageSource]], None]], None]
"""Gets images, whether to ask which are opened, and what is called with those."""


class ImageImporter(QObject):
    """Accept dropped files and new layers, read them in a thread, and emit the images one by one.

    Notes
    -----
    `began` starts a batch. `image_imported` carries one image and its layer (or `None`), `failed` one error message,
    `progressed` a `ReadProgress`. `finished` ends the batch.
    """

    began = Signal()
    image_imported = Signal(object, object)
    failed = Signal(str)
    progressed = Signal(object)
    finished = Signal()

    def __init__(self, viewer: "Viewer") -> None:
        super().__init__()
        self._viewer = viewer
        self._new_layers: list[Layer] = []
        self._workers: list[Worker] = []
        self._notes: dict[str, int] = {}
        self._split: Callable[[Sequence[Path]], Generator[Any]] | None = None
        self._take_masks: Callable[[Any, Sequence[Path]], list[Path]] = lambda _found, paths: list(paths)
        self._splitter: Worker | None = None
        self._waiting: deque[list[Path]] = deque()
        self._take_image: Callable[[Image], bool] = lambda _image: False
        self._ask: Ask | None = None
        self._end_question: Callable[[], None] = lambda: None
        self.openers: list[Opener] = []
        viewer.layers.events.inserted.connect(self._on_inserted)

    def set_mask_finder(
        self,
        split: Callable[[Sequence[Path]], Generator[Found | ReadProgress]],
        take_masks: Callable[[Found, Sequence[Path]], list[Path]],
        take_image: Callable[[Image], bool],
    ) -> None:
        """Let masks be taken out of what is dropped.

        `split` runs in a thread: it yields how far it is, and last what it found among the paths of a drop.
        `take_masks` gets that and the paths, and returns those that are to be opened as images. `take_image` gets the
        image of a file that was dropped alone, and returns whether it is taken as a mask.
        """
        self._split, self._take_masks, self._take_image = split, take_masks, take_image

    def add_notes(self, notes: Sequence[str]) -> None:
        """Keep remarks about an image of the batch; each is shown once when the batch ends."""
        for note in notes:
            self._notes[note] = self._notes.get(note, 0) + 1

    def close(self) -> None:
        """Disconnect from the viewer and stop reading."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._end_question()
        self._waiting.clear()
        while self._workers:  # one that ends now starts and reports nothing
            self._workers.pop().stop()

    @property
    def is_reading(self) -> bool:
        """Whether files are being read."""
        return bool(self._workers)

    def cancel(self) -> None:
        """Stop reading at once; images that were read stay. The thread ends after its file."""
        self._end_question()
        self._waiting.clear()
        for worker in list(self._workers):
            worker.stop()
            self._on_ended(worker)

    def watch_drops(self, widgets: Sequence[QWidget]) -> None:
        """Handle drops of image files on these widgets before napari asks which reader to use."""
        for widget in widgets:
            widget.installEventFilter(self)

    def read(self, paths: Sequence[Path]) -> None:
        """Read files and folders in threads; slides, videos and masks are taken out before. Drops keep their order."""
        self._waiting.append(list(paths))
        self._split_next()

    def read_as_images(self, paths: Sequence[Path]) -> None:
        """Read files and folders in a thread, whatever they look like."""
        self.began.emit()
        self._search(paths, None)

    def set_questions(self, ask: Ask, end: Callable[[], None]) -> None:
        """Let a person be asked which of several images are opened, and what the axes of arrays are.

        `end` closes a question that is open: it goes with its project, and with a cancelled drop.
        """
        self._ask, self._end_question = ask, end

    def import_existing_layers(self) -> None:
        """Import layers that our reader added to the viewer before the dock was opened."""
        self._new_layers += [layer for layer in self._viewer.layers if layers.is_unattached_image(layer)]
        self._import_new_layers()

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Handle a drop of files that we can read. If Alt is held, napari handles the drop instead."""
        if not isinstance(event, QDropEvent) or event.type() != QEvent.Type.Drop:
            return False
        return self.accept_drop(event)

    def accept_drop(self, event: QDropEvent) -> bool:
        """Read the dropped files; return whether at least one of them can be read."""
        chooses = QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if chooses or not may_hold_images(paths):
            return False
        event.acceptProposedAction()
        QTimer.singleShot(0, lambda: self.read(paths))
        return True

    def _on_inserted(self, event: Event) -> None:
        if not layers.is_unattached_image(event.value):
            return
        if not self._new_layers:
            QTimer.singleShot(0, self._import_new_layers)
        self._new_layers.append(event.value)

    def _import_new_layers(self) -> None:
        new = [layer for layer in self._new_layers if layer in self._viewer.layers]
        self._new_layers = []
        if not new:
            return
        single = [layer for layer in new if not _is_slice_of_several(layer, new)]
        slices = [path for layer in new if layer not in single for path in layers.get_reader_image(layer).sources]
        layers.remove(self._viewer, *(layer for layer in new if layer not in single))
        self.began.emit()
        for layer in single:
            self.image_imported.emit(layers.get_reader_image(layer), layer)
        if slices:
            self._run(read_images(slices))
        else:
            self._finish()

    def _split_next(self) -> None:
        """Find slides, videos and masks in the next drop, in a thread: it opens every file."""
        if self._splitter is not None or not self._waiting:
            return
        paths = self._waiting.popleft()
        worker = self._splitter = Worker(split_drop(paths, self.openers, self._split), self)
        images: list[Path] = []

        def deliver(item: object) -> None:
            if isinstance(item, OwnFiles):
                for open_files, files in item.own:
                    open_files(files)
                paths[:] = item.others
                images.extend(paths if self._split is None else [])
            elif isinstance(item, ReadFailure | ReadProgress):
                self._on_item(item)
            else:
                images.extend(self._take_masks(item, paths))

        def ended() -> None:
            self._splitter = None
            if worker in self._workers and images:  # not if it was cancelled
                self._search(images, self._take_image if len(paths) == 1 else None)
                self._workers.remove(worker)
            else:
                self._on_ended(worker)
            self._split_next()

        self.began.emit()
        self._start(worker, deliver, ended)

    def _search(self, paths: Sequence[Path], take_image: Callable[[Image], bool] | None) -> None:
        """Find the images in a thread; read them, or ask first what they do not say."""
        results: list[Any] = []

        def ended() -> None:
            if worker not in self._workers or not results:  # cancelled, or refused as a whole
                self._on_ended(worker)
                return
            drop: SearchedDrop = results[0]
            found, sources = drop.found, drop.found.sources
            asks_which = found.asks_which and (drop.is_searched or any(source.whole for source in sources))
            if self._ask is None or not (asks_which or any(source.asks_axes for source in sources)):
                self._run(read_found(found, paths, sources), take_image if drop.is_alone else None)
                self._workers.remove(worker)
                return
            self._on_ended(worker)
            self._ask(sources, asks_which, lambda chosen: self._read_chosen(found, paths, chosen))

        worker = Worker(search_drop(paths), self)
        self._start(worker, results.append, ended)

    def _read_chosen(self, found: FoundImages, paths: Sequence[Path], chosen: Sequence[ImageSource]) -> None:
        self.began.emit()
        self._run(read_found(found, paths, chosen))

    def _run(
        self,
        work: Generator[Image | ReadFailure | ReadNote | ReadProgress],
        take_image: Callable[[Image], bool] | None = None,
    ) -> None:
        def deliver(item: object) -> None:
            if take_image is None or not isinstance(item, Image) or not take_image(item):
                self._on_item(item)

        worker = Worker(wait_for_window(work, lambda: worker), self)
        self._start(worker, deliver, lambda: self._on_ended(worker))

    def _start(self, worker: Worker, deliver: Callable[[object], None], ended: Callable[[], None]) -> None:
        worker.yielded.connect(deliver)
        worker.failed.connect(lambda error: self.failed.emit(str(error)))
        worker.ended.connect(ended)
        self._workers.append(worker)
        worker.start()

    def _on_item(self, item: object) -> None:
        match item:
            case Image():
                self.image_imported.emit(item, None)
            case ReadFailure(text=text):
                self.failed.emit(text)
            case ReadNote(text=text):
                self.add_notes([text])
            case ReadProgress():
                self.progressed.emit(item)

    def _on_ended(self, worker: Worker) -> None:
        if worker in self._workers:  # not if it was cancelled
            self._workers.remove(worker)
            self._finish()

    def _finish(self) -> None:
        if self._notes:
            several = [f"{note} ({count} images)" if count > 1 else note for note, count in self._notes.items()]
            show_notice("\n".join(several[:MAX_NOTES]))
            self._notes = {}
        self.finished.emit()


def _is_slice_of_several(layer: Layer, others: Sequence[Layer]) -> bool:
    image = layers.get_reader_image(layer)
    same = [other for other in others if layers.get_reader_image(other).series == image.series]
    return bool(image.series) and len(image.spatial_axes) < len("ZYX") and len(same) > 1
