"""Nothing to learn, and labels that do not occur: seen only over all images together."""

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_set_checks import (
    NOTHING_TO_LEARN,
    LabelContent,
    check_label_set,
    is_constant_image,
    summarise_labels,
)
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import TASKS

LUNGS, NUCLEI = TASKS["lungs"], TASKS["nuclei"]
BOTH, RIGHT, LEFT = (LabelContent(counts, 100) for counts in ({1: 9, 2: 8}, {1: 9}, {2: 8}))
EMPTY, FULL, SAME = LabelContent({}, 100), LabelContent({1: 100}, 100), LabelContent({1: 9, 2: 8}, 100, True)
TRAIN, VALIDATE, REPLAY, HOLD_OUT = Role.TRAIN, Role.VALIDATE, Role.REPLAY, Role.HOLD_OUT


@pytest.mark.parametrize(
    ("contents", "kinds", "text"),
    [
        ([(TRAIN, BOTH), (HOLD_OUT, BOTH)], [], ""),
        ([(TRAIN, EMPTY), (TRAIN, BOTH)], [], ""),
        ([(TRAIN, EMPTY)] * 6, [NOTHING_TO_LEARN], "nothing is labelled in all 6 training images"),
        ([(TRAIN, EMPTY), (HOLD_OUT, BOTH)], [NOTHING_TO_LEARN], "nothing is labelled in the only training image"),
        ([(TRAIN, EMPTY), (REPLAY, BOTH)], [], ""),
        ([(TRAIN, FULL)] * 2, [NOTHING_TO_LEARN], "one label covers all 2 training images"),
        ([(TRAIN, FULL), (TRAIN, EMPTY), (TRAIN, BOTH)], [], ""),
        ([(TRAIN, SAME)] * 2, [NOTHING_TO_LEARN], "every pixel has the same value in all 2"),
        ([(TRAIN, RIGHT), (HOLD_OUT, RIGHT)], ["does not occur"], "left lung does not occur in any of the 2 images"),
        ([(TRAIN, RIGHT), (HOLD_OUT, BOTH)], ["does not occur"], "left lung does not occur in the training images"),
        ([(TRAIN, BOTH), (HOLD_OUT, LEFT)], ["does not occur"], "right lung does not occur in the hold-out images"),
        ([(TRAIN, BOTH), (VALIDATE, LEFT)], ["does not occur"], "right lung does not occur in the validation images"),
        ([(TRAIN, BOTH), (HOLD_OUT, EMPTY)], ["does not occur"], "no hold-out image has a label"),
        ([(HOLD_OUT, BOTH)], [], ""),
        ([], [], ""),
    ],
)
def test_the_whole_set_is_checked(contents: list[tuple[Role, LabelContent]], kinds: list[str], text: str) -> None:
    found = check_label_set(LUNGS, contents)
    assert [finding.kind for finding in found] == kinds
    assert [finding.blocking for finding in found] == [kind == NOTHING_TO_LEARN for kind in kinds]
    assert text in "".join(finding.text for finding in found)


def test_the_content_of_labels_is_counted_without_unlabelled_pixels() -> None:
    labels = np.array([[0, 1, 1, 2]], np.uint8)
    image = Image(np.arange(4, dtype=np.uint8).reshape(1, 4), "YX")
    assert summarise_labels(labels, LUNGS, image) == LabelContent({1: 2, 2: 1}, 4)
    assert summarise_labels(labels, LUNGS, image, labels < 2) == LabelContent({1: 2}, 3)
    assert summarise_labels(labels, LUNGS, image, labels == 1).is_filled
    assert summarise_labels(labels * 100, NUCLEI, image) == LabelContent({1: 3}, 4), "objects are one label"


def test_a_constant_image_has_one_value_in_each_channel() -> None:
    flat = np.full((4, 4, 3), (9, 8, 7), np.uint8)
    assert is_constant_image(Image(flat, "YXC", units="rgb"))
    flat[0, 0] = 0
    assert not is_constant_image(Image(flat, "YXC", units="rgb"))
