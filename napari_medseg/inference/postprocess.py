"""Postprocessing of labels: named steps, as listed on the card; lengths are in millimetres if the spacing is known.

A volume with known spacing is processed in 3D. A stack without spacing may consist of unrelated images: it is processed
plane by plane, with 1 mm per pixel.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.model_card import PostprocessingStep
from napari_medseg.inference.connected_parts import drop_parts_apart

Labels = NDArray[np.unsignedinteger[Any]]
Spacing = tuple[float, ...] | None


def apply_postprocessing_step(labels: Labels, step: PostprocessingStep, spacing_mm: Spacing) -> None:
    """Apply one step in place, because copying a large volume takes longer than processing it.

    Parameters
    ----------
    labels
        Unsigned integers (y, x) or (z, y, x).
    step
        Its name is a key of `POSTPROCESSING_STEPS`, its options are parameters of that function.
    spacing_mm
        Millimetres per pixel, one for each axis of `labels`; `None` where unknown: then planes are cleaned one by one,
        and a pixel counts as 1 mm.

    Raises
    ------
    MedSegError
        If the step or an option is unknown; the text lists the choices.
    """
    function = look_up(POSTPROCESSING_STEPS, step.name, "step of postprocessing")
    choices = list(inspect.signature(function).parameters)[2:]
    if unknown := sorted(step.options.keys() - set(choices)):
        raise MedSegError(f"the step {step.name} has no options {unknown}; choose among {choices}")
    function(labels, spacing_mm, **step.options)


def keep_largest_component_per_label(labels: Labels, spacing_mm: Spacing, min_share: float = 1.0) -> None:
    """Keep the largest connected part of each label, in place.

    Parameters
    ----------
    labels, spacing_mm
        (y, x) or (z, y, x); as of `apply_postprocessing_step`.
    min_share
        Other parts stay, too, from this share of the largest one's voxels on; in (0, 1].
    """
    for block in _iterate_blocks(labels, spacing_mm):
        for value, box in _iterate_label_boxes(block):
            parts, sizes = _find_components(block[box] == value)
            _clear_components(block[box], parts, sizes < min_share * sizes.max())


def drop_small_components(
    labels: Labels, spacing_mm: Spacing, min_area_mm2: float = 0.0, min_volume_ml: float = 0.0
) -> None:
    """Drop connected parts below a size, in place.

    Parameters
    ----------
    labels, spacing_mm
        (y, x) or (z, y, x); as of `apply_postprocessing_step`.
    min_area_mm2
        Smallest part of a plane that stays, mm2; also of each plane of a stack without spacing.
    min_volume_ml
        Smallest part of a volume that stays, millilitres.
    """
    in_volume = labels.ndim == 3 and spacing_mm is not None
    smallest = min_volume_ml * 1000.0 if in_volume else min_area_mm2
    for block in _iterate_blocks(labels, spacing_mm):
        voxel = float(np.prod(spacing_mm[-block.ndim :])) if spacing_mm else 1.0
        for value, box in _iterate_label_boxes(block):
            parts, sizes = _find_components(block[box] == value)
            _clear_components(block[box], parts, sizes * voxel < smallest)


def dilate(labels: Labels, spacing_mm: Spacing, radius_mm: float = 1.0) -> None:
    """Grow labels into the background by a distance in the plane, in place; of two labels the nearer one grows.

    Parameters
    ----------
    labels, spacing_mm
        (y, x) or (z, y, x); as of `apply_postprocessing_step`.
    radius_mm
        The distance, mm.
    """
    spacing = (spacing_mm[-2], spacing_mm[-1]) if spacing_mm else (1.0, 1.0)
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        if plane.any():
            distance, nearest = ndimage.distance_transform_edt(plane == 0, sampling=spacing, return_indices=True)
            plane[...] = np.where(distance <= radius_mm, plane[tuple(nearest)], 0)


def fill_holes(labels: Labels, spacing_mm: Spacing, max_area_mm2: float = 300.0) -> None:
    """Fill holes up to an area in each plane; a hole gets the most frequent label on its rim.

    In planes also for a volume: vessels, which are to be part of a lung, are closed in a slice and open in space.

    Parameters
    ----------
    labels, spacing_mm
        (y, x) or (z, y, x), changed in place; as of `apply_postprocessing_step`.
    max_area_mm2
        Largest hole that is filled, mm2.
    """
    largest = max_area_mm2 / (float(np.prod(spacing_mm[-2:])) if spacing_mm else 1.0)
    for plane in _iterate_planes(labels):
        holes, sizes = _find_components(plane == 0)
        open_ = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
        closed = np.setdiff1d(np.flatnonzero(sizes <= largest) + 1, open_)
        boxes = ndimage.find_objects(holes) if closed.size else []
        for number in closed:
            around = tuple(slice(side.start - 1, side.stop + 1) for side in boxes[number - 1])
            hole = holes[around] == number
            rim = plane[around][ndimage.binary_dilation(hole) & ~hole]
            plane[around][hole] = np.bincount(rim[rim > 0]).argmax()


def separate_touching_lungs(labels: Labels, spacing_mm: Spacing, bridge_mm: float = 6.0) -> None:
    """Where two labels touch, relabel parts of one label that are inside the other.

    In planes: a network that confuses the sides where lungs meet in front of the heart paints a patch of one lung into
    the other, hanging on a bridge thinner than `bridge_mm` or on none. Without this, the patch would be dropped as a
    small component or, worse, join both lungs.

    Parameters
    ----------
    labels, spacing_mm
        (y, x) or (z, y, x), changed in place; as of `apply_postprocessing_step`.
    bridge_mm
        Parts of a label that hang together by less are told apart, mm.
    """
    spacing = (spacing_mm[-2], spacing_mm[-1]) if spacing_mm else (1.0, 1.0)
    for plane in _iterate_planes(labels):
        reassign_stray_parts(plane, spacing, bridge_mm)


def reassign_stray_parts(plane: Labels, spacing_mm: tuple[float, float], bridge_mm: float) -> None:
    """Relabel, in place, parts of a label that touch another label more than they touch their own label.

    Parts are separated by an opening with a disc of diameter `bridge_mm`; a label's largest part is never changed.

    Parameters
    ----------
    plane
        Labels (y, x).
    spacing_mm
        Millimetres per pixel (y, x).
    bridge_mm
        Parts that are connected by a thinner bridge are separated.
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


