"""Checks of labels before they are accepted, exported or used for training: swapped sides and other mistakes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.label_places.place import Place, find_bounding_box, make_place
from napari_medseg.core.label_places.specks_and_holes import MAX_PLACES, find_holes, find_specks
from napari_medseg.core.quality.instance_checks import find_fragmented_objects, find_merged_objects
from napari_medseg.core.quality.object_counts import count_object_pixels, iterate_objects
from napari_medseg.core.tasks.absence import explain_absence
from napari_medseg.core.tasks.bundled_tasks import Label, Task

_FULL_SHARE = 0.99
_TINY_PX = 4
_OUTSIDE_SHARE = 0.05
_RAS_X = 0
_VIEWS_WITHOUT_SIDES = ("lateral", "decubitus")


@dataclass(frozen=True)
class Finding:
    """One error or possible error in labels.

    `kind` is ``"shape"``, ``"values"``, ``"sides"``, ``"empty"``, ``"full"``, ``"tiny"`` (a few pixels), ``"specks"``,
    ``"holes"``, ``"off"`` (on the empty frame around the image content) or ``"joined"`` (several objects with one
    number); for corrections also ``"unseen"``, ``"duplicate"`` (of a hold-out image), ``"mixed"`` (labels of another
    case), ``"file"`` (missing or damaged) and the kinds of `label_set_checks`. Labels with a `blocking` finding must
    not be used as ground truth; other findings should be checked by a person. `places` are where it is, at most
    `MAX_PLACES`; empty if it is nowhere in particular. `label` is the value that it is about; 0 for none.
    """

    kind: str
    text: str
    blocking: bool
    label: int = 0
    places: tuple[Place, ...] = ()


def check_labels(labels: NDArray[Any], task: Task, image: Image) -> list[Finding]:
    """Check labels. What is normal in a task is no finding: lesions lie in pieces, enclose tissue, and may be absent.

    Parameters
    ----------
    labels
        Integers on the canonical grid of `image`, (y, x) or (z, y, x).
    task
        The task of the labels.
    image
        The image of the labels.

    Returns
    -------
    list of Finding
        Blocking findings first; empty if the labels are good. If the shape is wrong, that is the only finding.
    """
    if labels.shape != image.spatial_shape:
        text = f"the labels have shape {labels.shape}, the image {image.spatial_shape}: they belong to another image"
        return [Finding("shape", text, blocking=True)]
    found = _check_objects(labels, task) if task.instances else _check_regions(labels, task, image)
    if absence := explain_absence(labels, task, image):
        found = [finding for finding in found if finding.kind != "empty"] + [Finding("empty", absence, blocking=False)]
    return [*found, *_check_outside_image(labels, image)]


def has_swapped_sides(labels: NDArray[Any], task: Task) -> bool:
    """Whether the labels of the patient's right and left side are swapped, by their centres of mass.

    The last axis of canonical images grows to the patient's left, so the right side must have the smaller mean column.
    Returns False if a side is empty or the task has no sides.
    """
    if task.sides is None:
        return False
    right, left = (_compute_mean_column(labels == side) for side in task.sides)
    return right is not None and left is not None and right > left


def swap_sides(labels: NDArray[Any], task: Task) -> NDArray[Any]:
    """Return a copy with the labels of right and left exchanged; unchanged if the task has no sides."""
    if task.sides is None:
        return labels.copy()
    right, left = task.sides
    numbers = np.arange(max(int(labels.max(initial=0)), right, left) + 1, dtype=labels.dtype)
    numbers[[right, left]] = left, right
    swapped: NDArray[Any] = numbers[labels]
    return swapped


def _check_regions(labels: NDArray[Any], task: Task, image: Image) -> list[Finding]:
    counts = _count_voxels(labels, task)
    n_labelled = int(np.count_nonzero(labels))
    findings = []
    if sum(counts.values()) != n_labelled:
        findings.append(_make_unknown_values_finding(labels, task))
    if _shows_both_sides(image) and has_swapped_sides(labels, task):
        findings.append(_make_swapped_sides_finding(task))
    has_lesions = bool(task.field)
    if n_labelled == 0 and not has_lesions:
        findings.append(Finding("empty", "nothing is labelled", blocking=False))
    for label in task.labels:
        if counts[label.value] > _FULL_SHARE * labels.size:
            findings.append(Finding("full", f"{label.name} covers the whole image", blocking=False))
        elif 0 < counts[label.value] <= _TINY_PX:
            text = f"{label.name} has only {_format_count(counts[label.value], 'pixel')} in this image"
            findings.append(Finding("tiny", text, False, label.value, _find_all(labels, labels == label.value)))
        elif counts[label.value] and not has_lesions:
            findings += _find_specks_and_holes(labels, label)
    return findings


def _check_objects(labels: NDArray[Any], task: Task) -> list[Finding]:
    """Check numbered objects: none, one that covers the image, objects in pieces, and joined objects."""
    if not labels.any():
        return [Finding("empty", "nothing is labelled", blocking=False)]
    name = task.labels[0].name
    findings = []
    numbers, areas = count_object_pixels(labels)
    if int(areas.max()) > _FULL_SHARE * labels.size:
        findings.append(Finding("full", f"one {name} covers the whole image", blocking=False))
    tiny = numbers[areas <= _TINY_PX]
    joined = find_merged_objects(labels)
    for kind, found, text in (
        ("tiny", tiny, f"of at most {_TINY_PX} pixels"),
        ("specks", find_fragmented_objects(labels), "in several pieces: give each piece its own number"),
        ("joined", joined, "with a waist: touching objects may be labelled as one"),
    ):
        if len(found):
            places = _find_objects(labels, found[:MAX_PLACES])
            text = f"{_format_object_count(len(found), name)} {text}"
            findings.append(Finding(kind, text, False, task.labels[0].value, places))
    return findings


def _find_objects(labels: NDArray[Any], numbers: NDArray[Any]) -> tuple[Place, ...]:
    """Return where each of these objects is."""
    wanted = np.where(np.isin(labels, numbers), labels, 0)
    return tuple(make_place(labels, box, inside) for box, inside in iterate_objects(wanted))


def _find_all(labels: NDArray[Any], inside: NDArray[np.bool_]) -> tuple[Place, ...]:
    """Return where the true voxels are, as one place."""
    box = find_bounding_box(inside)
    return (make_place(labels, box, inside[box]),)


def _check_outside_image(labels: NDArray[Any], image: Image) -> list[Finding]:
    """Find labels on the uniform frame around the image content, such as that of a rotated or padded image."""
    grey = image.pixels.max(axis=-1) if image.axes.endswith("C") else image.pixels
    n_off = sum(map(_count_on_empty_frame, _split_planes(grey), _split_planes(labels)))
    share = n_off / max(1, int(np.count_nonzero(labels)))
    if share <= _OUTSIDE_SHARE:
        return []
    return [Finding("off", f"{share:.0%} of the labelled pixels lie on the empty frame of the image", blocking=False)]


def _split_planes(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(-1, *array.shape[-2:])


def _count_on_empty_frame(plane: NDArray[Any], labels: NDArray[Any]) -> int:
    """Count labels on the most frequent border value, where it is connected to the border; 0 in a uniform plane."""
    if not labels.any() or plane.min() == plane.max():
        return 0
    border = np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
    values, counts = np.unique(border, return_counts=True)
    may_be_frame = plane == values[counts.argmax()]
    if not (labelled := may_be_frame & (labels != 0)).any():
        return 0  # as in nearly each plane; finding what is connected takes longer
    pieces, n_pieces = ndimage.label(may_be_frame)
    at_border = np.zeros(n_pieces + 1, bool)
    at_border[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = True
    at_border[0] = False
    return int(np.count_nonzero(at_border[pieces[labelled]]))


def _count_voxels(labels: NDArray[Any], task: Task) -> dict[int, int]:
    return {label.value: int(np.count_nonzero(labels == label.value)) for label in task.labels}


def _make_unknown_values_finding(labels: NDArray[Any], task: Task) -> Finding:
    known = [0, *(label.value for label in task.labels)]
    unknown = sorted(int(value) for value in np.setdiff1d(labels, known))
    names = ", ".join(f"{label.value} ({label.name})" for label in task.labels)
    shown = ", ".join(map(str, unknown[:5]))
    text = f"the values {shown} are no labels of {task.title}, which has {names}"
    return Finding("values", text, blocking=True, places=_find_all(labels, labels == unknown[0]))


def _make_swapped_sides_finding(task: Task) -> Finding:
    assert task.sides is not None
    right, left = (task.get_label_name(side) for side in task.sides)
    text = f"{right} and {left} are exchanged: {right} lies on the patient's left, which is the image's right"
    return Finding("sides", text, blocking=True)


def _shows_both_sides(image: Image) -> bool:
    """Whether the columns run from right to left in the patient.

    False in a sagittal plane and in a lateral film, where both sides lie on each other, and in a film of a patient who
    lies on one side, which may be stored turned by 90 degrees.
    """
    if image.affine is None:
        return image.acquisition.view not in _VIEWS_WITHOUT_SIDES
    return int(np.abs(image.affine[:3, 2]).argmax()) == _RAS_X


def _compute_mean_column(inside: NDArray[np.bool_]) -> float | None:
    per_column = np.count_nonzero(inside, axis=tuple(range(inside.ndim - 1)))
    total = int(per_column.sum())
    return float(per_column @ np.arange(per_column.size)) / total if total else None


def _find_specks_and_holes(labels: NDArray[Any], label: Label) -> list[Finding]:
    findings = []
    specks, n_specks, smallest = find_specks(labels, label.value)
    if n_specks:
        text = f"{label.name} has {_format_count(n_specks, 'speck')} (smallest {smallest:,} px)"
        findings.append(Finding("specks", text, False, label.value, tuple(specks)))
    holes, n_holes = find_holes(labels, label.value)
    if n_holes:
        text = f"{label.name} has {_format_count(n_holes, 'hole')}"
        findings.append(Finding("holes", text, False, label.value, tuple(holes)))
    return findings


def _format_object_count(number: int, name: str) -> str:
    return f"1 {name}" if number == 1 else f"{number} objects"


def _format_count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
