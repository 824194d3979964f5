"""The picture of seconds per case: by way to work (`annotator.py`), and after retrains (`annotator_rounds.py`).

`python benchmarks/annotator_picture.py annotator.jsonl annotator_rounds.jsonl --out docs/annotator.svg`

A bar is the mean of the cases in which all ways reached the goal. The thin line has the mean with each time of the time
model halved or doubled.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator import GOALS, WAYS, price
from annotator_hand import TimeModel

Row = dict[str, Any]
TITLES = {"lungs": "lungs", "covid": "lesions", "nuclei": "nuclei", "instruments": "instruments"}
COLOURS = ("#999999", "#E69F00", "#0072B2", "#009E73")
BAR, GAP, LEFT, WIDTH, PANEL_GAP, TOP = 15, 14, 132, 250, 60, 54
MIN_CASES = 3
"""Of rounds: bars of fewer images say little."""
Bar = tuple[str, str, list[float]]
"""Name of its group, its own name, and seconds: as stated, then with each time halved and doubled."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the results and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", type=Path)
    parser.add_argument("rounds", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/annotator.svg"))
    options = parser.parse_args(arguments)
    ways, rounds = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (options.ways, options.rounds)
    )
    options.out.write_text(draw(list_ways(ways), list_rounds(rounds)), encoding="utf-8")


def list_ways(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars of each task by way to work."""
    bars = []
    for task in GOALS:
        own = [row for row in rows if row["task"] == task]
        done = [{(r["case"], r["seed"]) for r in own if r["way"] == way and r["reached"]} for way in WAYS]
        both = set.intersection(*done)
        for way in WAYS if both else ():
            chosen = [row for row in own if row["way"] == way and (row["case"], row["seed"]) in both]
            name = {"brush": "brush from the draft", "all tools": "all tools"}.get(way, way)
            bars.append((f"{TITLES[task]} ({len(both)} images)", name, list_seconds(chosen)))
    return bars


def list_rounds(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars of each task by number of retrains."""
    bars = []
    seconds = [row for row in rows if row["kind"] == "seconds"]
    for task, steps in dict.fromkeys((row["task"], row["steps"]) for row in seconds):
        own = [row for row in seconds if (row["task"], row["steps"]) == (task, steps)]
        rounds = sorted({row["round"] for row in own})
        done = [{(r["seed"], r["case"]) for r in own if r["round"] == n and r["reached"]} for n in rounds]
        both = set.intersection(*done)
        n_cases = len({case for _, case in both})
        for number in rounds if n_cases >= MIN_CASES else ():
            name = "before" if not number else f"after {8 * number} cases"
            chosen = [row for row in own if row["round"] == number and (row["seed"], row["case"]) in both]
            title = f"{TITLES[task]}, a new source, {steps} steps a retrain ({n_cases} images)"
            bars.append((title, name, list_seconds(chosen)))
    return bars


def list_seconds(rows: Sequence[Row]) -> list[float]:
    """Return the mean seconds per case with the times as stated, then with each of them halved and doubled."""
    return [statistics.fmean(price(row, model) for row in rows) for _, model in TimeModel().list_variants()]


def draw(*panels: Sequence[Bar]) -> str:
    """Return the SVG of panels side by side."""
    titles = ("Seconds per case, by way to work", "All tools, after retrains (each group has its scale)")
    parts, height = [], 0
    for column, (title, bars) in enumerate(zip(titles, panels, strict=True)):
        drawn, bottom = _draw_panel(bars, title, column * (LEFT + WIDTH + PANEL_GAP), has_one_scale=column == 0)
        parts.append(drawn)
        height = max(height, bottom)
    width = len(panels) * (LEFT + WIDTH + PANEL_GAP)
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return f'{frame} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _draw_panel(bars: Sequence[Bar], title: str, x: int, *, has_one_scale: bool) -> tuple[str, int]:
    longest = {name: max(max(s) for other, _, s in bars if has_one_scale or other == name) for name, _, _ in bars}
    parts, y, group, number = [f'<text x="{x + 12}" y="24" font-size="15">{title}</text>'], TOP, "", 0
    for name, label, seconds in bars:
        if name != group:
            y += GAP if group else 0
            parts.append(f'<text x="{x + 12}" y="{y + 4}" font-weight="bold">{name}</text>')
            y, group, number = y + GAP, name, 0
        parts.append(_draw_bar(label, seconds, COLOURS[number % len(COLOURS)], (x + LEFT, y), WIDTH / longest[name]))
        y, number = y + BAR + 4, number + 1
    return "".join(parts), y + GAP


def _draw_bar(label: str, seconds: list[float], colour: str, place: tuple[int, int], scale: float) -> str:
    x, y = place
    middle, least, most = y + BAR / 2, min(seconds) * scale, max(seconds) * scale
    return (
        f'<text x="{x - 6}" y="{y + 12}" text-anchor="end">{label}</text>'
        f'<rect x="{x}" y="{y}" width="{seconds[0] * scale:.1f}" height="{BAR}" fill="{colour}"/>'
        f'<path d="M{x + least:.1f} {middle}H{x + most:.1f}" stroke="black"/>'
        f'<text x="{x + most + 6:.1f}" y="{y + 12}">{seconds[0]:.0f} s</text>'
    )


if __name__ == "__main__":
    main()
