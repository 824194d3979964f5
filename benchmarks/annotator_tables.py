"""Tables of the rounds of corrections: the Dice by order, and the seconds of the annotator by round."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from annotator import GOALS, price
from annotator_hand import TimeModel

Row = dict[str, Any]


def format_orders(rows: Sequence[Row]) -> str:
    """Dice on the new source by order, steps of a retrain and round: mean over the seeds, and range."""
    found: dict[tuple[str, str, int], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["kind"] == "round":
            found[row["task"], row["order"], row["steps"]][row["round"]].append(row)
    numbers = sorted({number for rounds in found.values() for number in rounds})
    lines = ["| task | order | steps | " + " | ".join(f"after {n}" for n in numbers) + " | old source |"]
    lines.append("|---" * (len(numbers) + 4) + "|")
    for (task, order, steps), rounds in found.items():
        cells = [_format_range([row["new"] for row in rounds.get(n, [])]) for n in numbers]
        before = {row["seed"]: row["old"] for row in rounds[0]}
        lost = [row["old"] - before[row["seed"]] for n, later in rounds.items() if n for row in later]
        change = f"{min(lost):+.3f} to {max(lost):+.3f}" if lost else ""
        lines.append(f"| {task} | {order} | {steps} | " + " | ".join(cells) + f" | {change} |")
    return "\n".join(lines)


def _format_range(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.fmean(values):.3f} ({min(values):.3f}-{max(values):.3f}, {len(values)})"


def format_seconds(rows: Sequence[Row]) -> str:
    """Mean seconds per case by round, their ratio to the base, and its range when each time is halved or doubled."""
    columns = ("task", "steps", "round", "n", "s before", "s per case", "ratio", "lowest", "highest", "goal reached")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    seconds = [row for row in rows if row["kind"] == "seconds"]
    for task, steps in dict.fromkeys((row["task"], row["steps"]) for row in seconds):
        own = [row for row in seconds if (row["task"], row["steps"]) == (task, steps)]
        for number in sorted({row["round"] for row in own}):
            first, there = (
                {(row["seed"], row["case"]): row for row in own if row["round"] == one and row["reached"]}
                for one in (0, number)
            )
            n_all = sum(row["round"] == number for row in own)
            both = [key for key in there if key in first]
            if not both:
                continue
            ratios = [
                sum(price(there[key], model) for key in both) / sum(price(first[key], model) for key in both)
                for _, model in TimeModel().list_variants()
            ]
            before, mean = (statistics.fmean(price(of[key], TimeModel()) for key in both) for of in (first, there))
            lines.append(
                f"| {task} (goal {GOALS[task]}) | {steps} | {number} | {len(both)} | {before:.1f} | {mean:.1f} | "
                f"{ratios[0]:.2f} | {min(ratios):.2f} | {max(ratios):.2f} | {len(there)} of {n_all} |"
            )
    return "\n".join(lines)
