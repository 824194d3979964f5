"""Ranks of a column stay right while rows come, change and go."""

import numpy as np
import pytest

from napari_medseg.workflow.case_list.column_ranks import ColumnRanks
from napari_medseg.workflow.case_list.columns import make_natural_key


@pytest.mark.parametrize("descending", [False, True])
def test_rows_that_change_are_sorted_as_python_sorts_them(descending: bool) -> None:
    rng = np.random.default_rng(0)
    keys = [(int(n), str(n % 3)) for n in rng.integers(0, 20, 60)]
    ranks = ColumnRanks(keys)

    def check() -> None:
        places = rng.permutation(len(keys))
        wanted = sorted(places.tolist(), key=keys.__getitem__, reverse=descending)
        assert ranks.sort(places, descending=descending).tolist() == wanted

    check()
    for place, number in enumerate(rng.integers(-5, 40, 60).tolist()):
        keys[place] = (number, "x")
        ranks.put(place, keys[place])
    check()
    ranks.extend([(3, "a"), (99, "b"), (3, "a")])
    keys += [(3, "a"), (99, "b"), (3, "a")]
    check()
    kept = np.arange(0, len(keys), 2)
    ranks.keep(kept)
    keys = [keys[place] for place in kept]
    check()


def test_a_list_without_rows_is_sorted() -> None:
    assert ColumnRanks().sort(np.zeros(0, np.intp), descending=True).size == 0


def test_numbers_in_names_are_sorted_by_value() -> None:
    names = ["case 10", "Case 9", "case 009b", "case 1", "case", "10 b", "9 a", f"case {10**40}", f"case {10**39}"]
    assert sorted(names, key=make_natural_key) == [
        "9 a",
        "10 b",
        "case",
        "case 1",
        "Case 9",
        "case 009b",
        "case 10",
        f"case {10**39}",
        f"case {10**40}",
    ]
