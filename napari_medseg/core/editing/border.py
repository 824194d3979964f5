"""The border tool: drag a border, and it snaps to the nearest edge of the image.

The outline follows the mouse like rubber: fully at the pointer, not at all beyond the radius. Then a watershed on the
gradient, between what is surely inside and surely outside, moves it to the edge; the gradient counts less with the
distance from the dragged outline (Roerdink and Meijster, The watershed transform, 2000).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box, get_box_shape, get_plane_box, pad_box
from napari_medseg.core.editing.morphology import smooth_mask
from napari_medseg.core.errors import MedSegError

PICK_PX = 10
"""A drag takes hold of a border at most this far from where it starts."""
STRETCH = 1.6
"""The radius is at least this multiple of the way of the drag, so that the outline does not fold."""
EDGE_CONTRAST = 2.0
"""There is an edge to snap to if the gradient near the outline is this much stronger than in the surroundings."""
SMOOTH_PX = 0.7


class BorderDrag(NamedTuple):
    """A drag from `start` to `end`, (y, x) in pixels; radius of what moves along, and how far the border snaps, px."""

    start: tuple[float, float]
    end: tuple[float, float]
    radius_px: float = 20.0
    snap_px: float = 4.0


def drag_border(canvas: Canvas, drag: BorderDrag, plane: int | None = None, *, may_overwrite: bool = False) -> Edit:
    """Move the border nearest to the start of the drag.

    Parameters
    ----------
    canvas
        With an image to snap; without one the border stays where it was dragged.
    drag
        From where to where.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether the label grows over others.

    Raises
    ------
    MedSegError
        If there is no border near the start, or nothing changes.
    """
    plane_box = get_plane_box(canvas.shape, plane)
    labels = canvas.labels[plane_box].reshape(canvas.shape[-2:])
    value = _pick_label(labels, drag)
    way = np.subtract(drag.end, drag.start)
    radius = max(drag.radius_px, STRETCH * float(np.hypot(*way)), 2.0)
    window = _find_window(drag, radius, labels.shape)
    mask = labels[window] == value
    weight = _compute_weight(window, drag.end, radius)
    wanted = _pull(mask, way, weight)
    is_snapped = False
    if canvas.image is not None and drag.snap_px > 0:
        snapped = _snap(wanted, canvas.image[(*plane_box[:-2], *window)], weight > 0, drag.snap_px)
        is_snapped, wanted = snapped is not None, wanted if snapped is None else snapped
    box = (*plane_box[:-2], *window)
    shape = get_box_shape(box)
    gained = (wanted & ~mask).reshape(shape) & canvas.get_writable(box, value, may_overwrite=may_overwrite)
    lost = (mask & ~wanted).reshape(shape)
    new = np.where(gained, canvas.labels.dtype.type(value), canvas.labels.dtype.type(0))
    where = "onto the nearest edge" if is_snapped else "(no edge near it)"
    message = f"moved the border of {canvas.name(value)} {where}: +{gained.sum():,} −{lost.sum():,} px"
    nothing = f"the border of {canvas.name(value)} stays: it cannot move there. Drag farther, or into the background."
    return canvas.make_edit(message, [Change(box, gained | lost, new)], nothing)


def _pick_label(labels: NDArray[Any], drag: BorderDrag) -> int:
    """Return the label whose border is nearest to the start of a drag, preferring the one that the drag starts in."""
    y, x = (int(np.floor(place + 0.5)) for place in drag.start)
    sides = (slice(max(0, y), max(0, y + 1)), slice(max(0, x), max(0, x + 1)))
    window = pad_box(sides, (PICK_PX + 1, PICK_PX + 1), labels.shape)
    part = labels[window]
    if part.size:
        lowest, highest = (
            find(part, size=3, mode="nearest") for find in (ndimage.minimum_filter, ndimage.maximum_filter)
        )
        places = np.argwhere((lowest != highest) & (part > 0))
        if len(places):
            distance = np.hypot(*(places + [side.start for side in window] - np.asarray(drag.start)).T)
            if distance.min() <= PICK_PX:
                return int(part[tuple(places[distance.argmin()])])
    raise MedSegError(f"there is no border within {PICK_PX} px. Start the drag on a border.")


def _find_window(drag: BorderDrag, radius: float, shape: tuple[int, ...]) -> Box:
    margin = int(radius + np.hypot(*np.subtract(drag.end, drag.start)) + drag.snap_px) + 3
    centre = tuple(min(max(int(place), 0), length - 1) for place, length in zip(drag.end, shape, strict=True))
    return pad_box(tuple(slice(place, place + 1) for place in centre), (margin, margin), shape)


def _compute_weight(window: Box, centre: tuple[float, float], radius: float) -> NDArray[np.float32]:
    """How much each pixel of a window follows the drag: 1 at its end, 0 from the radius on, float32."""
    y, x = np.ogrid[window]
    squared = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / radius**2
    weight: NDArray[np.float32] = (np.clip(1 - squared, 0, None) ** 2).astype(np.float32)
    return weight


def _pull(mask: NDArray[np.bool_], way: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Move each pixel of a mask by its weight times the way."""
    y, x = np.nonzero(weight > 0)
    share = weight[y, x]
    pulled = mask.copy()
    source = np.stack([y - share * way[0], x - share * way[1]])
    pulled[y, x] = ndimage.map_coordinates(mask.astype(np.float32), source, order=1, mode="nearest") >= 0.5
    return pulled


def _snap(
    mask: NDArray[np.bool_], image: NDArray[Any], zone: NDArray[np.bool_], snap_px: float
) -> NDArray[np.bool_] | None:
    """Move the outline inside a zone to the nearest edge; `None` if there is no edge within the distance."""
    to_outside, to_inside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    distance = np.maximum(to_outside, to_inside) - 0.5  # from the line between the pixels
    band = zone & (distance < snap_px)
    if not band.any() or not (mask & ~band).any() or not (~mask & ~band).any():
        return None
    channels = np.nan_to_num(image.astype(np.float32).reshape(*mask.shape, -1))
    gradient = np.sqrt(
        sum(ndimage.gaussian_gradient_magnitude(channels[..., n], 1.0) ** 2 for n in range(channels.shape[-1]))
    )
    if float(np.percentile(gradient[band], 90)) <= EDGE_CONTRAST * float(np.median(gradient)) + 1e-6:
        return None
    height = gradient * np.exp(-((distance / (2 * snap_px)) ** 2))
    markers = np.where(band, 0, np.where(mask, 1, 2))
    inside = watershed(height, markers) == 1
    snapped = np.where(band, smooth_mask(inside, (1.0, 1.0), SMOOTH_PX), mask)
    return np.asarray(snapped, np.bool_)
