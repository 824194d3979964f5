"""Size of each label: in ml, mm2 or pixels, depending on the image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.object_counts import count_object_pixels
from napari_medseg.core.tasks.bundled_tasks import Label, Task, get_task

Unit = Literal["ml", "mm2", "px"]
MICROMETRES_BELOW_MM2 = 0.01
_UNIT_TEXT = {"ml": "ml", "mm2": "mm²", "px": "px"}


@dataclass(frozen=True)
class Measurement:
    """Size of one label: volume in ml for a volume, area in mm2 for a plane, pixels if the spacing is unknown.

    `count` is the number of objects if the task has instances. `shares` are the covered shares of the region of
    interest (ROI): first of the whole ROI, then of each of its labels by name, such as the right and the left lung.
    """

    label: Label
    voxels: int
    value: float
    unit: Unit
    count: int | None = None
    shares: tuple[tuple[str, float], ...] = ()

    @property
    def text(self) -> str:
        """Text to show, such as ``2,413 ml``, ``12 ml, 3.1 %`` (of the ROI), or ``412, mean 38 mm²``."""
        if self.count is not None:
            mean = _format_value(self.value / self.count, self.unit) if self.count else ""
            return f"{self.count:,}" + (f", mean {mean}" if mean else "")
        share = f", {self.shares[0][1]:.1%}".replace("%", " %") if self.shares else ""
        return _format_value(self.value, self.unit) + share

    @property
    def details(self) -> str:
        """Text for a tooltip: number of voxels, and the share of each label of the ROI."""
        lines = [f"{self.voxels:,} voxels"]
        lines += [f"{share:.1%} of {name}".replace("%", " %") for name, share in self.shares]
        if self.count is not None:
            lines.append(f"{self.count:,} objects, together {_format_value(self.value, self.unit)}")
        return "\n".join(lines)


def measure_labels(
    labels: NDArray[Any], image: Image, task: Task, roi_labels: NDArray[Any] | None = None
) -> list[Measurement]:
    """Measure each label of a task.

    Parameters
    ----------
    labels
        Integers on the canonical grid of `image`, (y, x) or (z, y, x).
    image
        Gives the size of a voxel.
    task
        Its labels are measured, in its order; other values are ignored.
    roi_labels
        Labels of the region of interest on the same grid, to compute the share that each label covers.

    Raises
    ------
    MedSegError
        If labels and image differ in shape.
    """
    if labels.shape != image.spatial_shape:
        raise MedSegError(
            f"labels of shape {labels.shape} cannot be measured on an image of shape {image.spatial_shape}. "
            "Use the labels of this image."
        )
    size, unit = _get_voxel_size(image)
    if task.instances:
        voxels = int(np.count_nonzero(labels))
        n_objects = len(count_object_pixels(labels)[0])
        return [Measurement(task.labels[0], voxels, voxels * size, unit, count=n_objects)]
    measurements = []
    for label in task.labels:
        inside = labels == label.value
        voxels = int(np.count_nonzero(inside))
        shares = (
            ()
            if roi_labels is None or not task.field
            else tuple(_compute_roi_shares(inside, roi_labels, get_task(task.field)))
        )
        measurements.append(Measurement(label, voxels, voxels * size, unit, shares=shares))
    return measurements


def _compute_roi_shares(inside: NDArray[np.bool_], roi_labels: NDArray[Any], task: Task) -> Iterator[tuple[str, float]]:
    """Yield the share of the whole ROI, then of each of its labels; voxels outside the ROI are ignored."""
    n_field = int(np.count_nonzero(roi_labels))
    if n_field:
        yield f"all {task.name}", int(np.count_nonzero(inside & (roi_labels > 0))) / n_field
    for label in task.labels:
        part = roi_labels == label.value
        if n_part := int(np.count_nonzero(part)):
            yield label.name, int(np.count_nonzero(inside & part)) / n_part


def _format_value(value: float, unit: Unit) -> str:
    """Format with no decimals from 10 on, else one; areas of cells in square micrometres."""
    if unit == "mm2" and 0 < value < MICROMETRES_BELOW_MM2:
        return f"{value * 1e6:,.0f} µm²"
    number = f"{value:,.1f}" if 0 < value < 10 and unit != "px" else f"{value:,.0f}"
    return f"{number} {_UNIT_TEXT[unit]}"


def _get_voxel_size(image: Image) -> tuple[float, Unit]:
    if image.voxel_volume_ml is not None:
        return image.voxel_volume_ml, "ml"
    if image.pixel_area_mm2 is not None:
        return image.pixel_area_mm2, "mm2"
    return 1.0, "px"
