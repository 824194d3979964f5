"""Measure what gain the promotion gate can see with so many held-out groups, for the changes of real retrains.

The changes of the groups of a run, patients, slides or videos, are drawn with replacement (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993) after their mean was replaced by the gain. Prints a table of `docs/retraining.md`.

`python benchmarks/comparison_share.py RUN_DIR ...`
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.quality.confidence import compute_gain_p_value
from napari_medseg.core.quality.promotion_gate import MIN_GAIN, compute_allowed_error
from training.evaluation.run_verdict import read_compared_cases

N_GROUPS = (5, 10, 20, 40, 60)
N_TRIALS = 4000
POWER = 0.8
GAINS = np.round(np.geomspace(MIN_GAIN, 0.5, 60), 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="+", help="folders of runs that compared versions")
    options = parser.parse_args(arguments)
    lines = [f"| run | groups, spread | {' | '.join(map(str, N_GROUPS))} |", f"|{'---|' * (len(N_GROUPS) + 2)}"]
    for run_dir in options.run_dirs:
        changes = read_group_changes(run_dir)
        cells = [format_gain(find_smallest_gain(changes, n_groups)) for n_groups in N_GROUPS]
        lines.append(f"| {run_dir.name} | {len(changes)}, {changes.std(ddof=1):.3f} | {' | '.join(cells)} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def read_group_changes(run_dir: Path) -> NDArray[np.float64]:
    """Return the mean change of the score of each group that a run compared, shape (n_groups,)."""
    groups: dict[str, list[float]] = defaultdict(list)
    for case in read_compared_cases(run_dir):
        groups[case.group or case.case].append(case.new - case.old)
    return np.array([fmean(changes) for changes in groups.values()])


def find_smallest_gain(changes: NDArray[np.float64], n_groups: int, seed: int = 0) -> float:
    """Return the smallest true gain that a first comparison of `n_groups` groups finds in 80 % of all trials.

    Infinite if none up to 0.5 is. Drops of single cases are not simulated: they make the gate stricter.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.choice(changes - changes.mean(), (N_TRIALS, n_groups))
    allowed = compute_allowed_error(0)
    for gain in GAINS:
        values = drawn + gain
        found = (compute_gain_p_value(values) <= allowed) & (values.mean(axis=1) >= MIN_GAIN)
        if found.mean() >= POWER:
            return float(gain)
    return float("inf")


def format_gain(gain: float) -> str:
    """Format a gain, or say that none is found."""
    return f"{gain:.3f}" if np.isfinite(gain) else "none"


if __name__ == "__main__":
    sys.exit(main())