def make_consistent_over_slices(labels: Labels, spacing_mm: Spacing, min_overlap: float = 0.6) -> None:
    """Give a component of a slice the label at the same position in the neighbouring slice.

    From the slice with most labels outwards; parts that overlap the other label by at least `min_overlap` of their area
    are changed. Volumes only: slices of unknown spacing may be of different patients.

    Parameters
    ----------
    labels, spacing_mm
        (z, y, x), changed in place; two dimensions, or spacing `None`, change nothing.
    min_overlap
        Share of a part's area, in (0, 1].
    """
    if labels.ndim != 3 or spacing_mm is None:
        return
    areas = np.count_nonzero(labels, axis=(1, 2))
    middle = int(areas.argmax())
    steps = [(plane, plane - 1) for plane in range(middle + 1, len(labels))]
    steps += [(plane, plane + 1) for plane in range(middle - 1, -1, -1)]
    for plane, before in steps:
        if areas[plane] and areas[before]:
            _relabel_from_neighbour(labels[plane], labels[before], min_overlap)


def _relabel_from_neighbour(plane: Labels, neighbour: Labels, min_overlap: float) -> None:
    changes = []
    for value, box in _iterate_label_boxes(plane):
        parts, sizes = _find_components(plane[box] == value)
        for number, part_box in enumerate(ndimage.find_objects(parts), start=1):
            inside = parts[part_box] == number
            votes = np.bincount(neighbour[box][part_box][inside], minlength=value + 1)
            votes[0] = 0
            winner = int(votes.argmax())
            if winner != value and votes[winner] >= min_overlap * sizes[number - 1]:
                changes.append((plane[box][part_box], inside, winner))
    for view, inside, winner in changes:  # only now, so that no component is processed twice
        view[inside] = winner


POSTPROCESSING_STEPS: dict[str, Callable[..., None]] = {
    "largest_component_per_label": keep_largest_component_per_label,
    "dilate": dilate,
    "drop_parts_apart": drop_parts_apart,
    "drop_small": drop_small_components,
    "fill_holes": fill_holes,
    "separate_touching_lungs": separate_touching_lungs,
    "consistent_over_slices": make_consistent_over_slices,
}


def _iterate_planes(labels: Labels) -> Iterator[Labels]:
    """Yield a view of each plane, cropped to its labels plus one pixel on each side (within the plane)."""
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
        if rows.size:
            yield plane[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]


def _iterate_blocks(labels: Labels, spacing_mm: Spacing) -> Iterator[Labels]:
    """Yield views to process: the whole volume, or each plane of a stack of unknown spacing."""
    if spacing_mm is None:
        yield from _iterate_planes(labels)
    else:
        yield labels


def _iterate_label_boxes(block: Labels) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield each label that occurs, with its bounding box."""
    for index, box in enumerate(ndimage.find_objects(block)):
        if box is not None:
            yield index + 1, box


def _find_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return connected parts, numbered from 1, and their sizes in voxels."""
    parts, count = ndimage.label(mask)
    # counts only inside the mask: a volume is mostly background, and counting that takes longer than labelling
    return parts, np.bincount(parts[mask], minlength=count + 1)[1:]


def _clear_components(view: Labels, parts: NDArray[np.int32], dropped: NDArray[np.bool_]) -> None:
    """Set the dropped components to background, in place."""
    if dropped.any():
        view[np.concatenate([[False], dropped])[parts]] = 0


def _labels_touch(plane: Labels) -> bool:
    for first, second in ((plane[:-1], plane[1:]), (plane[:, :-1], plane[:, 1:])):
        if bool(((first != second) & (first > 0) & (second > 0)).any()):
            return True
    return False


def _split_at_bridges(
    plane: Labels, spacing_mm: tuple[float, float], radius_mm: float
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
        # An island has the number of a core that it does not touch: it becomes a separate part.
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
