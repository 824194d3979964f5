import itertools
import time

import pytest

from napari_medseg.core.errors import MedSegError
from training.schedule import SCHEDULES, TimeBudget, get_cycle, get_schedule


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_rates_warm_up_and_stay_between_nothing_and_all(name: str) -> None:
    schedule = get_schedule(name)
    rates = [schedule(step / 200) for step in range(201)]
    assert 0 < rates[0] < 0.1
    assert max(rates) > 0.9
    assert all(0 <= rate <= 1 for rate in rates)


def test_cosine_and_linear_end_at_nothing() -> None:
    assert get_schedule("cosine")(1.0) == pytest.approx(0, abs=1e-9)
    assert get_schedule("linear")(1.0) == 0
    assert get_schedule("cosine")(0.5) == pytest.approx(0.5)


def test_an_unknown_schedule_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="constant"):
        get_schedule("zigzag")


def test_without_a_budget_steps_count() -> None:
    clock = TimeBudget(time.monotonic())
    assert clock.compute_progress(5, 20) == 0.25
    assert clock.remaining_training_s() == float("inf")


def test_with_a_budget_the_clock_counts_where_it_is_further() -> None:
    clock = TimeBudget(time.monotonic() - 30.0, budget_s=100.0, reserved_s=20.0, training_started_s=10.0)
    assert clock.compute_progress(0, 100) == pytest.approx(20 / 70, abs=0.01)
    assert clock.compute_progress(90, 100) == 0.9
    assert clock.remaining_training_s() == pytest.approx(50.0, abs=0.5)


def test_seconds_of_earlier_processes_count() -> None:
    clock = TimeBudget(time.monotonic(), budget_s=100.0, carried_s=60.0)
    assert clock.elapsed_s() == pytest.approx(60.0, abs=0.5)
    assert clock.remaining_training_s() == pytest.approx(40.0, abs=0.5)


def test_half_of_a_budget_at_most_is_reserved_for_the_evaluation() -> None:
    clock = TimeBudget(time.monotonic(), budget_s=100.0)
    clock.reserve_for_evaluation(30.0)
    assert (clock.reserved_s, clock.overrun_s) == (30.0, 0.0)
    clock = TimeBudget(time.monotonic(), budget_s=100.0)
    clock.reserve_for_evaluation(80.0)
    assert (clock.reserved_s, clock.overrun_s) == (50.0, 30.0)


def test_cycles_restart_warm_and_each_ends_at_nothing() -> None:
    schedule = get_schedule("cosine", n_cycles=3)
    rates = [schedule(step / 90) for step in range(91)]
    assert rates[29] < 0.01
    assert rates[30] == pytest.approx(1.0), "the rate jumps back at once"
    assert rates[59] < 0.01
    assert rates[60] == pytest.approx(1.0)
    assert rates[90] == pytest.approx(0.0)
    assert [get_cycle(step / 90, 3) for step in (0, 29, 30, 59, 60, 90)] == [0, 0, 1, 1, 2, 2]


def test_one_cycle_rises_for_three_tenths_and_falls_to_nearly_nothing() -> None:
    schedule = get_schedule("one_cycle")
    rates = [schedule(step / 100) for step in range(101)]
    assert max(range(101), key=rates.__getitem__) == 30
    assert rates[30] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(1e-4)
    assert all(later > earlier for earlier, later in itertools.pairwise(rates[:31]))
