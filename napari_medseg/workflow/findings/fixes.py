"""What a tool can mend by itself: specks, holes, exchanged sides. Each fix is one edit, so one undo takes it back."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.whole_label import swap_labels
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_places.place import MARGIN_PX, Place
from napari_medseg.core.label_places.specks_and_holes import find_holes, find_specks
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.tasks.bundled_tasks import Task

MakeFix = Callable[[Canvas], Edit]


def make_fix(finding: Finding, task: Task) -> tuple[str, MakeFix] | None:
    """Return how a tool mends a finding: the text of its button and what makes the edit; `None` if no tool can.

    The edit is made from the labels as they are then; `MedSegError` if nothing of the finding is left in them.
    """
    if finding.kind == "sides" and task.sides is not None:
        right, left = task.sides
        return f"Swap {task.get_label_name(right)} and {task.get_label_name(left)}", lambda canvas: swap_labels(
            canvas, right, left
        )
    if task.instances or not finding.places or finding.kind not in ("specks", "holes"):
        return None
    digests = frozenset(place.digest for place in finding.places)
    if finding.kind == "specks":
        return "Remove specks", lambda canvas: remove_found_specks(canvas, finding.label, digests)
    return "Fill holes", lambda canvas: fill_found_holes(canvas, finding.label, digests)


def remove_found_specks(canvas: Canvas, value: int, digests: frozenset[str] = frozenset()) -> Edit:
    """Give each speck of a label the value that surrounds most of it: background, or the label that it lies in.

    Parameters
    ----------
    canvas
        Labels of the case.
    value
        The label.
    digests
        Of the places to mend; those with other labels now are left alone. Empty: all specks.
    """
    places = _select(find_specks(canvas.labels, value)[0] if (canvas.labels == value).any() else [], digests)
    changes = []
    for place in places:
        inside = _connect(canvas.labels[place.box] == value, place)
        changes.append(Change(place.box, inside, _find_surrounding_value(canvas.labels, place, inside)))
    name, count = canvas.name(value), f"{len(places):,} speck{'s' * (len(places) != 1)}"
    return canvas.make_edit(f"removed {count} of {name}", changes, f"{name} has none of these specks any more.")


def fill_found_holes(canvas: Canvas, value: int, digests: frozenset[str] = frozenset()) -> Edit:
    """Fill what a label encloses with it; other labels in a hole stay. Parameters as of `remove_found_specks`."""
    places = _select(find_holes(canvas.labels, value)[0] if (canvas.labels == value).any() else [], digests)
    changes = []
    for place in places:
        enclosed = _connect(canvas.labels[place.box] != value, place)
        inside = enclosed & (canvas.labels[place.box] == 0)
        changes.append(Change(place.box, inside, value))
    name, count = canvas.name(value), f"{len(places):,} hole{'s' * (len(places) != 1)}"
    nothing = f"{name} has none of these holes any more, or another label lies in them."
    return canvas.make_edit(f"filled {count} of {name}", changes, nothing)


def _select(places: Sequence[Place], digests: frozenset[str]) -> list[Place]:
    return [place for place in places if not digests or place.digest in digests]


def _connect(wanted: NDArray[np.bool_], place: Place) -> NDArray[np.bool_]:
    """Return which of the wanted voxels of its box are connected with its centre: the speck or hole itself."""
    pieces = ndimage.label(wanted)[0]
    own = tuple(at - first for at, first in zip(place.centre, place.start, strict=True))
    return np.asarray(pieces == pieces[own])


def _find_surrounding_value(labels: NDArray[np.generic], place: Place, inside: NDArray[np.bool_]) -> int:
    around = tuple(slice(max(0, side.start - MARGIN_PX), side.stop + MARGIN_PX) for side in place.box)
    whole = np.zeros(labels[around].shape, np.bool_)
    own = tuple(
        slice(side.start - wide.start, side.stop - wide.start) for side, wide in zip(place.box, around, strict=True)
    )
    whole[own] = inside
    rim = ndimage.binary_dilation(whole) & ~whole
    values = Counter(labels[around][rim].tolist())
    if not values:
        raise MedSegError("this speck fills the whole image. Correct it by hand.")
    return int(values.most_common(1)[0][0])
