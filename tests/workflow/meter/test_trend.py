"""Medians per version, minutes saved and the forecast: figures with intervals, and none of few cases."""

import time

import numpy as np
import pytest
from meter_phantoms import NEW, OLD, make_case, make_row, make_rows

from napari_medseg.workflow.meter.statistics import MIN_CASES, estimate_median, estimate_median_change, estimate_sum
from napari_medseg.workflow.meter.trend import forecast_rest, list_savings, list_version_work


def test_minutes_saved_are_medians_against_the_first_version_of_the_kind() -> None:
    rng = np.random.default_rng(0)
    rows = make_rows(OLD, rng.normal(100, 10, 30)) + make_rows(NEW, rng.normal(40, 5, 60))
    (saving,) = list_savings(rows)
    assert (saving.first, saving.model, saving.n_cases, saving.other_readers) == (OLD, NEW, 60, False)
    assert saving.seconds_per_case.low < saving.seconds_per_case.value < saving.seconds_per_case.high
    assert saving.seconds_per_case.value == pytest.approx(60, abs=6)
    assert saving.minutes.value == pytest.approx(60, abs=6), "60 cases, a minute each"
    assert list_savings(rows) == [saving], "the same cases give the same interval"


def test_one_long_break_does_not_make_a_version_slow() -> None:
    rows = make_rows(OLD, [60.0] * 20) + make_rows(NEW, [30.0] * 19 + [40_000.0])
    (saving,) = list_savings(rows)
    assert saving.seconds_per_case.value == 30.0


def test_a_slower_version_saves_less_than_nothing() -> None:
    (saving,) = list_savings(make_rows(OLD, [30.0] * 9) + make_rows(NEW, [50.0] * 9))
    assert saving.minutes.value == pytest.approx(-3.0)


def test_few_cases_give_no_figure() -> None:
    few = MIN_CASES - 1
    assert list_savings(make_rows(OLD, [60.0] * few) + make_rows(NEW, [30.0] * 50)) == []
    assert list_savings(make_rows(OLD, [60.0] * 50) + make_rows(NEW, [30.0] * few)) == []
    (work,) = list_version_work(make_rows(OLD, [60.0] * few))
    assert (work.n_cases, work.seconds, work.dice, work.edited_share) == (few, None, None, None)
    third = make_rows(OLD, [1.0]) + make_rows(NEW, [30.0] * 8) + make_rows("lungs-unet@3", [20.0] * 8)
    assert [(saving.first, saving.model) for saving in list_savings(third)] == [(NEW, "lungs-unet@3")]


def test_kinds_are_not_mixed_and_other_people_are_told() -> None:
    slices = make_rows(OLD, [20.0] * 9) + make_rows(NEW, [10.0] * 9, who="reader 2")
    volumes = [make_row(OLD, 600.0, n_slices=60) for _ in range(9)]
    (saving,) = list_savings([*slices, *volumes])
    assert (saving.kind, saving.other_readers) == ("images", True)
    assert {work.kind: work.seconds.value for work in list_version_work([*slices, *volumes]) if work.model == OLD} == {
        "images": 20.0,
        "volumes of 50 to 199 slices": 600.0,
    }


def test_labels_without_time_count_for_dice_but_not_for_seconds() -> None:
    (work,) = list_version_work(make_rows(OLD, [0.0] * 10))
    assert (work.n_cases, work.n_timed, work.seconds) == (10, 0, None)
    assert work.dice.value == pytest.approx(0.9)
    assert work.edited_share.value == pytest.approx(0.1)


def test_the_forecast_is_of_the_newest_version_and_of_each_kind() -> None:
    rows = make_rows(OLD, [100.0] * 30) + make_rows(NEW, [30.0] * 10)
    rows += make_rows(OLD, [100.0] * 3, who="reader 2")  # second readings of older drafts
    forecast = forecast_rest(rows, [make_case(n) for n in range(20)] + [make_case(99, n_slices=60)])
    assert (forecast.n_left, forecast.n_unknown) == (21, 1)
    assert forecast.seconds.value == pytest.approx(600.0)
    assert forecast_rest(rows[:3], [make_case()]).seconds is None
    assert forecast_rest(rows, []).n_left == 0


def test_the_range_of_a_forecast_holds_what_came_true() -> None:
    rng = np.random.default_rng(1)
    n_inside = 0
    for _ in range(100):
        known, new = rng.lognormal(3, 0.6, 40), rng.lognormal(3, 0.6, 60)
        estimate = estimate_sum(known, new.size)
        n_inside += estimate.low <= new.sum() <= estimate.high
    assert n_inside >= 88, "95 % are meant; the bootstrap of 40 is a little narrow"


def test_intervals_hold_the_true_change() -> None:
    rng = np.random.default_rng(2)
    n_inside = 0
    for _ in range(60):
        change = estimate_median_change(rng.lognormal(4, 0.5, 20), rng.lognormal(3, 0.5, 20))
        n_inside += change.low <= np.exp(3) - np.exp(4) <= change.high
    assert n_inside >= 52


def test_ten_thousand_corrections_take_no_second() -> None:
    rows = make_rows(OLD, list(range(1, 5001))) + make_rows(NEW, list(range(1, 5001)))
    began = time.process_time()
    list_savings(rows)
    list_version_work(rows)
    forecast_rest(rows, [make_case(n) for n in range(10_000)])
    assert time.process_time() - began < 1.0
    assert estimate_median(range(1, 5001)).value == 2500.5
