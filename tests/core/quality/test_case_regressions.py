"""Cases and patients that lose more than noise explains."""

import numpy as np
import pytest

from napari_medseg.core.quality.case_regressions import find_regressions

MARGIN = 0.02


def one_case_each(*changes: float) -> dict[str, list[tuple[str, float]]]:
    return {f"p{number}": [(f"case {number}", change)] for number, change in enumerate(changes)}


@pytest.mark.parametrize("n_cases", [5, 10, 30, 100])
def test_noise_is_rarely_called_a_regression(n_cases: int) -> None:
    rng = np.random.default_rng(n_cases)
    trials = [find_regressions(one_case_each(*rng.normal(0.0, 0.05, n_cases)), MARGIN) for _ in range(300)]
    assert np.mean([bool(found) for found in trials]) < 0.09


def test_a_small_drop_among_steady_cases_is_found_and_the_same_drop_in_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    steady, noisy = rng.normal(0.05, 0.005, 29), rng.normal(0.05, 0.05, 29)
    assert [one.name for one in find_regressions(one_case_each(*steady, -0.04), MARGIN)] == ["case 29"]
    assert "case 29" not in [one.name for one in find_regressions(one_case_each(*noisy, -0.04), MARGIN)]
    assert find_regressions(one_case_each(*steady, -0.015), MARGIN) == []


def test_several_lost_cases_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    found = find_regressions(one_case_each(*rng.normal(0.05, 0.02, 24), *(-0.3,) * 6), MARGIN)
    assert {one.name for one in found} == {f"case {number}" for number in range(24, 30)}


def test_many_small_drops_of_one_patient_are_one_regression() -> None:
    rng = np.random.default_rng(0)
    changes = {
        f"p{number}": [(f"{number}.{n}", change) for n, change in enumerate(rng.normal(0.05, 0.06, 8))]
        for number in range(12)
    }
    assert find_regressions(changes, MARGIN) == []
    changes["p3"] = [(name, -0.06) for name, _ in changes["p3"]]
    (found,) = find_regressions(changes, MARGIN)
    assert (found.name, found.is_group, round(found.change, 2)) == ("p3", True, -0.06)


def test_with_few_patients_every_drop_beyond_the_margin_counts() -> None:
    assert [one.name for one in find_regressions(one_case_each(0.3, -0.03, 0.2, -0.1), MARGIN)] == ["case 3", "case 1"]
    assert find_regressions(one_case_each(-0.01), MARGIN) == []
