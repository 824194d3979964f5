"""How many cases are predicted ahead, from measured costs."""

import pytest

from napari_medseg.workflow.case_list.predict_ahead import MAX_AHEAD, PredictionCost, choose_number_ahead

CACHE = 2 * 10**9


@pytest.mark.parametrize(
    ("seconds", "case_seconds", "n_bytes", "expected"),
    [
        (0, None, 0, 300),  # nothing measured yet
        (2, 60, 10**5, 300),  # ten minutes of computing
        (0.1, 60, 10**5, MAX_AHEAD),  # as on a GPU
        (100, 600, 10**7, 6),  # a series on a CPU
        (600, 5, 10**5, 360),  # the model is slower than the person: half an hour of work
        (900, 3600, 10**5, 3),  # never none
        (2, 60, 10**8, 10),  # half of the cache
        (2, 60, 10**10, 1),  # one is larger than the cache
    ],
)
def test_number_of_cases(seconds: float, case_seconds: float | None, n_bytes: int, expected: int) -> None:
    assert choose_number_ahead(PredictionCost(seconds, n_bytes), case_seconds, CACHE) == expected


def test_the_newest_measurements_count_most() -> None:
    cost = PredictionCost()
    for seconds in [10.0] * 5 + [1.0] * 10:
        cost = cost.add(seconds, 100)
    assert 1 < cost.seconds < 1.5
    assert cost.n_bytes == 100
