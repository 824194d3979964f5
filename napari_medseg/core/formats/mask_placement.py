"""Lay a mask on the grid of its image: as the image is shown, as its pixels are stored, or by the size."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError
from napari_medseg.core.formats.labels import format_size
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_canonical
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.nifti.header import came_from_nifti


class MaskOrientation(StrEnum):
    """How a mask lies that does not say so: as its image is shown, or as the pixels of its image are stored."""

    SHOWN = "shown"
    STORED = "stored"


@dataclass(frozen=True)
class MaskPlacement:
    """What a person knows about the grid of masks.

    Parameters
    ----------
    orientation
        How masks lie that do not say so; `None`: the size decides, or else the kind of the image.
    same_voxels
        Whether each mask has the voxels of its image in the same order, so that orientation, position and spacing in
        the mask's header are ignored.
    """

    orientation: MaskOrientation | None = None
    same_voxels: bool = False


AS_STATED = MaskPlacement()


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """A mask on the grid of its image.

    Parameters
    ----------
    pixels
        (y, x) or (z, y, x) in canonical order, values as in the file.
    notes
        Remarks for the user about how the file was read, without its name.
    orientation
        How the mask lies in its file, if its size shows this; else `None`.
    is_guess
        Whether the mask may as well lie the other way: neither its file nor its size tells.
    """

    pixels: NDArray[Any]
    notes: tuple[str, ...] = ()
    orientation: MaskOrientation | None = None
    is_guess: bool = False


def place_mask(
    values: NDArray[Any], image: Image, placement: MaskPlacement, default: MaskOrientation | None
) -> PlacedMask:
    """Lay a mask that does not say how it lies on the grid of its image.

    Parameters
    ----------
    values
        (rows, columns) or (pages, rows, columns) as in the file.
    image
        The image that the mask belongs to.
    placement
        What is known about the mask.
    default
        How it lies if nothing is known and both ways fit; `None`: as stored, without a doubt.

    Returns
    -------
    PlacedMask
        With the unchanged values if no way fits.

    Raises
    ------
    GridMismatchError
        If the mask fits the image only the other way than `placement.orientation` says.
    """
    ways = _list_ways(values, image)
    if not ways:
        return PlacedMask(values)
    if (wanted := placement.orientation) is not None:
        if wanted not in ways:
            raise GridMismatchError(
                f"the mask has {format_size(values.shape)} pixels, which fit {image.name} only as it is "
                f"{next(iter(ways))}. Leave out --mask-orientation {wanted}."
            )
        return PlacedMask(ways[wanted])
    if len(ways) == 1:
        orientation, pixels = next(iter(ways.items()))
        return PlacedMask(pixels, orientation=orientation)
    if default is None or np.array_equal(ways[MaskOrientation.SHOWN], ways[MaskOrientation.STORED]):
        return PlacedMask(ways[MaskOrientation.STORED])
    other = next(way for way in MaskOrientation if way is not default)
    note = (
        f"the image is not stored as it is shown, and the mask does not say how it lies: it was taken to lie as the "
        f"image is {default}. If that is wrong, add --mask-orientation {other}"
    )
    return PlacedMask(ways[default], (note,), is_guess=True)


def get_row_storage(image: Image) -> StorageLayout:
    """Storage layout of an image as pages, rows and columns: that of a NIfTI file, whose first axis is x, reversed."""
    n_axes = len(image.spatial_axes)
    if image.storage is None or len(image.storage.flips) != n_axes:
        return make_identity_storage(n_axes)
    if not came_from_nifti(image):
        return image.storage
    return StorageLayout(tuple(n_axes - 1 - axis for axis in image.storage.permutation), image.storage.flips)


def _list_ways(values: NDArray[Any], image: Image) -> dict[MaskOrientation, NDArray[Any]]:
    """Return the ways in which a mask fits an image by its size."""
    storage = get_row_storage(image)
    if values.ndim != len(storage.flips):
        return {}
    ways = {MaskOrientation.SHOWN: values, MaskOrientation.STORED: reorient_to_canonical(values, storage)}
    return {way: pixels for way, pixels in ways.items() if pixels.shape == image.spatial_shape}
