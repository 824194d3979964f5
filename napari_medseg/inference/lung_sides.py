"""Which parts of a label lie with another label: the patches of one lung that a network paints into the other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

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
    parts, owners = _split_at_bridges(plane, spacing_mm, bridge_mm / 2)
    contacts = _count_contacts(parts, owners)
    contacts[:, 0] = 0
    neighbours = contacts.argmax(axis=1)
    strays = (neighbours != owners) & (contacts.max(axis=1) > 0)
    sizes = np.bincount(parts.ravel(), minlength=len(owners))
    for value in np.unique(owners[1:]):
        strays[np.argmax(np.where(owners == value, sizes, 0))] = False
    moved = np.where(strays, neighbours, owners).astype(plane.dtype)
    plane[...] = moved[parts]


def _labels_touch(plane: Plane) -> bool:
    for first, second in ((plane[:-1], plane[1:]), (plane[:, :-1], plane[:, 1:])):
        if bool(((first != second) & (first > 0) & (second > 0)).any()):
            return True
    return False


def _split_at_bridges(
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
        # An island has the number of a core that it does not touch: it is a part of its own.
        pieces, n_pieces = measure.label(np.where(mask, cores + 1, 0), connectivity=1, return_num=True)
        parts[mask] = pieces[mask] + len(owners) - 1
        owners += [int(value)] * n_pieces
    return parts, np.array(owners)


def _count_contacts(parts: NDArray[np.int32], owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the pixel sides that each part (rows) shares with other parts of each label (columns)."""
    n_values = int(owners.max()) + 1
    contacts = np.zeros((len(owners), n_values), np.int64)
    for first, second in ((parts[:-1], parts[1:]), (parts[:, :-1], parts[:, 1:])):
        differ = (first != second) & (first > 0) & (second > 0)
        for one, other in ((first[differ], second[differ]), (second[differ], first[differ])):
            pairs = one.astype(np.int64) * n_values + owners[other]
            contacts += np.bincount(pairs, minlength=contacts.size).reshape(contacts.shape)
    return contacts
