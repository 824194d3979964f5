"""What a MetaImage or NRRD file holds, and the image that it becomes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.slabs import convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.grid_metadata import GRID_KEY, apply_grid, parse_grid_json
from napari_medseg.core.formats.orientation import (
    compute_canonical_geometry,
    make_identity_storage,
    reorient_own_pixels,
)
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, cast_native
from napari_medseg.core.volumes.lps_grid import LpsGrid

MAX_HEADER_BYTES = 1 << 26
"""Room for the names of 100,000 segments."""
_NO_PLACE = "The file does not say where it lies in the patient; rows and columns are shown as they are stored."


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """The content of a file.

    Parameters
    ----------
    values
        (z, y, x) or (z, y, x, 3) in the order of the file, native byte order.
    grid
        Where they lie; `None` if the file states not even a spacing.
    fields
        Further fields of the header by name, such as the names of segments.
    """

    values: NDArray[Any]
    grid: LpsGrid | None
    fields: dict[str, str] = field(default_factory=dict)


def make_stored_volume(values: NDArray[Any], grid: LpsGrid | None, fields: dict[str, str]) -> StoredVolume:
    """Return the content with the types that an image may have."""
    return StoredVolume(cast_native(convert_to_native(values)), grid, fields)


def make_image(path: Path, stored: StoredVolume, *, keeps_thin_axes: bool = False) -> Image:
    """Return the canonical image of a file.

    Parameters
    ----------
    path
        The file, for its name.
    stored
        Its content.
    keeps_thin_axes
        Whether a volume with one slice, row or column stays a volume, as a mask of a volume does; else it is a plane.

    Raises
    ------
    MedSegError
        If the values are no real numbers, or the matrix is singular.
    """
    values = stored.values
    refuse_unusable(values, path.name)
    with translate_decode_errors(path, "a volume of this program"):
        ours = parse_grid_json(stored.fields.get(GRID_KEY, ""))
    thin = [axis for axis in range(3) if values.shape[axis] == 1]
    normal = thin[0] if thin and not keeps_thin_axes else None
    if ours.storage is not None:
        normal = 0 if len(ours.storage.flips) == 2 else None
        if normal == 0 and values.shape[0] != 1:
            raise MedSegError(f"{path.name} is damaged: it holds several slices of one plane. Export it again.")
    spacing, affine = None, None
    storage = ours.storage or make_identity_storage(3 if normal is None else 2)
    if ours.storage is None and stored.grid is not None:
        layout = compute_canonical_geometry(stored.grid.compute_ras_affine(), values.shape[:3], normal, path.name)
        spacing = layout.spacing_mm
        if stored.grid.has_place:
            storage, affine = layout.storage, layout.affine
        else:
            spacing = tuple(np.delete(stored.grid.spacing[::-1], [] if normal is None else [normal]).tolist())
    colour = values.ndim == 4
    pixels = reorient_own_pixels(values if normal is None else values.squeeze(axis=normal), storage)
    is_hu = not colour and looks_like_hu(pixels)
    image = Image(
        pixels=pixels,
        axes=("ZYX" if normal is None else "YX") + ("C" if colour else ""),
        spacing_mm=spacing,
        affine=affine,
        modality="CT" if is_hu else "",
        units="rgb" if colour else "HU" if is_hu else "grey",
        name=path.name[: -len(get_suffix(path))],
        sources=(path,),
        storage=storage,
        notes=() if affine is not None or ours.storage is not None else (_NO_PLACE,),
    )
    return apply_grid(image, ours)
