"""Labels of a whole slide and its density map as layers of napari; they are shown, not edited."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.label_colours import get_opacity, make_colormap
from napari_medseg.workflow.whole_slide.chunks import Box
from napari_medseg.workflow.whole_slide.corrections import CorrectedField
from napari_medseg.workflow.whole_slide.density import DensityMap
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.label_pyramid import LabelPyramid
from napari_medseg.workflow.whole_slide.shown_labels import make_shown_levels

if TYPE_CHECKING:
    from napari import Viewer

LABELS_NAME = "slide: labels (shown only; correct in fields)"
DENSITY_NAME = "slide: objects per mm²"
DENSITY_OPACITY = 0.45


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
        self._density: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether labels are shown."""
        return self._labels is not None and self._labels in self._viewer.layers

    def show(
        self,
        pyramid: LabelPyramid,
        grid: ModelGrid,
        task: Task,
        pixel_size: float,
        fields: Sequence[CorrectedField] = (),
    ) -> None:
        """Show labels, above the slide; those that are shown are replaced.

        Parameters
        ----------
        pyramid, grid, task
            The labels, their grid, and their task.
        pixel_size
            World units per pixel of level 0, as of the layer of the slide.
        fields
            Corrected fields, which are shown in place of the prediction.
        """
        self._remove(self._labels)
        self._labels = self._viewer.add_labels(
            make_shown_levels(pyramid, grid, fields, are_objects=task.instances),
            multiscale=True,
            name=LABELS_NAME,
            opacity=get_opacity(task, 0),
            colormap=make_colormap(task),
            **_place(grid.downsample, pixel_size),
        )
        self._labels.editable = False

    def refresh(self, box: Box | None) -> None:
        """Draw the labels again if a part of the grid that changed is in view; `None` if all may have changed."""
        if self.is_shown and (box is None or self._sees(box)):
            self._labels.refresh(extent=False)

    def show_density(self, density: DensityMap, pixel_size: float) -> None:
        """Show a density map; one that is shown is replaced."""
        self.remove_density()
        values = density.density
        limits = (0.0, float(values.max(initial=0.0)) or 1.0)
        self._density = self._viewer.add_image(
            values,
            name=DENSITY_NAME,
            colormap="inferno",
            contrast_limits=limits,
            opacity=DENSITY_OPACITY,
            interpolation2d="nearest",
            **_place(density.cell_px * density.downsample, pixel_size),
        )

    def remove_density(self) -> None:
        """Remove the density map, if it is shown."""
        self._remove(self._density)
        self._density = None

    def remove(self) -> None:
        """Remove both layers."""
        self.remove_density()
        self._remove(self._labels)
        self._labels = None

    def _remove(self, layer: Any) -> None:  # noqa: ANN401 - a layer of napari
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _sees(self, box: Box) -> bool:
        """Whether a part of the grid is in view; napari says which corners it has read, and of which level."""
        corners = np.asarray(self._labels.corner_pixels) * 2 ** int(self._labels.data_level)
        return all(side.start <= last and side.stop >= first for side, first, last in zip(box, *corners, strict=True))


def _place(downsample: float, pixel_size: float) -> dict[str, tuple[float, float]]:
    """Return scale and place of a layer; napari puts the centre of the first pixel at its origin."""
    scale, shift = downsample * pixel_size, (downsample - 1.0) / 2.0 * pixel_size
    return {"scale": (scale, scale), "translate": (shift, shift)}
