"""How much is done, and what the rest takes: no figure before there are enough cases to say so."""

import numpy as np
import pytest

from napari_medseg.workflow.case_list.order import FEATURES, STATES, Features
from napari_medseg.workflow.case_list.progress import ListCounts, Progress, format_minutes
from napari_medseg.workflow.meter.statistics import MIN_CASES, estimate_sum


def make_features(*rows: tuple[str, int, float]) -> Features:
    """Rows of state, planes and seconds; 0 seconds for cases that are not accepted."""
    found = np.zeros(len(rows), FEATURES)
    for number, (state, planes, seconds) in enumerate(rows):
        found[number]["state"], found[number]["planes"] = STATES.index(state), planes
        found[number]["seconds"], found[number]["correction"] = seconds, number + 1 if seconds else 0
        found[number]["version"], found[number]["kind"] = bool(seconds), "images" if planes == 1 else "volumes"
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
    assert measure(make_features(*few)).text == "7 of 8 accepted"
    enough = make_features(*few, ("accepted", 1, 60.0))
    assert measure(enough).text == "8 of 9 accepted, about 1 min left"
    assert ListCounts(enough).case_seconds == 60


def test_a_kind_of_image_is_never_estimated_from_another_one() -> None:
    slices = [("accepted", 1, 60.0)] * MIN_CASES
    unknown = make_features(*slices, ("new", 1, 0.0), ("new", 100, 0.0))
    assert measure(unknown).seconds_left is None, "the time of the volume is not known"
    assert measure(unknown).text == "8 of 10 accepted"
    series = [("accepted", 100, 500.0)] * MIN_CASES
    known = make_features(*slices, *series, ("new", 1, 0.0), ("new", 100, 0.0))
    assert ListCounts(known).expected_seconds[-2:].tolist() == [60, 500]
    assert measure(known).seconds_left == 560


def test_the_newest_version_counts_and_imported_masks_do_not() -> None:
    faster = make_features(*[("accepted", 1, 300.0)] * 200, *[("accepted", 1, 30.0)] * 50, ("predicted", 1, 0.0))
    faster["version"][200:] = 2
    assert measure(faster).seconds_left == 30
    faster["imported"] = True
    assert measure(faster).seconds_left is None


def test_the_range_is_that_of_the_meter() -> None:
    rows = [("accepted", 1, seconds) for seconds in (30.0, 60.0, 90.0, 120.0) * 5] + [("new", 1, 0.0)] * 100
    found = measure(make_features(*rows))
    expected = estimate_sum([seconds for _, _, seconds in rows[:20]], 100)
    assert found.forecast.seconds == expected
    assert found.text.startswith("20 of 120 accepted, about 2 h 5 min left (1 h 4")
    assert found.short_text == "20 of 120 accepted, 2 h 5 min left"


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
