"""Tables of the rounds of corrections: the Dice by order, and the seconds of the annotator by round."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from annotator import GOALS, price
from annotator_hand import TimeModel

Row = dict[str, Any]


def format_orders(rows: Sequence[Row]) -> str:
    """Dice on the new source by order and round: mean over the seeds, and range."""
    found: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "round":
            found[row["task"], row["order"], row["round"]].append(row)
    numbers = sorted({number for _, _, number in found})
    lines = ["| task | order | " + " | ".join(f"after {n}" for n in numbers) + " | old source |"]
    lines.append("|---" * (len(numbers) + 3) + "|")
    for task, order in dict.fromkeys((task, order) for task, order, _ in found):
        cells = [_format_range([row["new"] for row in found.get((task, order, n), [])]) for n in numbers]
        lost = [row["old"] - base["old"] for base in found[task, order, 0] for row in rows if is_later(row, base)]
        change = f"{min(lost):+.3f} to {max(lost):+.3f}" if lost else ""
        lines.append(f"| {task} | {order} | " + " | ".join(cells) + f" | {change} |")
    return "\n".join(lines)


def is_later(row: Row, base: Row) -> bool:
    """Whether a row is a later round of the chain of a base row."""
    same = row["kind"] == "round" and all(row[name] == base[name] for name in ("task", "order", "seed"))
    return bool(same and row["round"] > 0)


def _format_range(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.fmean(values):.3f} ({min(values):.3f}-{max(values):.3f}, {len(values)})"


def format_seconds(rows: Sequence[Row]) -> str:
    """Mean seconds per case by round, their ratio to the base, and its range when each time is halved or doubled."""
    lines = ["| task | round | n | s per case | ratio to round 0 | lowest | highest | goal reached |", "|---" * 8 + "|"]
    seconds = [row for row in rows if row["kind"] == "seconds"]
    for task in dict.fromkeys(row["task"] for row in seconds):
        own = [row for row in seconds if row["task"] == task]
        for number in sorted({row["round"] for row in own}):
            there = {(row["seed"], row["case"]): row for row in own if row["round"] == number}
            base = {
                (row["seed"], row["case"]): row
                for row in own
                if row["round"] == 0 and (row["seed"], row["case"]) in there
            }
            ratios = [
                sum(price(row, model) for row in there.values()) / sum(price(row, model) for row in base.values())
                for _, model in TimeModel().list_variants()
            ]
            mean = statistics.fmean(price(row, TimeModel()) for row in there.values())
            reached = sum(row["reached"] for row in there.values())
            lines.append(
                f"| {task} (goal {GOALS[task]}) | {number} | {len(there)} | {mean:.1f} | {ratios[0]:.2f} | "
                f"{min(ratios):.2f} | {max(ratios):.2f} | {reached} |"
            )
    return "\n".join(lines)
