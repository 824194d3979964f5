"""How large each label is, in the unit that the image allows."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks import Label, Task

Unit = Literal["ml", "mm2", "px"]
_UNIT_TEXT = {"ml": "ml", "mm2": "mm²", "px": "px"}


@dataclass(frozen=True)
class Measurement:
    """Size of one label: volume in ml for a volume, area in mm2 for a plane, pixels where the spacing is unknown."""

    label: Label
    voxels: int
    value: float
    unit: Unit

    @property
    def text(self) -> str:
        """For people, like ``2,413 ml``: whole numbers from 10 on, one decimal below."""
        number = f"{self.value:,.1f}" if 0 < self.value < 10 and self.unit != "px" else f"{self.value:,.0f}"
        return f"{number} {_UNIT_TEXT[self.unit]}"


def measure(labels: NDArray[Any], image: Image, task: Task) -> list[Measurement]:
    """Measure each label of a task.

    Parameters
    ----------
    labels
        On the canonical grid of `image`.
    image
        Which gives the size of a voxel.
    task
        Whose labels are measured, in its order; other values are left out.

    Raises
    ------
    MedSegError
        If labels and image differ in shape.
    """
    if labels.shape != image.spatial_shape:
        raise MedSegError(f"labels of shape {labels.shape} cannot be measured on an image of {image.spatial_shape}.")
    size, unit = _voxel(image)
    measurements = []
    for label in task.labels:
        voxels = int(np.count_nonzero(labels == label.value))
        measurements.append(Measurement(label, voxels, voxels * size, unit))
    return measurements


def _voxel(image: Image) -> tuple[float, Unit]:
    if image.voxel_volume_ml is not None:
        return image.voxel_volume_ml, "ml"
    if image.pixel_area_mm2 is not None:
        return image.pixel_area_mm2, "mm2"
    return 1.0, "px"
