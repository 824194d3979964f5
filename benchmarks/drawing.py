"""The plot of `corrections.py`: for each task the Dice on the new source (top) and on the old source (bottom)."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from strategies import Strategy

COLOURS = ("#D55E00", "#E69F00", "#56B4E9", "#0072B2", "#009E73", "#CC79A7", "#F0E442", "#999999")
WIDTH, HEIGHT, GAP, LEFT, TOP = 300, 200, 70, 60, 40
Row = Mapping[str, Any]


def draw_panels(rows: Sequence[Row], strategies: Mapping[str, Strategy]) -> str:
    """Return the plot as SVG."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    colours = dict(zip(strategies, COLOURS, strict=True))
    parts = []
    for column, task in enumerate(tasks):
        own = [row for row in rows if row["task"] == task]
        x = LEFT + column * (WIDTH + GAP)
        for line, (key, title) in enumerate((("new", "new source"), ("old", "old source"))):
            parts.append(
                _draw_panel(own, key, f"{task}: Dice on the {title}", (x, TOP + line * (HEIGHT + GAP)), colours)
            )
    below = TOP + 2 * (HEIGHT + GAP)
    for index, (name, strategy) in enumerate(strategies.items()):
        x, y = LEFT + (index % 3) * (WIDTH + GAP), below + 22 * (index // 3)
        parts.append(f'<path d="M{x} {y}h24" stroke="{colours[name]}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 30}" y="{y + 4}">{strategy.title.replace("&", "&amp;")}</text>')
    width, height = LEFT + 3 * (WIDTH + GAP), below + 72
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return f'{frame} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _draw_panel(rows: Sequence[Row], key: str, title: str, place: tuple[int, int], colours: Mapping[str, str]) -> str:
    x0, y0 = place
    counts = sorted({row["n"] for row in rows})
    low, high = min(row[key] for row in rows), max(row[key] for row in rows)
    span = max(high - low, 0.01)

    def at(count: int, value: float) -> tuple[float, float]:
        across = WIDTH * counts.index(count) / max(1, len(counts) - 1)
        return x0 + across, y0 + HEIGHT * (1 - (value - low) / span)

    parts = [f'<text x="{x0}" y="{y0 - 12}" font-size="14">{title}</text>']
    for value in (low, low + span / 2, low + span):
        y = at(counts[0], value)[1]
        parts.append(f'<path d="M{x0} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for count in counts:
        parts.append(f'<text x="{at(count, low)[0]:.1f}" y="{y0 + HEIGHT + 18}" text-anchor="middle">{count}</text>')
    base = next(row[key] for row in rows if row["n"] == 0)
    for name, colour in colours.items():
        means = {
            count: statistics.fmean(row[key] for row in rows if (row["strategy"], row["n"]) == (name, count))
            for count in counts
            if any((row["strategy"], row["n"]) == (name, count) for row in rows)
        }
        places = [at(count, value) for count, value in {0: base, **means}.items()]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    return "".join(parts)
