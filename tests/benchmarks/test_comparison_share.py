"""The smallest gain that the gate can see: smaller with more groups, larger with a wider spread, none without hope."""

import math

import comparison_share
import numpy as np


def test_the_smallest_gain_falls_with_the_groups_and_rises_with_the_spread() -> None:
    changes = np.random.default_rng(0).normal(0.3, 0.05, 40)
    few, more = (comparison_share.find_smallest_gain(changes, n_groups) for n_groups in (10, 40))
    assert more < few < 0.1
    assert comparison_share.find_smallest_gain(2.0 * changes, 10) > few
    assert few > 0.05 * 2.7 / math.sqrt(10), "the gate is stricter than a t test"
    assert comparison_share.find_smallest_gain(100.0 * changes, 5) == math.inf
