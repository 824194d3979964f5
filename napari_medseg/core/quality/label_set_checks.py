"""Checks over all labelled images of a run: whether there is anything to learn, and which labels occur on which side.

A single image without a label is a good example. A whole set without one teaches nothing, and scores perfectly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import Task

NOTHING_TO_LEARN, DOES_NOT_OCCUR, CONSTANT = "nothing to learn", "does not occur", "constant image"
_SIDES = {Role.VALIDATE: "validation", Role.HOLD_OUT: "hold-out"}


@dataclass(frozen=True)
class LabelContent:
    """What the labels and the image of one case contain.

    Parameters
    ----------
    counts
        Number of pixels by label value, without background and unlabelled pixels; in an instance task, all objects
        count as label 1.
    n_pixels
        Number of pixels that are not unlabelled.
    is_constant
        Whether all pixels of the image have the same value.
    """

    counts: Mapping[int, int]
    n_pixels: int
    is_constant: bool = False

    @property
    def is_filled(self) -> bool:
        """Whether a single label covers all pixels."""
        return len(self.counts) == 1 and sum(self.counts.values()) == self.n_pixels


def summarise_labels(
    labels: NDArray[np.integer[Any]], task: Task, image: Image, counted: NDArray[np.bool_] | None = None
) -> LabelContent:
    """Count the labels of one case.

    Parameters
    ----------
    labels
        Label values or object numbers, on the grid of the image.
    task
        The task of the labels.
    image
        The image of the labels.
    counted
        Pixels that are labelled or background; `None`: all of them.
    """
    chosen = labels.ravel() if counted is None else labels[counted]
    values, numbers = np.unique(chosen > 0 if task.instances else chosen, return_counts=True)
    counts = {int(value): int(number) for value, number in zip(values, numbers, strict=True) if value}
    return LabelContent(counts, int(chosen.size), is_constant_image(image))


def is_constant_image(image: Image) -> bool:
    """Whether each channel of an image has the same value everywhere."""
    flat = image.pixels.reshape(-1, image.pixels.shape[-1] if image.axes.endswith("C") else 1)
    return bool((flat == flat[0]).all())


def check_label_set(task: Task, contents: Sequence[tuple[Role, LabelContent]]) -> list[Finding]:
    """Check the labels of all images of a run.

    Parameters
    ----------
    task
        The task of the labels.
    contents
        Role and content of each image. Replayed images count as training images.

    Returns
    -------
    list of Finding
        Without the name of an image. `NOTHING_TO_LEARN` blocks training.
    """
    learnt = [content for role, content in contents if role in (Role.TRAIN, Role.REPLAY)]
    if problem := describe_nothing_to_learn(learnt):
        return [Finding(NOTHING_TO_LEARN, problem, blocking=True)]
    findings = [] if task.instances or not contents else list(_find_absent_labels(task, contents))
    findings += _find_unlabelled_sides(contents)
    return findings


def describe_nothing_to_learn(learnt: Sequence[LabelContent]) -> str:
    """Return why a network can learn nothing from these images; empty if it can, or if there are none."""
    if not learnt:
        return ""
    n_images = f"all {len(learnt)} training images" if len(learnt) > 1 else "the only training image"
    if not any(content.counts for content in learnt):
        return f"nothing is labelled in {n_images}. Give masks with labels"
    first = next(iter(learnt[0].counts), None)
    if all(content.is_filled and next(iter(content.counts)) == first for content in learnt):
        return f"one label covers {n_images} completely. Give masks with background, too"
    if all(content.is_constant for content in learnt):
        return f"every pixel has the same value in {n_images}. Give images that show something"
    return ""


def list_absent_labels(task: Task, contents: Sequence[LabelContent]) -> list[str]:
    """Return the names of labels that occur in none of the images, in the order of the task."""
    found = {value for content in contents for value in content.counts}
    return [label.name for label in task.labels if label.value not in found]


def _find_absent_labels(task: Task, contents: Sequence[tuple[Role, LabelContent]]) -> Iterator[Finding]:
    """Find labels that do not occur: anywhere, in training, or on a side that judges."""
    everywhere = [content for _, content in contents]
    learnt = [content for role, content in contents if role in (Role.TRAIN, Role.REPLAY)]
    nowhere, unlearnt = list_absent_labels(task, everywhere), list_absent_labels(task, learnt) if learnt else []
    for name in nowhere:
        text = f"{name} does not occur in any of the {len(contents)} images: it is not learnt and gets no score"
        yield Finding(DOES_NOT_OCCUR, text, blocking=False)
    for name in unlearnt:
        if name not in nowhere:
            text = f"{name} does not occur in the training images, only in others: it cannot be learnt"
            yield Finding(DOES_NOT_OCCUR, text, blocking=False)
    for role, side in _SIDES.items():
        there = [content for each, content in contents if each is role]
        if not any(content.counts for content in there):
            continue
        for name in list_absent_labels(task, there):
            if name not in nowhere:
                text = f"{name} does not occur in the {side} images: it gets no score there"
                yield Finding(DOES_NOT_OCCUR, text, blocking=False)


def _find_unlabelled_sides(contents: Sequence[tuple[Role, LabelContent]]) -> Iterator[Finding]:
    for role, side in _SIDES.items():
        there = [content for each, content in contents if each is role]
        if there and not any(content.counts for content in there):
            text = f"no {side} image has a label: they cannot tell whether a model finds anything"
            yield Finding(DOES_NOT_OCCUR, text, blocking=False)
