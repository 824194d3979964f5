"""Charts of a report as inline SVG: curves over epochs, and how far probabilities can be believed."""

import math
from collections.abc import Sequence
from html import escape

from training.evaluation.calibration import CalibrationBin

WIDTH_PX, HEIGHT_PX = 460, 230
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52, 12, 14, 30
SQUARE_PX = 260
N_TICKS = 4
MIN_BIN_SHARE = 1e-3
BARS_PX = 34
"""Height of the strip below a reliability curve that says where the pixels are."""


def draw_curve(title: str, points: Sequence[tuple[float, float]], colour: str, marked: float | None = None) -> str:
    """Return a line through points of epoch and value, with ticks at round values.

    Parameters
    ----------
    title
        Said below the chart, and to screen readers.
    points
        Ascending in the epoch; values that are no numbers leave a gap.
    colour
        Of the line.
    marked
        Epoch with a ring around its value; `None` for none.
    """
    known = [(x, y) for x, y in points if math.isfinite(y)]
    if not known:
        return ""
    ticks = compute_ticks(min(y for _, y in known), max(y for _, y in known))
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) * (WIDTH_PX - LEFT_PX - RIGHT_PX)
        up = (y - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT_PX - TOP_PX - BOTTOM_PX)
        return LEFT_PX + across, HEIGHT_PX - BOTTOM_PX - up

    parts = [_draw_gridline(place(first, tick)[1], WIDTH_PX - RIGHT_PX, _format_tick(tick)) for tick in ticks]
    for x in sorted({first, last}):
        parts.append(_draw_text(place(x, ticks[0])[0], HEIGHT_PX - 10, "middle", f"{x:g}"))
    parts.append(_draw_text((LEFT_PX + WIDTH_PX) / 2, HEIGHT_PX - 10, "middle", "epoch"))
    for piece in _split_at_gaps(points):
        line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in piece)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(piece) == 1:
            parts.append(_draw_dot(*place(*piece[0]), colour))
    for x, y in known:
        if x == marked:
            across, down = place(x, y)
            parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="6" fill="none" stroke="{colour}"/>')
    return _wrap_figure(title, WIDTH_PX, HEIGHT_PX, parts)


def draw_reliability_curve(title: str, bins: Sequence[CalibrationBin], colour: str) -> str:
    """Return how often a model is right by how sure it is; on the diagonal its probabilities can be believed.

    The bars below say which share of the pixels lies in each bin.
    """
    side = SQUARE_PX - LEFT_PX - RIGHT_PX
    bottom = TOP_PX + side

    def place(sure: float, right: float) -> tuple[float, float]:
        return LEFT_PX + sure * side, bottom - right * side

    parts = [_draw_gridline(place(0, tick)[1], LEFT_PX + side, f"{tick:g}") for tick in (0.0, 0.5, 1.0)]
    parts += [_draw_text(place(tick, 0)[0], bottom + BARS_PX + 18, "middle", f"{tick:g}") for tick in (0.0, 0.5, 1.0)]
    corners = "{:.1f},{:.1f} {:.1f},{:.1f}".format(*place(0, 0), *place(1, 1))
    parts.append(f'<polyline points="{corners}" fill="none" stroke="#999" stroke-dasharray="4 4"/>')
    bins = [one for one in bins if one.share >= MIN_BIN_SHARE]  # the rest is chance
    line = " ".join("{:.1f},{:.1f}".format(*place(one.confidence, one.accuracy)) for one in bins)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    fullest = max((one.share for one in bins), default=1.0)
    for one in bins:
        across, down = place(one.confidence, one.accuracy)
        height = (BARS_PX - 6) * one.share / fullest
        top = bottom + BARS_PX - height
        parts.append(_draw_dot(across, down, colour))
        parts.append(f'<rect x="{across - 4:.1f}" y="{top:.1f}" width="8" height="{height:.1f}" fill="{colour}"/>')
    parts.append(_draw_text(LEFT_PX + side / 2, bottom + BARS_PX + 32, "middle", "how sure"))
    parts.append(_draw_text(LEFT_PX, TOP_PX - 4, "start", "how often right"))
    return _wrap_figure(title, SQUARE_PX, bottom + BARS_PX + 38, parts)


def compute_ticks(low: float, high: float) -> list[float]:
    """Return ascending round values, a fixed distance apart, that enclose a range."""
    spread = high - low if high > low else abs(high) or 1.0
    raw = spread / N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _split_at_gaps(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Part the points where a value is no number."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _wrap_figure(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    text = escape(title)
    box = (
        f'<svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text}">'
    )
    return f"<figure>{box}{''.join(parts)}</svg><figcaption>{text}</figcaption></figure>"


def _draw_gridline(y: float, right: float, text: str) -> str:
    line = f'<line x1="{LEFT_PX}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="#e3e6e8"/>'
    return line + _draw_text(LEFT_PX - 6, y + 4, "end", text)


def _draw_text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" fill="#5b6670">{escape(text)}</text>'


def _draw_dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _format_tick(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"
