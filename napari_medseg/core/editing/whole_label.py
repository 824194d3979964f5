"""Tools for whole labels: remove specks below a size, swap two labels."""

from collections.abc import Iterator, Sequence

import numpy as np

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box, get_box_shape, get_plane_box
from napari_medseg.core.editing.runs import cut_into_slabs, find_components
from napari_medseg.core.errors import MedSegError

_MICROSCOPIC = 1000.0
"""Below so many µm² or µm³ a size is written in them."""


def remove_specks(canvas: Canvas, min_volume_mm3: float, values: Sequence[int] = ()) -> Edit:
    """Delete all pieces of a volume that are smaller than a volume.

    Parameters
    ----------
    canvas
        Labels (z, y, x).
    min_volume_mm3
        Smallest piece that stays, mm3.
    values
        Labels whose specks are removed; all of them if empty.

    Raises
    ------
    MedSegError
        If there are none.
    """
    if canvas.labels.ndim != 3:
        raise MedSegError("a 2-D image has no volumes. Remove specks by their area.")
    return _remove_specks(canvas, tuple(slice(0, n) for n in canvas.shape), (min_volume_mm3, "mm³"), values)


def remove_specks_in_plane(
    canvas: Canvas, min_area_mm2: float, values: Sequence[int] = (), plane: int | None = None
) -> Edit:
    """Like `remove_specks`, on one slice, or in a 2-D image, below an area in mm2."""
    return _remove_specks(canvas, get_plane_box(canvas.shape, plane), (min_area_mm2, "mm²"), values)


def format_speck_size(size: float, unit: str) -> str:
    """Return a size as text: the micrometres of a microscope are written as such."""
    small, factor = {"mm³": ("µm³", 1e9), "mm²": ("µm²", 1e6)}.get(unit, (unit, 1.0))
    return f"{size * factor:g} {small}" if size * factor < _MICROSCOPIC else f"{size:g} {unit}"


def swap_labels(canvas: Canvas, one: int, other: int) -> Edit:
    """Swap two labels in the whole image, such as left and right lung."""
    return _swap(canvas, tuple(slice(0, n) for n in canvas.shape), one, other)


def swap_labels_in_plane(canvas: Canvas, one: int, other: int, plane: int | None = None) -> Edit:
    """Swap two labels on one slice of a volume."""
    return _swap(canvas, get_plane_box(canvas.shape, plane), one, other)


def _swap(canvas: Canvas, box: Box, one: int, other: int) -> Edit:
    canvas.check_value(one)
    canvas.check_value(other)
    if one == other or 0 in (one, other):
        raise MedSegError(f"{canvas.name(one)} and {canvas.name(other)} cannot be swapped. Choose two labels.")
    message = f"swapped {canvas.name(one)} and {canvas.name(other)}"
    nothing = f"there is neither {canvas.name(one)} nor {canvas.name(other)} here."
    return canvas.make_edit(message, _list_swaps(canvas, box, one, other), nothing)


def _list_swaps(canvas: Canvas, box: Box, one: int, other: int) -> Iterator[Change]:
    """Change both labels slab by slab: masks of a whole volume would take most of the time."""
    for slab in cut_into_slabs(get_box_shape(box)):
        where = (slice(box[0].start + slab.start, box[0].start + slab.stop), *box[1:])
        labels = canvas.labels[where]
        yield Change(where, (labels == one) | (labels == other), {one: other, other: one})


def _remove_specks(canvas: Canvas, box: Box, smallest: tuple[float, str], values: Sequence[int]) -> Edit:
    size_mm, unit = smallest
    labels = canvas.labels[box]
    wanted = labels if not values else np.where(np.isin(labels, list(values)), labels, 0)
    components = find_components(wanted)
    voxel_mm = float(np.prod(canvas.spacing if unit == "mm³" else canvas.spacing[-2:]))
    is_speck = components.sizes * voxel_mm < size_mm
    if canvas.spacing_mm is None:
        unit = "voxels" if unit == "mm³" else "px"
    n_specks = int(np.count_nonzero(is_speck))
    size = format_speck_size(size_mm, unit)
    message = f"removed {n_specks:,} {'speck' if n_specks == 1 else 'specks'} below {size}"
    nothing = f"no piece is below {size}."
    return canvas.make_edit(message, [Change(box, components.paint(is_speck), 0)], nothing)
