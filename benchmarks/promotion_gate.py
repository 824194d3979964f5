"""Measure the promotion gate by simulation: coverage of its interval, errors, power, and repeated comparisons.

Prints the tables of `docs/retraining.md` as Markdown; three minutes on one core, the same numbers each time.

`python benchmarks/promotion_gate.py`
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.quality.confidence import compute_gain_p_value, compute_lower_bound
from napari_medseg.core.quality.promotion_gate import CONFIDENCE, Decision, compute_allowed_error, decide_promotion

N_GROUPS = (5, 7, 10, 13, 20, 30, 50)
N_COMPARISONS = 10
OLD_SCORE = 0.8
Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (t, 3 df)": lambda rng, shape: rng.standard_t(3, shape),
    "1 to 20 cases per patient": lambda rng, shape: rng.standard_normal(shape) / np.sqrt(rng.integers(1, 20, shape)),
    "ties": lambda rng, shape: np.round(rng.standard_normal(shape)),
    "70 % zero": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.3),
    "rare large gains (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1.0,
    "rare large losses (exponential)": lambda rng, shape: 1.0 - rng.exponential(size=shape),
    "rare large losses (lognormal, 0.5)": lambda rng, shape: np.exp(0.125) - np.exp(0.5 * rng.standard_normal(shape)),
    "very large gains (lognormal, 1)": lambda rng, shape: np.exp(rng.standard_normal(shape)) - np.exp(0.5),
    "very large losses (lognormal, 1)": lambda rng, shape: np.exp(0.5) - np.exp(rng.standard_normal(shape)),
    "one in ten loses nine times what the others gain": lambda rng, shape: (
        np.where(rng.random(shape) < 0.1, -0.9, 0.1) + 0.1 * rng.standard_normal(shape)
    ),
}
"""Changes whose true mean is 0."""


@dataclass(frozen=True)
class SimulatedCase:
    """Old and new score of one hold-out case."""

    case: str
    old: float
    new: float
    group: str = ""
    metric: str = "Dice"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40_000, help="of coverage and errors; power: one in a hundred")
    options = parser.parse_args(arguments)
    columns = [f"{n} patients" for n in N_GROUPS]
    coverage, repeated = [], []
    for name, draw in DISTRIBUTIONS.items():
        measured = [measure_errors(draw, n, options.trials) for n in N_GROUPS]
        coverage.append([name, *(f"{inside:.3f} / {above:.3f}" for above, inside, _, _ in measured)])
        repeated.append([name, *(f"{first:.3f} / {ever:.3f}" for _, _, first, ever in measured)])
    print_table("Coverage of the 90 % interval / lower end above the true mean", ["changes", *columns], coverage)
    print_table("Called better without a gain: first comparison / any of ten", ["changes", *columns], repeated)
    rows = []
    for noise, gain in itertools.product((0.02, 0.05, 0.1), (0.01, 0.02, 0.05)):
        cells = []
        for n in N_GROUPS:
            shares = [measure_power(n, gain, noise, k, options.trials // 100) for k in (0, 3, 9)]
            cells.append(" / ".join(f"{share:.2f}" for share in shares))
        rows.append([f"gain {gain:g}, noise {noise:g}", *cells])
    print_table("Called better with a gain: 1st / 4th / 10th comparison", ["true change", *columns], rows)
    rows = []
    for drop, noise in itertools.product((0.1, 0.2, 0.3), (0.02, 0.05, 0.1)):
        shares = [measure_refusals(n, drop, noise, options.trials // 100) for n in N_GROUPS]
        rows.append([f"loses {drop:g}, noise {noise:g}", *(f"{share:.2f}" for share in shares)])
    print_table("Not promoted, if all patients gain 0.05 but one loses", ["change of one patient", *columns], rows)
    return 0


def measure_errors(draw: Draw, n_groups: int, n_trials: int) -> tuple[float, float, float, float]:
    """Return error and coverage of the interval, and errors of the first and of any of ten comparisons.

    The rules for single cases are left out: they only refuse more.
    """
    values = draw(np.random.default_rng(n_groups), (n_trials, n_groups))
    above = np.mean(compute_lower_bound(values, CONFIDENCE) > 0)
    below = np.mean(compute_lower_bound(-values, CONFIDENCE) > 0)
    chances = compute_gain_p_value(values)
    passed = [np.mean(chances <= compute_allowed_error(k)) for k in range(N_COMPARISONS)]
    return float(above), float(1 - above - below), float(passed[0]), float(1 - np.prod(1 - np.array(passed)))


def measure_power(n_groups: int, gain: float, noise: float, n_earlier: int, n_trials: int) -> float:
    """Return how often the whole gate calls a version with this true gain better; each patient has one case."""
    rng = np.random.default_rng([n_groups, n_earlier])
    found = [decide(rng.normal(gain, noise, n_groups), n_earlier) for _ in range(n_trials)]
    return sum(one is Decision.BETTER for one in found) / n_trials


def measure_refusals(n_groups: int, drop: float, noise: float, n_trials: int) -> float:
    """Return how often the gate does not pass a version that gains 0.05, but makes one patient worse by `drop`."""
    rng = np.random.default_rng(n_groups)
    found = [decide([*rng.normal(0.05, noise, n_groups - 1), -drop], 0) for _ in range(n_trials)]
    return sum(one is not Decision.BETTER for one in found) / n_trials


def decide(changes: Sequence[float] | NDArray[np.float64], n_earlier: int) -> Decision:
    """Apply the gate to changes of single cases."""
    rows = [SimulatedCase(f"case {number}", OLD_SCORE, OLD_SCORE + change) for number, change in enumerate(changes)]
    return decide_promotion(rows, n_earlier=n_earlier).decision


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    print(f"\n{title}:\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    sys.exit(main())
