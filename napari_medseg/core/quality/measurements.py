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
_UNIT_TEXT: dict[Unit, tuple[tuple[str, float], ...]] = {
    "ml": (("ml", 1.0), ("mm³", 1e3), ("µm³", 1e12)),
    "mm2": (("mm²", 1.0), ("µm²", 1e6)),
    "px": (("px", 1.0),),
}
"""Units from the largest on, and how many of them make one; the first of which there are enough is written."""
_ENOUGH = {"ml": 0.1, "mm³": 0.01, "mm²": 0.01}
_LEAST_SHARE = 0.0005
"""Smaller shares would be written as nothing."""


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
        share = f", {_format_share(self.shares[0][1])}" if self.shares else ""
        return _format_value(self.value, self.unit) + share

    @property
    def details(self) -> str:
        """Text for a tooltip: number of voxels, and the share of each label of the ROI."""
        lines = [f"{self.voxels:,} voxels"]
        lines += [f"{_format_share(share)} of {name}" for name, share in self.shares]
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
    """Format in a unit in which something that is there is not zero: 40 mm³ are no 0.0 ml.

    Numbers of 10 and more have no decimals, others one, and below 0.1 two digits.
    """
    units = _UNIT_TEXT[unit]
    enough = (one for one in units if not value or value * one[1] >= _ENOUGH.get(one[0], 0.0))
    text, factor = next(enough)
    number = value * factor
    decimals = 0 if unit == "px" or number >= 10 or not number else 1
    return f"{number:,.{decimals}f} {text}" if number >= 0.1 or not number else f"{number:.2g} {text}"


def _format_share(share: float) -> str:
    return "< 0.1 %" if 0 < share < _LEAST_SHARE else f"{share:.1%}".replace("%", " %")


def _get_voxel_size(image: Image) -> tuple[float, Unit]:
    if image.voxel_volume_ml is not None:
        return image.voxel_volume_ml, "ml"
    if image.pixel_area_mm2 is not None:
        return image.pixel_area_mm2, "mm2"
    return 1.0, "px"
