"""Small pictures of cases with the contours of the draft and of the correction."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image, select_measured
from napari_medseg.core.project.case_files import read_case_labels, read_image_copy
from napari_medseg.workflow.report.label_scan import AcceptedCase

SIDE_PX = 240
MARGIN = 0.12
"""Added on each side of what is labelled, as a share of its longer side."""
_MIN_CROP_PX = 48
_LINE = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
"""Makes a contour a pixel wider, so that it is seen beside small pictures of others."""
DRAFT_RGB, CORRECTION_RGB = (230, 97, 0), (26, 201, 255)
DRAFT_COLOUR, CORRECTION_COLOUR = "orange", "blue"


def draw_case(folder: Path, accepted: AcceptedCase) -> NDArray[np.uint8]:
    """Draw the part of a case that is labelled; of a volume, the plane with the most changed voxels.

    Returns
    -------
    ndarray
        uint8 (y, x, 3), at most `SIDE_PX` on each side: the image, the draft's contour, and the correction's over it.

    Raises
    ------
    MedSegError
        If a file of the case is missing or damaged.
    """
    image = read_image_copy(folder, accepted.case)
    labels = read_case_labels(folder, accepted.case, accepted.correction)
    draft = labels if accepted.prediction is None else read_case_labels(folder, accepted.case, accepted.prediction)
    shape = (-1, *labels.shape[-2:])
    changed = (draft != labels).reshape(shape)
    index = int(np.count_nonzero(changed, axis=(1, 2)).argmax())
    planes = labels.reshape(shape)[index], draft.reshape(shape)[index]
    part = _find_part((planes[0] > 0) | (planes[1] > 0))
    grey = _scale_grey_values(_take_plane(image, index), image)[part]
    zoom = SIDE_PX / max(grey.shape[:2])
    rgb: NDArray[np.uint8] = ndimage.zoom(grey, (zoom, zoom, 1), order=1, mode="nearest").clip(0, 255).astype(np.uint8)
    for plane, colour in ((planes[1], DRAFT_RGB), (planes[0], CORRECTION_RGB)):
        contour = _find_contour(plane[part], rgb.shape[:2])
        rgb[ndimage.binary_dilation(contour, _LINE)] = colour
    return rgb


def _find_part(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the square around what is labelled, with a margin; the whole plane if nothing is."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return slice(None), slice(None)
    longer = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    half = max(longer * (0.5 + MARGIN), _MIN_CROP_PX / 2)
    spans = []
    for found, size in ((rows, inside.shape[0]), (columns, inside.shape[1])):
        middle = (int(found[0]) + int(found[-1])) / 2
        begin = int(max(0, min(middle - half, size - 2 * half)))
        spans.append(slice(begin, min(size, int(np.ceil(begin + 2 * half)))))
    return spans[0], spans[1]


def _take_plane(image: Image, index: int) -> NDArray[Any]:
    plane: NDArray[Any] = image.pixels if len(image.spatial_axes) == 2 else image.pixels[index]
    return plane


def _scale_grey_values(plane: NDArray[Any], image: Image) -> NDArray[np.float32]:
    """Return the plane as RGB from 0 to 255, (y, x, 3); grey values between their percentiles 1 and 99."""
    plane = plane.astype(np.float32)
    low, high = np.percentile(select_measured(plane, image.padding_value), (1, 99))
    scaled = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255
    rgb: NDArray[np.float32] = scaled if scaled.ndim == 3 else np.repeat(scaled[..., np.newaxis], 3, axis=-1)
    return rgb[..., :3]


def _find_contour(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where labels border on something else, on a grid of another size."""
    at = [np.minimum(np.arange(n) * size // n, size - 1) for n, size in zip(shape, labels.shape, strict=True)]
    enlarged = labels[np.ix_(*at)].astype(np.int64)
    borders = (ndimage.grey_erosion(enlarged, 3) != enlarged) | (ndimage.grey_dilation(enlarged, 3) != enlarged)
    contour: NDArray[np.bool_] = borders & (enlarged > 0)
    return contour
