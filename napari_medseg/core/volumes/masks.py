"""Read MetaImage and NRRD files as masks on the grid of their image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError
from napari_medseg.core.formats.discovery import METAIMAGE_SUFFIXES, get_suffix
from napari_medseg.core.formats.gantry_tilt import is_sheared, straighten_affine
from napari_medseg.core.formats.grid_metadata import GRID_KEY
from napari_medseg.core.formats.labels import format_size
from napari_medseg.core.formats.mask_channels import choose_mask_channel
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskOrientation, MaskPlacement, PlacedMask, place_mask
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_file
from napari_medseg.core.image import GRID_TOLERANCE_MM, Image
from napari_medseg.core.nifti.header import came_from_nifti
from napari_medseg.core.volumes.metaimage import read_metaimage_values
from napari_medseg.core.volumes.nrrd import read_nrrd_values
from napari_medseg.core.volumes.segments import SEG_NRRD_SUFFIX, read_segment_values
from napari_medseg.core.volumes.stored_volume import StoredVolume, make_image


def read_volume_mask(
    path: Path, image: Image | None, placement: MaskPlacement = AS_STATED, expected_bytes: int | None = None
) -> PlacedMask:
    """Read a mask in canonical order; parameters and errors as of `label_reader.read_mask`.

    A file that covers a part of the image, as 3D Slicer crops segmentations, is laid into an empty mask.
    """
    stored = _read_values(path, expected_bytes)
    notes: tuple[str, ...] = ()
    if stored.values.ndim == 4:
        channel = choose_mask_channel(stored.values, path.name)
        stored, notes = StoredVolume(channel.values, stored.grid, stored.fields), channel.notes
    found = make_image(path, stored, keeps_thin_axes=image is not None and len(image.spatial_axes) == 3)
    if image is None:
        return PlacedMask(found.pixels, notes)
    is_placed = found.affine is not None or GRID_KEY in stored.fields
    if is_placed and (image.affine is not None or GRID_KEY in stored.fields) and not placement.same_voxels:
        pixels, more = _lay_on_grid(found, image, path.name)
        return PlacedMask(pixels, (*notes, *more))
    in_file = reorient_to_file(found.pixels, found.storage or make_identity_storage(found.pixels.ndim))
    default = MaskOrientation.SHOWN if came_from_nifti(image) else None
    placed = place_mask(in_file, image, placement, None if placement.same_voxels else default)
    _refuse_other_size(placed.pixels, image, path.name)
    return replace(placed, notes=(*notes, *placed.notes))


def read_volume_mask_image(path: Path) -> Image:
    """Read a mask on its own grid; errors as of `label_reader.read_mask_image`."""
    stored = _read_values(path, None)
    if stored.values.ndim == 4:
        stored = StoredVolume(choose_mask_channel(stored.values, path.name).values, stored.grid, stored.fields)
    return make_image(path, stored)


def _read_values(path: Path, expected_bytes: int | None) -> StoredVolume:
    suffix = get_suffix(path)
    if suffix == SEG_NRRD_SUFFIX:
        return read_segment_values(path, expected_bytes)
    if suffix in METAIMAGE_SUFFIXES:
        return read_metaimage_values(path, expected_bytes)
    return read_nrrd_values(path, expected_bytes)


def _lay_on_grid(found: Image, image: Image, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the pixels on the grid of the image, and remarks; the grids may differ by whole voxels."""
    if found.affine is None or image.affine is None:
        _refuse_other_size(found.pixels, image, name)
        return found.pixels, ()
    n_axes = len(image.spatial_axes)
    if found.pixels.ndim != n_axes:
        _refuse_other_size(found.pixels, image, name)
    for affine in _list_affines(image):
        offset = _find_offset(found.affine, affine, n_axes)
        if offset is not None and found.pixels.shape == image.spatial_shape and not any(offset):
            return found.pixels, ()
        if offset is not None and not _reaches_out(found.pixels.shape, offset, image.spatial_shape):
            whole = np.zeros(image.spatial_shape, found.pixels.dtype)
            whole[tuple(slice(at, at + n) for at, n in zip(offset, found.pixels.shape, strict=True))] = found.pixels
            part = f"{format_size(found.pixels.shape)} of {format_size(image.spatial_shape)} voxels"
            return whole, (f"it covers {part}; the others are background",)
    _refuse_other_size(found.pixels, image, name)
    raise HeaderMismatchError(
        f"{name} does not fit on {image.name}: its spacing, position or orientation in the patient differs. "
        "Choose the labels that were made on this image."
    )


def _list_affines(image: Image) -> list[NDArray[np.float64]]:
    """Return the matrix of an image, and of a tilted series also the one with which ITK reads it."""
    if image.affine is None:
        return []
    straight = len(image.spatial_axes) == 3 and is_sheared(image.affine)
    return [image.affine, *([straighten_affine(image.affine, 0)] if straight else [])]


def _find_offset(found: NDArray[np.float64], affine: NDArray[np.float64], n_axes: int) -> tuple[int, ...] | None:
    """Return the voxel of the image at which a mask starts; `None` if the grids differ by more than whole voxels."""
    used = slice(3 - n_axes, 3)  # of a plane, the thickness of the slice does not matter
    if not np.allclose(found[:3, used], affine[:3, used], atol=GRID_TOLERANCE_MM):
        return None
    step = np.linalg.lstsq(affine[:3, used], found[:3, 3] - affine[:3, 3], rcond=None)[0]
    offset = np.rint(step)
    if np.abs(affine[:3, used] @ offset + affine[:3, 3] - found[:3, 3]).max() > GRID_TOLERANCE_MM:
        return None
    return tuple(int(each) for each in offset)


def _reaches_out(shape: tuple[int, ...], offset: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return any(at < 0 or at + n > size for at, n, size in zip(offset, shape, whole, strict=True))


def _refuse_other_size(pixels: NDArray[Any], image: Image, name: str) -> None:
    if pixels.shape != image.spatial_shape:
        raise GridMismatchError(
            f"{name} has {format_size(pixels.shape)} voxels, but {image.name} has "
            f"{format_size(image.spatial_shape)}. Choose the labels that were made on this image."
        )
