"""What the slices of an image lie along, as napari's slider calls it: space, time, or a mere number."""

from typing import Literal

from napari_medseg.core.image import SPATIAL_AXES, Image
from napari_medseg.core.video.frame_paths import parse_frame_path

StackAxis = Literal["z", "t", "image"]


def find_stack_axis(image: Image) -> StackAxis | None:
    """Return z for slices through a body, t for frames of a video, "image" for a stack of photographs.

    `None` for a plane. Colours without a spacing between them are photographs; grey values may be slices of a body.
    """
    if len(image.spatial_axes) != len(SPATIAL_AXES):
        return None
    if len(image.sources) == 1 and parse_frame_path(image.sources[0]) is not None:
        return "t"
    return "image" if image.units == "rgb" and image.spacing_mm is None else "z"


def name_axes(image: Image) -> tuple[str, ...]:
    """Return the names of the spatial axes of an image for napari."""
    return tuple(find_stack_axis(image) or "z" if axis == "Z" else axis.lower() for axis in image.spatial_axes)
