"""Region of interest (ROI): a box around another task's labels, such as the lungs for a model of lesions."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from napari_medseg.core.image import Image

Labels = NDArray[np.integer[Any]]
Box = tuple[slice, slice]
"""Rows and columns."""


def compute_roi_box(roi: Labels, margin: float) -> Box:
    """Return the box, in (y, x), that contains the ROI of every plane; the whole plane if the ROI is empty.

    Parameters
    ----------
    roi
        Labels (y, x) or (z, y, x); above 0 is the ROI.
    margin
        Added on each side, as a share of the ROI's longer side.
    """
    plane: NDArray[np.bool_] = np.logical_or.reduce((roi > 0).reshape(-1, *roi.shape[-2:]), axis=0)
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if not rows.size:
        return slice(0, plane.shape[0]), slice(0, plane.shape[1])
    wider = round(margin * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))
    box = [
        slice(max(0, int(found[0]) - wider), min(side, int(found[-1]) + 1 + wider))
        for found, side in ((rows, plane.shape[0]), (columns, plane.shape[1]))
    ]
    return box[0], box[1]


def crop_image(image: Image, box: Box) -> Image:
    """Return the part of an image (y, x), (z, y, x) or with channels behind that lies in a box of rows and columns.

    For the network only: affine and storage are left out, as they would be wrong.
    """
    inside = (slice(None), *box) if len(image.spatial_axes) == 3 else box
    return replace(image, pixels=image.pixels[inside], affine=None, storage=None)


def paste_into_image(part: NDArray[Any], shape: tuple[int, ...], box: Box | None) -> NDArray[Any]:
    """Paste planes (n, y, x) of a box into an array of the whole image's shape; it is 0 outside the box."""
    if box is None:
        return part.reshape(shape)
    whole = np.zeros(shape, part.dtype)
    whole[..., box[0], box[1]] = part.reshape(*shape[:-2], *part.shape[-2:])
    return whole


def drop_outside_roi(labels: Labels, roi: Labels, max_distance_mm: float, spacing_mm: tuple[float, ...] | None) -> None:
    """Set labels that lie farther than `max_distance_mm` from the ROI to 0, plane by plane and in place.

    Lung labels often miss consolidation at the lung wall; therefore the convex hull of each ROI label is used.

    Parameters
    ----------
    labels, roi
        (y, x) or (z, y, x), of one shape.
    max_distance_mm
        Distance in the plane.
    spacing_mm
        One number per axis; `None` means 1 mm per pixel.
    """
    pixel = spacing_mm[-2:] if spacing_mm else (1.0, 1.0)
    planes = zip(labels.reshape(-1, *labels.shape[-2:]), roi.reshape(-1, *roi.shape[-2:]), strict=True)
    for plane, inside in planes:
        if plane.any():
            far = ndimage.distance_transform_edt(~_compute_convex_hulls(inside), sampling=pixel) > max_distance_mm
            plane[far] = 0


def _compute_convex_hulls(roi: Labels) -> NDArray[np.bool_]:
    """Return the union of the convex hulls of a plane's ROI labels, (y, x)."""
    hulls = np.zeros(roi.shape, bool)
    for index, box in enumerate(ndimage.find_objects(roi)):
        if box is not None:
            hulls[box] |= convex_hull_image(roi[box] == index + 1)
    return hulls
