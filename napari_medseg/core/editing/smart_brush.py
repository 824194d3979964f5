"""The smart brush: paints where grey values are like those under its centre, and connected to it.

At each place of the stroke, the median under the centre is the reference, and the spread around it the tolerance. The
model's probability widens the tolerance where the model expects the label, and narrows it elsewhere.

The numbers were chosen on 215 lesion pieces of expert masks (`covid/medseg`), with a brush 1.6 times as large as the
largest circle inside the piece: Dice inside the brush 0.835, against 0.809 for a plain brush; better in 76 % of pieces.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box, get_plane_box, rasterise_stroke, read_line, sample_line
from napari_medseg.core.editing.model_threshold import get_relative_probability
from napari_medseg.core.errors import MedSegError

CORE_SHARE = 0.5
"""Radius of the part of the brush whose values are the reference."""
MIN_CORE_PX = 1.5
NOISE_FACTOR = 4.0
"""Tolerance in standard deviations of the noise under the centre."""
CONTRAST_SHARE = 0.15
"""Smallest tolerance, as a share of the contrast inside the brush: without noise it would be zero."""
MAX_CONTRAST_SHARE = 0.7
"""Largest tolerance, as a share of the contrast: it ends before the other tissue. The strength multiplies it."""
SMOOTH_PX = 1.0
STEP_SHARE = 0.3
"""Distance between the places of the brush along the stroke, as a share of its radius."""
MAX_HOLE_PX = 4
"""Holes in the stroke up to this size are noise."""


class SmartBrush(NamedTuple):
    """Radius, px; label value; and strength: above 1 accepts more values, below 1 fewer (Ctrl and wheel)."""

    radius_px: float
    value: int
    strength: float = 1.0


class _Dab(NamedTuple):
    """What one place of the brush accepts: box (y, x), mask, reference per channel, tolerance."""

    box: Box
    mask: NDArray[np.bool_]
    reference: NDArray[np.float32]
    tolerance: float


KnownDabs = dict[tuple[SmartBrush, int | None, int, int], _Dab]
"""What each place of the brush accepts, for a brush, a slice, and a centre (y, x)."""


def paint_similar(
    canvas: Canvas,
    path: ArrayLike,
    brush: SmartBrush,
    plane: int | None = None,
    *,
    may_overwrite: bool | None = None,
    known_dabs: KnownDabs | None = None,
) -> Edit:
    """Paint along a path where the image is similar and connected to what is under the centre of the brush.

    Parameters
    ----------
    canvas
        With an image; with the model's probability if there is one.
    path
        Points (n, 2) of the stroke, (y, x) in pixels.
    brush
        Radius, label and strength.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether other labels are painted over; by default labels are, and numbered objects are not.
    known_dabs
        Filled with what is computed for each place of the brush, and used for the next, longer path of the same drag.

    Returns
    -------
    Edit
        With the accepted range of grey values, in all places of the brush together; of a colour image the range is
        `None`.

    Raises
    ------
    MedSegError
        If there is no image, the path lies outside of it, or nothing changes.
    """
    canvas.check_value(brush.value)
    if canvas.image is None:
        raise MedSegError("the smart brush needs the image. Open it again, or use the plain brush.")
    box, covered = rasterise_stroke(path, brush.radius_px, get_plane_box(canvas.shape, plane))
    dabs = _list_dabs(canvas, path, brush, plane, {} if known_dabs is None else known_dabs)
    if not dabs:
        raise MedSegError("the image has no values under the stroke. Draw where it was measured.")
    accepted = np.zeros(covered.shape[-2:], np.bool_)
    origin = [side.start for side in box[-2:]]
    for dab in dabs:
        local = tuple(slice(s.start - o, s.stop - o) for s, o in zip(dab.box, origin, strict=True))
        accepted[local] |= dab.mask
    accepted |= _find_small_holes(accepted)
    overwrites = not canvas.task.instances if may_overwrite is None else may_overwrite
    mask = accepted.reshape(covered.shape) & covered & canvas.get_writable(box, brush.value, may_overwrite=overwrites)
    n_changed = int(np.count_nonzero(mask & (canvas.labels[box] != brush.value)))
    text, grey_range = _describe_range(dabs, canvas.unit)
    message = f"painted {format_size(canvas, n_changed, box)} of {canvas.name(brush.value)}, {text}"
    edit = canvas.make_edit(
        message, [Change(box, mask, brush.value)], f"all similar pixels have the label already, {text}."
    )
    return Edit(edit.shape, edit.voxel_runs, edit.message, grey_range)


def _list_dabs(canvas: Canvas, path: ArrayLike, brush: SmartBrush, plane: int | None, known: KnownDabs) -> list[_Dab]:
    """Return what the places of the brush along a path accept, and add it to what is known."""
    assert canvas.image is not None  # checked by the caller
    plane_box, dabs = get_plane_box(canvas.shape, plane), []
    for centre in _place_dabs(path, canvas.shape, brush.radius_px):
        place = brush, plane, int(centre[0]), int(centre[1])
        if place not in known:
            known[place] = _accept(canvas, canvas.image, plane_box, centre, brush)
        dabs.append(known[place])
    return [dab for dab in dabs if np.isfinite(dab.reference).all()]


def _place_dabs(path: ArrayLike, shape: tuple[int, ...], radius_px: float) -> NDArray[np.int64]:
    """Return the centres of the brush, int64 (n, 2): the first, the last, and between them at most a step apart."""
    pixels = sample_line(read_line(path), shape)
    if not len(pixels):
        raise MedSegError("the stroke lies outside the image. Draw it on the image.")
    way = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(pixels, axis=0).T))))
    step = max(1.0, STEP_SHARE * radius_px)
    places = np.searchsorted(way, np.arange(0.0, way[-1] + step, step))
    centres: NDArray[np.int64] = pixels[np.unique(np.minimum(places, len(pixels) - 1))]
    return centres


def _accept(canvas: Canvas, image: NDArray[Any], plane_box: Box, centre: NDArray[np.int64], brush: SmartBrush) -> _Dab:
    height, width = canvas.shape[-2:]
    reach = int(brush.radius_px)
    box = tuple(
        slice(max(0, int(place) - reach), min(length, int(place) + reach + 1))
        for place, length in zip(centre, (height, width), strict=True)
    )
    where = (*plane_box[:-2], *box)
    y, x = np.ogrid[box[0], box[1]]
    squared = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    disk = squared <= brush.radius_px**2
    core = disk & (squared <= max(MIN_CORE_PX, CORE_SHARE * brush.radius_px) ** 2)
    core[tuple(place - side.start for place, side in zip(centre, box, strict=True))] = True
    values = _get_channels(image[where], disk.shape)
    reference = np.median(values[core], axis=0)
    distance = _compute_distance(values, reference)
    tolerance = _compute_tolerance(distance[core], distance[disk]) * brush.strength
    similar = disk & (distance <= tolerance * _weigh_by_model(canvas, where, brush.value, disk.shape))
    return _Dab(box, _keep_connected(similar, core), reference, tolerance)


def _compute_distance(values: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance to the reference of each pixel or its surroundings: noise is averaged, edges stay sharp."""
    smooth = ndimage.gaussian_filter(values, (SMOOTH_PX, SMOOTH_PX, 0))
    itself, around = (np.sqrt(((pixels - reference) ** 2).sum(axis=-1)) for pixels in (values, smooth))
    return np.asarray(np.minimum(itself, around), np.float32)


