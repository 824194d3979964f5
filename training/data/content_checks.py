"""Whether the planes of a run contain anything to learn: the last check before a training, however it is started."""

from collections.abc import Sequence

import numpy as np

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.label_set_checks import LabelContent, describe_nothing_to_learn
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.dataset import LabelledImage, LabelledPlane
from training.data.label_sets import unmark_certain


def refuse_nothing_to_learn(images: Sequence[LabelledImage]) -> None:
    """Refuse training images, replayed ones included, without any label, or with only one, or without any structure.

    Raises
    ------
    MedSegError
        If a network could learn nothing from them; the text says why.
    """
    if problem := describe_nothing_to_learn([_summarise(image) for image in images]):
        raise MedSegError(f"there is nothing to learn: {problem}.")


def find_classes(planes: Sequence[LabelledPlane]) -> list[int]:
    """Return the foreground classes that occur in the planes, in ascending order."""
    found = {int(value) for plane in planes for value in np.unique(unmark_certain(plane.labels))}
    return sorted(found - {0, IGNORE_INDEX})


def _summarise(image: LabelledImage) -> LabelContent:
    counts: dict[int, int] = {}
    for plane in image.planes:
        for value, number in zip(*np.unique(unmark_certain(plane.labels), return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(number)
    counts.pop(IGNORE_INDEX, None)
    n_pixels = sum(counts.values())
    counts.pop(0, None)
    return LabelContent(counts, n_pixels, all(_is_constant(plane) for plane in image.planes))


def _is_constant(plane: LabelledPlane) -> bool:
    """Whether each channel of the prepared plane has one value everywhere, apart from padding."""
    rows, columns = plane.unpadded_shape or plane.labels.shape
    picture = plane.views[0][:, :rows, :columns]
    return bool((picture.max(axis=(1, 2)) == picture.min(axis=(1, 2))).all())
