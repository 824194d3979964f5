"""How much is done, and what the rest takes: no figure before there are enough cases to say so."""

import numpy as np
import pytest

from napari_medseg.workflow.case_list.order import FEATURES, STATES, Features
from napari_medseg.workflow.case_list.progress import (
    MIN_CASES,
    ListCounts,
    Progress,
    estimate_seconds,
    format_minutes,
)


def make_features(*rows: tuple[str, int, float]) -> Features:
    """Rows of state, planes and seconds; 0 seconds for cases that are not accepted."""
    found = np.zeros(len(rows), FEATURES)
    for number, (state, planes, seconds) in enumerate(rows):
        found[number]["state"], found[number]["planes"] = STATES.index(state), planes
        found[number]["seconds"], found[number]["correction"] = seconds, number + 1 if seconds else 0
    return found


def measure(features: Features) -> Progress:
    return ListCounts(features).progress


def test_counts_and_hours() -> None:
    rows = [("accepted", 1, 60.0)] * 212 + [("rejected", 1, 0.0)] * 38 + [("new", 1, 0.0)] * 250
    found = measure(make_features(*rows))
    assert found.text == "212 of 500 accepted, 38 rejected, about 4 h 10 min left"
    assert found.short_text == "212 of 500 accepted, 4 h 10 min left"
    assert found.shortest_text == "212 of 500, 4 h 10 left"


def test_no_time_before_there_are_enough_cases() -> None:
    few = [("accepted", 1, 60.0)] * (MIN_CASES - 1) + [("new", 1, 0.0)]
    assert measure(make_features(*few)).text == "4 of 5 accepted"
    enough = make_features(*few, ("accepted", 1, 60.0))
    assert measure(enough).text == "5 of 6 accepted, about 1 min left"
    assert ListCounts(enough).case_seconds == 60


def test_series_are_estimated_by_their_planes_and_never_from_single_slices() -> None:
    slices = [("accepted", 1, 60.0)] * 5
    unknown = make_features(*slices, ("new", 1, 0.0), ("new", 100, 0.0))
    assert measure(unknown).seconds_left is None
    series = [("accepted", 100, 500.0)] * 5
    expected = estimate_seconds(make_features(*slices, *series, ("new", 1, 0.0), ("new", 200, 0.0)))
    assert expected[-2:].tolist() == [60, 1000]


def test_the_newest_cases_count_and_imported_masks_do_not() -> None:
    faster = make_features(*[("accepted", 1, 300.0)] * 200, *[("accepted", 1, 30.0)] * 50, ("predicted", 1, 0.0))
    assert measure(faster).seconds_left == 30
    faster["imported"] = True
    assert measure(faster).seconds_left is None


def test_nothing_is_left_when_all_is_done() -> None:
    assert measure(make_features(*[("accepted", 1, 60.0)] * 9)).text == "9 of 9 accepted"
    assert measure(make_features()).text == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 min"),
        (89, "1 min"),
        (1500, "25 min"),
        (7800, "2 h 10 min"),
        (3590, "1 h"),
        (360_000, "100 h"),
        (38_000, "10 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_minutes(seconds) == text
