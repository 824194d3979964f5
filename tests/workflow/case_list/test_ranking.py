"""The next case is the one that teaches most per minute of correction."""

from collections.abc import Sequence

import numpy as np
from workflow_phantoms import phantom, phantom_labels, predicted

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.case_list.ranking import find_next_case, needs_prediction, rank_undecided_cases
from napari_medseg.workflow.cases import CaseRow, add_cases, list_cases
from napari_medseg.workflow.review import accept, open_review, record_prediction, reject
from napari_medseg.workflow.workspace import Workspace


def find_case_to_predict(rows: Sequence[CaseRow], model: str) -> Case | None:
    return next((row.case for row in rank_undecided_cases(rows) if needs_prediction(row, model)), None)


def test_uncertain_ones_first_then_the_unpredicted_in_the_order_they_came(ws: Workspace) -> None:
    new = add_cases(ws, [phantom(8), phantom(9)], "lungs")
    sure, unsure = predicted(ws, phantom(0), 0.01)[0], predicted(ws, phantom(1), 0.2)[0]
    order = [unsure, sure, *new]
    assert [row.case.id for row in rank_undecided_cases(list_cases(ws, "lungs"))] == [case.id for case in order]
    seen = [find_next_case(list_cases(ws))]
    for _ in range(4):
        seen.append(find_next_case(list_cases(ws), seen[-1]))
    assert [case.id for case in seen if case] == [case.id for case in [*order, unsure]]


def test_a_volume_must_be_that_much_more_uncertain(ws: Workspace) -> None:
    plane, _ = predicted(ws, phantom(0), 0.05)
    stack = Image(pixels=np.stack([phantom(n).pixels for n in range(4)]), axes="ZYX", name="stack", group="p")
    volume = add_cases(ws, [stack], "lungs")[0]
    labels = np.stack([phantom_labels()] * 4)
    record_prediction(ws, volume, PredictionResult(labels, 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    assert find_next_case(list_cases(ws)) == plane
    record_prediction(ws, volume, PredictionResult(labels, 0.3, None, 1.0, "CPU"), "lungs-unet@1")
    assert find_next_case(list_cases(ws)) == volume


def test_images_unlike_the_training_images_come_first_although_the_model_is_sure(ws: Workspace) -> None:
    new = add_cases(ws, [phantom(8)], "lungs")[0]
    (sure, _), (unsure, _), (foreign, _), (known, _) = (predicted(ws, phantom(n), 0.1 + 0.1 * n) for n in range(4))
    distances = {foreign: 1.4, known: 0.9, sure: 3.0}
    for case, distance in distances.items():
        result = PredictionResult(phantom_labels(), 0.01, None, 1.0, "CPU", domain_distance=distance)
        record_prediction(ws, case, result, "lungs-unet@1")
    rows = rank_undecided_cases(list_cases(ws, "lungs"))
    assert [row.case.id for row in rows] == [case.id for case in (sure, foreign, unsure, known, new)]
    assert [row.is_unlike for row in rows] == [True, True, False, False, False]


def test_decided_cases_leave_the_queue_until_none_is_left(ws: Workspace) -> None:
    first, prediction = predicted(ws, phantom(0), 0.3)
    second, other = predicted(ws, phantom(1), 0.2)
    accept(ws, open_review(ws, first, prediction), phantom_labels(), phantom(0))
    assert find_next_case(list_cases(ws), first) == second
    assert find_next_case(list_cases(ws), second) is None, "there is no other"
    reject(ws, open_review(ws, second, other))
    assert find_next_case(list_cases(ws), second) is None
    assert find_next_case(list_cases(ws)) is None


def test_what_is_predicted_ahead_is_the_first_without_a_prediction_by_this_model(ws: Workspace) -> None:
    new = add_cases(ws, [phantom(8)], "lungs")[0]
    (worked_on, prediction), (untouched, _) = predicted(ws, phantom(0), 0.3), predicted(ws, phantom(1), 0.2)
    open_review(ws, worked_on, prediction).record([5], 0, 1)
    assert find_case_to_predict(list_cases(ws), "lungs-unet@1") == new
    assert find_case_to_predict(list_cases(ws), "lungs-unet@2") == untouched, "a draft keeps what it was made on"
    assert find_case_to_predict([row for row in list_cases(ws) if row.case != new], "lungs-unet@1") is None


def test_a_draft_without_a_prediction_is_not_predicted_ahead(ws: Workspace) -> None:
    case = add_cases(ws, [phantom(8)], "lungs")[0]
    assert find_case_to_predict(list_cases(ws), "lungs-unet@1") == case
    open_review(ws, case, None).record([5], 0, 1)
    assert find_case_to_predict(list_cases(ws), "lungs-unet@1") is None, "its person left the rest empty"
