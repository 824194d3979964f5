"""Which parts of a label lie with another label: the patches of one lung that a network paints into the other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.unsignedinteger[Any]]


def reassign_stray_parts(plane: Plane, spacing_mm: tuple[float, float], bridge_mm: float) -> None:
    """Change, in place, parts of a label that touch another label more than they touch their own.

    A part is what an opening with a disc of diameter `bridge_mm` cuts off; a label's largest part is never changed.

    Parameters
    ----------
    plane
        Labels (y, x).
    spacing_mm
        Millimetres per pixel (y, x).
    bridge_mm
        Parts that hang together by less are told apart.
    """
    if not _labels_touch(plane):
        return
    parts, owners = _cut(plane, spacing_mm, bridge_mm / 2)
    contacts = _contacts(parts, len(owners))
    sizes = np.bincount(parts.ravel(), minlength=len(owners))
    main = {value: int(np.argmax(np.where(owners == value, sizes, 0))) for value in np.unique(owners[1:])}
    values = np.arange(int(owners.max()) + 1)
    for part in range(1, len(owners)):
        if part == main[owners[part]]:
            continue
        to_label = np.array([contacts[part, owners == value].sum() for value in values])
        to_label[0] = 0
        if (neighbour := int(to_label.argmax())) != owners[part] and to_label[neighbour] > 0:
            plane[parts == part] = neighbour


def _labels_touch(plane: Plane) -> bool:
    for first, second in ((plane[:-1], plane[1:]), (plane[:, :-1], plane[:, 1:])):
        if bool(((first != second) & (first > 0) & (second > 0)).any()):
            return True
    return False


def _cut(
    plane: Plane, spacing_mm: tuple[float, float], radius_mm: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return parts, numbered from 1, and the label that each belongs to (index 0 is background)."""
    parts = np.zeros(plane.shape, np.int32)
    owners = [0]
    for value in np.unique(plane[plane > 0]):
        mask = plane == value
        cores, count = ndimage.label(ndimage.distance_transform_edt(mask, sampling=spacing_mm) > radius_mm)
        if count:
            nearest = ndimage.distance_transform_edt(
                cores == 0, sampling=spacing_mm, return_distances=False, return_indices=True
            )
            cores = np.where(mask, cores[tuple(nearest)], 0)
        pieces = _connected(cores, mask)
        parts[mask] = pieces[mask] + len(owners) - 1
        owners += [int(value)] * int(pieces.max())
    return parts, np.array(owners)


def _connected(cores: NDArray[np.int32], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Split every core's share where it is not connected: an island has the number of a core that it does not touch."""
    pieces = np.zeros(mask.shape, np.int32)
    total = 0
    for core in range(int(cores.max()) + 1):
        found, count = ndimage.label(mask & (cores == core))
        pieces[found > 0] = found[found > 0] + total
        total += count
    return pieces


def _contacts(parts: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Count the pixel sides that each two parts share."""
    contacts = np.zeros((count, count), np.int64)
    for first, second in ((parts[:-1], parts[1:]), (parts[:, :-1], parts[:, 1:])):
        differ = (first != second) & (first > 0) & (second > 0)
        np.add.at(contacts, (first[differ], second[differ]), 1)
    return contacts + contacts.T
