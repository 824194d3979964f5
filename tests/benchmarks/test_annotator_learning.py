"""Seconds on drafts of learning at Accept: both drafts of a case are compared, if both could be mended."""

import annotator_learning
import numpy as np
from annotator_person import Work

from napari_medseg.core.image import Image
from napari_medseg.core.snapshot import Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import get_task


def make_row(n: int, live: int, learning: int, *, reached: bool = True) -> annotator_learning.Row:
    looks = {"live": live, "learning": learning}
    drafts = {
        key: {"first": 0.5, "reached": reached, "zoom": 1.0, "effort": {"looks": count}} for key, count in looks.items()
    }
    return {"trial": "lungs", "seed": 0, "n": n, **drafts}


def test_only_cases_that_reach_the_goal_from_both_drafts_are_compared() -> None:
    rows = [make_row(4, 10, 5), make_row(8, 10, 10), make_row(8, 1, 100, reached=False)]
    table = annotator_learning.format_table(rows)
    assert "| lungs | 4 | 1 | 0.500, 0.500 | 15.0, 7.5 | 0.50 (0.50-0.50) |" in table
    assert "| lungs | all | 2 | 0.500, 0.500 | 15.0, 11.2 | 0.75 (0.75-0.75) |" in table
    assert annotator_learning.format_table(rows[2:]).count("\n") == 1


def test_labels_that_the_truth_does_not_tell_apart_are_corrected_as_one() -> None:
    draft = np.array([[0, 1, 2]], np.uint8)
    work = Work(get_task("covid"), Image(np.zeros((1, 3), np.uint8), "YX"), draft, draft, None)
    item = SnapshotItem(name="a", image="a", labels="a", group="a", role=Role.TRAIN, label_sets={1: (1, 2)})
    assert annotator_learning.merge_labels(work, item).draft.tolist() == [[0, 1, 1]]
    plain = item.model_copy(update={"label_sets": {}})
    assert annotator_learning.merge_labels(work, plain).draft.tolist() == [[0, 1, 2]]
