"""The layers of an open video: its picture at a time and the labels that are predicted for it."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.label_colours import get_opacity, make_colormap
from napari_medseg.plugin.video.frame_loader import FrameLoader, LoadedFrame
from napari_medseg.plugin.video.lazy_frames import SEEN, LazyFrames

if TYPE_CHECKING:
    from napari import Viewer

VIDEO_KEY = "video"


class ShownVideo(QObject):
    """Shows one frame of a video at a time; the window never waits for the decoder.

    Parameters
    ----------
    viewer, loader
        Viewer, and what decodes; closed with this object.
    name
        Of the layer.
    task
        Gives the colours of the labels.

    Notes
    -----
    `shown` carries the number of a frame whose picture is seen now, `near` that of a key frame that is seen meanwhile,
    and `failed` why one cannot be shown.
    """

    shown = Signal(int)
    near = Signal(int)
    failed = Signal(str)

    def __init__(self, viewer: "Viewer", loader: FrameLoader, name: str, task: Task, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.loader = loader
        self._name = name
        self._task = task
        self._layers: tuple[ImageLayer, Labels] | None = None
        shape = loader.reader.shape
        self._picture: NDArray[np.uint8] = np.zeros(shape[1:], np.uint8)
        self._no_labels: NDArray[Any] = np.zeros(shape[1:3], np.uint8)
        self._labels = self._no_labels
        self._has_labels = False
        self._loaded = self._seen = self._slider = -1
        self._wanted, self._plays = 0, False
        loader.loaded.connect(self._on_loaded)
        loader.failed.connect(self._on_failed)

    @property
    def is_visible(self) -> bool:
        """Whether its layers are in the viewer."""
        return self._layers is not None and self._layers[0] in self._viewer.layers

    @property
    def wanted(self) -> int:
        """The frame that is seen, or will be when it is decoded."""
        return self._wanted

    @property
    def is_waiting(self) -> bool:
        """Whether the wanted frame is not decoded yet."""
        return self._loaded != self._wanted

    def show(self, number: int, *, plays: bool = False) -> None:
        """Show a frame; its picture appears when it is decoded. See `FrameLoader.request`."""
        self._wanted, self._loaded, self._plays = number, -1, plays
        if not self.is_visible:
            self._add_layers()
        self.loader.request(number, plays=plays)

    @property
    def plays(self) -> bool:
        """Whether the wanted frame is one of a video that plays: the next one brings its own labels."""
        return self._plays

    def settle(self) -> None:
        """Move napari's slider to the frame that is seen: it stands still while the video plays."""
        self._plays = False
        if self.is_visible and self._seen >= 0:
            self._move_slider(self._seen)

    def reload(self) -> None:
        """Read the labels of the frame again."""
        if self.is_visible:
            self.loader.request(self._wanted)

    def show_labels(self, *, shown: bool) -> None:
        """Show the layer of labels only if there are some: it costs as much time as the picture."""
        self._has_labels = shown
        if self._layers is not None:
            self._layers[1].visible = shown

    def set_task(self, task: Task) -> None:
        """Use the colours of another task."""
        self._task = task
        if self._layers is not None:
            self._layers[1].colormap = make_colormap(task)

    def hide(self) -> None:
        """Remove the layers: a case is shown instead."""
        shown, self._layers = self._layers, None
        if shown is not None:
            layers.remove(self._viewer, *reversed(shown))

    def close(self) -> None:
        """Remove the layers and close the video."""
        self.hide()
        self.loader.close()
        self.deleteLater()

    def _add_layers(self) -> None:
        shape = self.loader.reader.shape
        marks: dict[str, Any] = {"metadata": {layers.METADATA_KEY: {VIDEO_KEY: True}}, "axis_labels": ("t", "y", "x")}
        pictures = LazyFrames(shape, np.dtype(np.uint8), self._get_picture)
        labels = LazyFrames(shape[:3], self._labels.dtype, self._get_labels)
        image = self._viewer.add_image(pictures, rgb=True, multiscale=False, name=self._name, **marks)
        over = self._viewer.add_labels(
            labels, name=f"{self._name}: labels", opacity=get_opacity(self._task, 0), multiscale=False, **marks
        )
        over.colormap = make_colormap(self._task)
        over.editable = False
        over.visible = self._has_labels
        self._layers = image, over
        self._viewer.layers.selection.active = image
        self._move_slider(self._wanted)
        self._viewer.reset_view()

    def _get_picture(self, number: int) -> NDArray[np.uint8]:
        """Return the picture that is decoded last; another one is asked for, if napari's own slider wants it."""
        if number not in (SEEN, self._wanted, self._seen, self._slider) and self.is_visible:
            self._wanted = number
            self.loader.request(number)
        return self._picture

    def _get_labels(self, _number: int) -> NDArray[Any]:
        return self._labels

    def _on_loaded(self, frame: LoadedFrame) -> None:
        if not self.is_visible or frame.wanted != self._wanted:
            return
        self._picture, self._loaded, self._seen = frame.picture, frame.number, frame.wanted
        self._labels = self._no_labels if frame.labels is None else frame.labels
        assert self._layers is not None
        if not self._plays and int(self._viewer.dims.point[0]) != frame.wanted:
            self._move_slider(frame.wanted)  # napari slices both layers
        else:  # while it plays, the slider with all that follows it costs more time than the picture
            for layer in self._layers:
                if layer.visible:
                    layer.refresh(extent=False, thumbnail=False)
        (self.shown if frame.number == frame.wanted else self.near).emit(frame.number)

    def _move_slider(self, number: int) -> None:
        self._slider = number
        self._viewer.dims.set_point(0, number)

    def _on_failed(self, number: int, text: str) -> None:
        if number == self._wanted:
            self._loaded = number
            self.failed.emit(text)