def _get_channels(pixels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return pixels as float32 (y, x, channels)."""
    return pixels.astype(np.float32).reshape(*shape, -1)


def _compute_tolerance(in_core: NDArray[np.float32], in_disk: NDArray[np.float32]) -> float:
    noise = 1.4826 * float(np.median(in_core))
    contrast = float(np.percentile(in_disk, 95))
    return min(max(NOISE_FACTOR * noise, CONTRAST_SHARE * contrast), max(MAX_CONTRAST_SHARE * contrast, noise))


def _weigh_by_model(canvas: Canvas, where: Box, value: int, shape: tuple[int, ...]) -> NDArray[np.float32] | float:
    """Factors of the tolerance: 0.5 where the model excludes the label, 1 where it is unsure, 1.5 where it is sure."""
    relative = get_relative_probability(canvas, where, value)
    return 1.0 if relative is None else 0.5 + relative.reshape(shape)


def _keep_connected(similar: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what is connected, by faces, to similar pixels of the core."""
    numbers, n = ndimage.label(similar)
    chosen = np.zeros(n + 1, np.bool_)
    chosen[numbers[core]] = True
    chosen[0] = False
    kept: NDArray[np.bool_] = chosen[numbers]
    return kept


def _find_small_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    numbers, _ = ndimage.label(~np.pad(mask, 1))
    is_small = np.bincount(numbers.ravel()) <= MAX_HOLE_PX
    is_small[0] = False
    holes: NDArray[np.bool_] = is_small[numbers[1:-1, 1:-1]]
    return holes


def _describe_range(dabs: list[_Dab], unit: str) -> tuple[str, tuple[float, float] | None]:
    last = dabs[-1]
    if len(last.reference) > 1:
        colour = ", ".join(f"{channel:.0f}" for channel in last.reference)
        return f"colours within {last.tolerance:.0f} of ({colour})", None
    low = min(float(dab.reference[0]) - dab.tolerance for dab in dabs)
    high = max(float(dab.reference[0]) + dab.tolerance for dab in dabs)
    digits = 0 if high - low >= 10 else 2
    return f"{low:.{digits}f} to {high:.{digits}f} {unit}".rstrip().replace("-", "−"), (low, high)
