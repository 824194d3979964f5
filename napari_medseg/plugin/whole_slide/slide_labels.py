"""Labels of a whole slide and its density map as layers of napari; they are shown, not edited."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QTimer

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.label_colours import get_opacity, make_colormap
from napari_medseg.plugin.slides.slide_layer import LOOK_EVERY_MS, MAX_SHARE_OF_TIME
from napari_medseg.workflow.whole_slide.chunks import Box
from napari_medseg.workflow.whole_slide.density import DensityMap
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.label_pyramid import LabelPyramid
from napari_medseg.workflow.whole_slide.shown_labels import LabelBlocks, PackedField, make_shown_levels

if TYPE_CHECKING:
    from napari import Viewer

LABELS_NAME = "slide: labels (shown only; correct in fields)"
DENSITY_NAME = "slide: objects per mm²"
UNSCALED_NAME = "slide: objects per megapixel"
SHARE_NAME = "slide: share of all classes"
DENSITY_OPACITY = 0.45


class LayerPlace(NamedTuple):
    """Where the layer of a slide lies: world units per pixel of level 0 (y, x), and the unit."""

    scale: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"


class SlideLabels:
    """The two layers of a slide.

    Parameters
    ----------
    viewer
        napari's viewer.
    """

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = viewer
        self._labels: Any = None
        self._blocks: LabelBlocks | None = None
        self._has_news = False
        self._density: Any = None
        self._drawn_version = 0
        self._draw_after = 0.0
        self._timer = QTimer()
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.draw_what_was_read)

    @property
    def is_shown(self) -> bool:
        """Whether labels are shown."""
        return self._labels is not None and self._labels in self._viewer.layers

    def show(
        self,
        pyramid: LabelPyramid,
        grid: ModelGrid,
        task: Task,
        place: LayerPlace,
        fields: Sequence[PackedField] = (),
    ) -> None:
        """Show labels, above the slide; those that are shown are replaced.

        Parameters
        ----------
        pyramid, grid, task
            The labels, their grid, and their task.
        place
            Where the layer of the slide lies.
        fields
            Corrected fields, which are shown in place of the prediction.
        """
        self._remove_labels()
        self._blocks = LabelBlocks(pyramid)
        self._drawn_version = 0
        active = self._viewer.layers.selection.active
        self._labels = self._viewer.add_labels(
            make_shown_levels(self._blocks, fields),
            multiscale=True,
            name=LABELS_NAME,
            opacity=get_opacity(task, 0),
            colormap=make_colormap(task),
            **_place(grid.downsample, place),
        )
        self._labels.editable = False
        self._lay_above_slide(self._labels, active)
        self._timer.start()

    def forget(self, box: Box) -> None:
        """Note that a part of the grid has changed; `draw_what_changed` reads it again."""
        if self._blocks is not None:
            self._blocks.forget(box)
        self._has_news = self._has_news or (self.is_shown and self._sees(box))

    def draw_what_changed(self) -> None:
        """Draw the labels again if what changed is in view."""
        if self._has_news and self.is_shown:
            self._labels.refresh(extent=False)  # the blocks that changed are read, and drawn when they are
        self._has_news = False

    def draw_what_was_read(self) -> None:
        """Draw again if blocks were read since, and the last drawing is long enough ago."""
        now = time.perf_counter()
        if not self.is_shown or self._blocks is None or now < self._draw_after:
            return
        if self._blocks.version != self._drawn_version:
            self._drawn_version = self._blocks.version
            self._labels.refresh(extent=False, thumbnail=False, highlight=False)
            took = time.perf_counter() - now
            self._draw_after = time.perf_counter() + took / MAX_SHARE_OF_TIME

    def show_density(self, density: DensityMap, place: LayerPlace) -> None:
        """Show a density map; one that is shown is replaced."""
        self.remove_density()
        values = density.density
        active = self._viewer.layers.selection.active
        limits = (0.0, float(values.max(initial=0.0)) or 1.0)
        self._density = self._viewer.add_image(
            values,
            name=name_density(density),
            colormap="inferno",
            contrast_limits=limits,
            opacity=DENSITY_OPACITY,
            interpolation2d="nearest",
            **_place(density.cell_px * density.downsample, place),
        )

        self._lay_above_slide(self._density, active)

    def remove_density(self) -> None:
        """Remove the density map, if it is shown."""
        self._remove(self._density)
        self._density = None

    def remove(self) -> None:
        """Remove both layers."""
        self.remove_density()
        self._remove_labels()

    def _remove_labels(self) -> None:
        self._timer.stop()
        self._remove(self._labels)
        self._labels = None
        if self._blocks is not None:
            self._blocks.close()

    def _lay_above_slide(self, layer: Any, active: Any) -> None:  # noqa: ANN401 - layers of napari
        """Put a layer under the outlines of fields, and leave the active layer active."""
        shown = list(self._viewer.layers)
        self._viewer.layers.move(len(shown) - 1, min(2 if layer is self._density else 1, len(shown) - 1))
        self._viewer.layers.selection.active = active if active in self._viewer.layers else None

    def _remove(self, layer: Any) -> None:  # noqa: ANN401 - a layer of napari
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _sees(self, box: Box) -> bool:
        """Whether a part of the grid is in view; napari says which corners it has read, and of which level."""
        corners = np.asarray(self._labels.corner_pixels) * 2 ** int(self._labels.data_level)
        return all(side.start <= last and side.stop >= first for side, first, last in zip(box, *corners, strict=True))


def name_density(density: DensityMap) -> str:
    """Return the name of a map's layer, which says what its values are."""
    if not density.counts.any():
        return SHARE_NAME if density.areas.any() else DENSITY_NAME
    return DENSITY_NAME if density.um_per_px is not None else UNSCALED_NAME


def _place(downsample: float, place: LayerPlace) -> dict[str, Any]:
    """Return where a layer lies; napari puts the centre of the first pixel at its origin."""
    return {
        "scale": tuple(downsample * pixel for pixel in place.scale),
        "translate": tuple((downsample - 1.0) / 2.0 * pixel for pixel in place.scale),
        "units": (place.unit, place.unit),
        "axis_labels": ("y", "x"),
        "metadata": {layers.METADATA_KEY: {"whole slide": True}},
    }
