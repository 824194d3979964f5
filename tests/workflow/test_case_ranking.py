"""The next case is the one that teaches most per minute of correction."""

import numpy as np
from workflow_phantoms import phantom, phantom_labels, predicted

from napari_medseg.core.image import Image
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.case_ranking import (
    DEFAULT_S_PER_PLANE,
    estimate_seconds_per_plane,
    find_next_case,
    rank_undecided_cases,
)
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import accept, open_review, record_prediction, reject
from napari_medseg.workflow.workspace import Workspace


def test_uncertain_ones_first_then_the_unpredicted_in_the_order_they_came(ws: Workspace) -> None:
    new = add_cases(ws, [phantom(8), phantom(9)], "lungs")
    sure, unsure = predicted(ws, phantom(0), 0.01)[0], predicted(ws, phantom(1), 0.2)[0]
    order = [unsure, sure, *new]
    assert [row.case.id for row in rank_undecided_cases(ws, "lungs")] == [case.id for case in order]
    seen = [find_next_case(ws)]
    for _ in range(4):
        seen.append(find_next_case(ws, seen[-1]))
    assert [case.id for case in seen if case] == [case.id for case in [*order, unsure]]


def test_a_volume_must_be_that_much_more_uncertain(ws: Workspace) -> None:
    plane, _ = predicted(ws, phantom(0), 0.05)
    stack = Image(pixels=np.stack([phantom(n).pixels for n in range(4)]), axes="ZYX", name="stack", group="p")
    volume = add_cases(ws, [stack], "lungs")[0]
    labels = np.stack([phantom_labels()] * 4)
    record_prediction(ws, volume, PredictionResult(labels, 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    assert find_next_case(ws) == plane
    record_prediction(ws, volume, PredictionResult(labels, 0.3, None, 1.0, "CPU"), "lungs-unet@1")
    assert find_next_case(ws) == volume


def test_decided_cases_leave_the_queue_until_none_is_left(ws: Workspace) -> None:
    first, prediction = predicted(ws, phantom(0), 0.3)
    second, other = predicted(ws, phantom(1), 0.2)
    accept(ws, open_review(ws, first, prediction), phantom_labels(), phantom(0))
    assert find_next_case(ws, first) == second
    assert find_next_case(ws, second) is None, "there is no other"
    reject(ws, open_review(ws, second, other))
    assert find_next_case(ws, second) is None
    assert find_next_case(ws) is None


def test_pace_comes_from_what_was_corrected(ws: Workspace) -> None:
    assert estimate_seconds_per_plane(ws) == DEFAULT_S_PER_PLANE
    for number, seconds in enumerate((10.0, 30.0)):
        case, prediction = predicted(ws, phantom(number))
        draft = open_review(ws, case, prediction)
        draft.add_seconds(seconds)
        accept(ws, draft, draft.labels, phantom(number))
    assert estimate_seconds_per_plane(ws) == 20.0
