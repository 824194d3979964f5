"""Short texts on the progress of a slide."""

import pytest

from napari_medseg.workflow.whole_slide.prediction import SlideProgress
from napari_medseg.workflow.whole_slide.texts import describe_progress


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (SlideProgress(0, 1, 0), "0 of 1 chunk"),
        (SlideProgress(1, 9, 1, 35.0), "1 of 9 chunks, 1 object, 35 s left"),
        (SlideProgress(9, 9, 2100), "9 of 9 chunks, 2,100 objects"),
    ],
)
def test_one_is_not_many(progress: SlideProgress, text: str) -> None:
    assert describe_progress(progress) == text
