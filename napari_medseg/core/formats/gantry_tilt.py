"""Series whose slices are shifted against each other (gantry tilt): their grid is sheared, which ITK does not open.

ITK (3D Slicer, ITK-SNAP, nnU-Net, SimpleITK) reads such a DICOM series as if the slices lay straight on top of each
other. `straighten_affine` is that grid. `straighten` moves the slices instead, so that each lies at its place in the
patient.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

_TOLERANCE = 1e-4  # cosine of the angle between two axes: 0.006 degrees


def is_sheared(affine: NDArray[np.float64] | None) -> bool:
    """Whether the axes of a 4x4 matrix are not perpendicular; False for `None`."""
    if affine is None:
        return False
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(unit.T @ unit, np.eye(3), atol=_TOLERANCE)


def straighten_affine(affine: NDArray[np.float64], stack_axis: int) -> NDArray[np.float64]:
    """Return the matrix with which ITK reads the slices of a tilted series.

    Parameters
    ----------
    affine
        4x4, index to millimetres.
    stack_axis
        Index (0 to 2) of the axis along which the slices are stacked. It becomes perpendicular to the slices; its
        spacing stays the distance between slice origins, which is longer than the distance between their planes.
    """
    straight = affine.copy()
    step = affine[:3, stack_axis]
    normal = _compute_normal(affine, stack_axis)
    straight[:3, stack_axis] = normal * np.linalg.norm(step)
    return straight


def straighten(image: Image, layers: list[NDArray[Any]]) -> tuple[Image, list[NDArray[Any]]]:
    """Move the slices of a tilted series to an upright grid in the patient.

    Each slice is moved by whole pixels and is at most half a pixel from its true place. No value is interpolated, so
    every label keeps its number of voxels, and a voxel its volume.

    Parameters
    ----------
    image
        A volume (z, y, x) with an affine.
    layers
        Labels or masks on its grid, (z, y, x).

    Returns
    -------
    Image
        Larger than `image` by the shift. New pixels have its lowest value; its matrix has perpendicular axes.
    list of NDArray
        The layers on the new grid; new voxels are 0.

    Raises
    ------
    MedSegError
        If the slices are no parallelograms stacked along one axis.
    """
    assert image.affine is not None
    axis = find_stack_axis(image)
    affine = image.affine.copy()
    in_plane = [n for n in range(3) if n != axis]
    if is_sheared(straighten_affine(affine, axis)):
        raise MedSegError(f"{image.name} has slices that are skewed in their plane, which cannot be straightened.")
    normal = _compute_normal(affine, axis)
    step = affine[:3, axis]
    spacing = np.linalg.norm(affine[:3, in_plane], axis=0)
    drift = np.array([step @ affine[:3, n] for n in in_plane]) / spacing**2  # pixels from slice to slice
    shifts = np.rint(np.outer(np.arange(image.spatial_shape[axis]), drift)).astype(int)
    shifts -= (lowest := shifts.min(axis=0))
    affine[:3, 3] += affine[:3, in_plane] @ lowest
    affine[:3, axis] = normal * (step @ normal)
    pixels = _move_slices(image.pixels, axis, shifts, image.pixels.min())
    moved = replace(
        image,
        pixels=pixels,
        affine=affine,
        spacing_mm=tuple(float(value) for value in np.linalg.norm(affine[:3, :3], axis=0)),
        storage=None,
    )
    return moved, [_move_slices(layer, axis, shifts, layer.dtype.type(0)) for layer in layers]


def compute_tilt_degrees(image: Image) -> float:
    """Angle in degrees between the direction in which slices are stacked and their normal; 0 without an affine."""
    if image.affine is None:
        return 0.0
    axis = find_stack_axis(image)
    step = image.affine[:3, axis]
    cosine = float(step @ _compute_normal(image.affine, axis) / np.linalg.norm(step))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def find_stack_axis(image: Image) -> int:
    """Return the canonical axis (0 to 2) along which the slices of a volume are stacked in its file.

    The first axis of a file of rows and columns, the last one of a NIfTI file.
    """
    if image.storage is None or len(image.storage.permutation) != 3:
        return 0
    return image.storage.permutation.index(2 if image.storage.nifti_header else 0)


def _compute_normal(affine: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the unit vector perpendicular to the other two axes, on the side to which `axis` points."""
    others = [affine[:3, n] for n in range(3) if n != axis]
    normal = np.cross(others[0], others[1])
    unit: NDArray[np.float64] = normal * (np.sign(normal @ affine[:3, axis]) / np.linalg.norm(normal))
    return unit


def _move_slices(pixels: NDArray[Any], axis: int, shifts: NDArray[np.int_], fill: Any) -> NDArray[Any]:  # noqa: ANN401
    """Move each slice along `axis` in its plane by its (non-negative) shift in pixels, into an array that holds all."""
    stack = np.moveaxis(pixels, axis, 0)
    height, width = stack.shape[1] + shifts[:, 0].max(), stack.shape[2] + shifts[:, 1].max()
    canvas = np.full((len(stack), height, width, *stack.shape[3:]), fill, stack.dtype)
    for plane, (down, right), target in zip(stack, shifts, canvas, strict=True):
        target[down : down + plane.shape[0], right : right + plane.shape[1]] = plane
    return np.ascontiguousarray(np.moveaxis(canvas, 0, axis))
