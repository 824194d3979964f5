"""A slide as a lazy multiscale layer: it is drawn as far as it is read, and again when more is read."""

import time
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.slides.blocks import SlideBlocks
from napari_medseg.core.slides.lazy_level import LazyLevel
from napari_medseg.plugin import layers

if TYPE_CHECKING:
    from napari import Viewer

SLIDE_KEY, KEEPER_KEY = "slide", "slide layer"
LOOK_EVERY_MS = 30
MAX_SHARE_OF_TIME = 0.4
"""Drawing what was read uses at most this share of the window's time."""


class SlideLayer(QObject):
    """Shows an open slide in a viewer.

    Parameters
    ----------
    viewer, blocks
        Viewer, and the slide, which is closed with this object.

    Notes
    -----
    `damaged` carries a message about a part that cannot be read; each is emitted once. `removed` is emitted when a
    person removes the layer.
    """

    damaged = Signal(str)
    removed = Signal()

    def __init__(self, viewer: "Viewer", blocks: SlideBlocks, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.blocks = blocks
        self.layer: ImageLayer | None = None
        self._levels = [LazyLevel(blocks, number) for number in range(len(blocks.levels))]
        self._drawn_version = blocks.version
        self._draw_after = 0.0
        viewer.layers.events.removed.connect(self._on_removed)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.draw_what_was_read)

    @property
    def scale(self) -> tuple[float, float]:
        """Millimetres (y, x) of a pixel of level 0; 1 if the slide does not say its resolution."""
        return self.blocks.spacing_mm or (1.0, 1.0)

    @property
    def unit(self) -> str:
        """Unit of the layer: mm, or pixel if the resolution is unknown."""
        return "mm" if self.blocks.spacing_mm else "pixel"

    @property
    def is_shown(self) -> bool:
        """Whether the layer is in the viewer."""
        return self.layer is not None and self.layer in self._viewer.layers

    def show(self) -> None:
        """Add the layer to the viewer, below all others, unless it is there."""
        self._add({})

    def show_alone(self) -> None:
        """Add the layer, and live as long as it: nothing else holds a slide that was opened without a dock."""
        self._add({KEEPER_KEY: self})
        self.removed.connect(self.close_down)

    def _add(self, ours: dict[str, Any]) -> None:
        if self.is_shown:
            return
        self.layer = self._viewer.add_image(
            self._levels,
            multiscale=True,
            rgb=True,
            contrast_limits=(0, 255),
            cache=False,
            name=self.blocks.name,
            scale=self.scale,
            units=(self.unit, self.unit),
            axis_labels=("y", "x"),
            metadata={layers.METADATA_KEY: {SLIDE_KEY: self.blocks.path, **ours}},
        )
        self._viewer.layers.move(len(self._viewer.layers) - 1, 0)
        self._timer.start()

    def hide(self) -> None:
        """Remove the layer; what was read is kept."""
        self._timer.stop()
        layer, self.layer = self.layer, None
        layers.remove(self._viewer, layer)

    def close_down(self) -> None:
        """Remove the layer and close the slide."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.hide()
        self.blocks.close()

    def draw_what_was_read(self) -> None:
        """Draw again if blocks were read since, and the last drawing is long enough ago."""
        for text in self.blocks.take_damages():
            self.damaged.emit(text)
        now = time.perf_counter()
        if self.layer is None or self.blocks.version == self._drawn_version or now < self._draw_after:
            return
        self._drawn_version = self.blocks.version
        self.layer.refresh(thumbnail=False, extent=False, highlight=False)
        took = time.perf_counter() - now
        self._draw_after = time.perf_counter() + took / MAX_SHARE_OF_TIME

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401 - napari
        if self.layer is not None and event.value is self.layer:
            self._timer.stop()
            self.layer = None
            self.removed.emit()
