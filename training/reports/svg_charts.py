"""Charts of a report: curves over epochs and reliability curves. `parts.html` draws them as SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:  # a page of a run on a server is made without torch
    from training.evaluation.calibration import CalibrationBin

WIDTH_PX, HEIGHT_PX = 460, 230
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52, 12, 14, 30
SQUARE_PX = 260
N_TICKS = 4
MIN_BIN_SHARE = 1e-3
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{3,6}$")]
BARS_PX = 34
"""Height of the strip below a reliability curve that shows the share of pixels in each bin."""


@dataclass(frozen=True)
class Gridline:
    """A horizontal line."""

    x1: float
    x2: float
    y: float


@dataclass(frozen=True)
class ChartText:
    """A word or a number; `anchor` is the part of the text at x: "start", "middle" or "end"."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Polyline:
    """A line through points (x, y)."""

    points: Sequence[tuple[float, float]]
    colour: Colour
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A filled dot, or a ring around it."""

    x: float
    y: float
    colour: Colour
    ring: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar in the strip below a curve; x and y are its upper left corner."""

    x: float
    y: float
    height: float
    colour: Colour


@dataclass(frozen=True)
class Chart:
    """A chart in pixels of its box, y downwards; `title` is its caption and its text for screen readers."""

    title: str
    width_px: int
    height_px: int
    gridlines: Sequence[Gridline]
    texts: Sequence[ChartText]
    polylines: Sequence[Polyline]
    dots: Sequence[Dot]
    bars: Sequence[Bar] = ()


def draw_curve(
    title: str, points: Sequence[tuple[float, float]], colour: str, marked: float | None = None
) -> Chart | None:
    """Return a line through points of epoch and value, with ticks at round values; `None` if there is no value.

    Parameters
    ----------
    title
        Caption below the chart, and text for screen readers.
    points
        In ascending order of epochs; non-finite values leave a gap.
    colour
        Colour of the line.
    marked
        Epoch whose value gets a ring; `None` for no ring.
    """
    known = [(x, y) for x, y in points if math.isfinite(y)]
    if not known:
        return None
    ticks = compute_ticks(min(y for _, y in known), max(y for _, y in known))
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) * (WIDTH_PX - LEFT_PX - RIGHT_PX)
        up = (y - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT_PX - TOP_PX - BOTTOM_PX)
        return LEFT_PX + across, HEIGHT_PX - BOTTOM_PX - up

    heights = [(_format_tick(tick), place(first, tick)[1]) for tick in ticks]
    below = [(place(x, ticks[0])[0], f"{x:g}") for x in sorted({first, last})]
    pieces = [[place(x, y) for x, y in piece] for piece in _split_at_gaps(points)]
    return Chart(
        title=title,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        gridlines=[Gridline(LEFT_PX, WIDTH_PX - RIGHT_PX, y) for _, y in heights],
        texts=[
            *(_label_gridline(y, text) for text, y in heights),
            *(ChartText(x, HEIGHT_PX - 10, "middle", text) for x, text in below),
            ChartText((LEFT_PX + WIDTH_PX) / 2, HEIGHT_PX - 10, "middle", "epoch"),
        ],
        polylines=[Polyline(piece, colour) for piece in pieces],
        dots=[
            *(Dot(*piece[0], colour) for piece in pieces if len(piece) == 1),
            *(Dot(*place(x, y), colour, ring=True) for x, y in known if x == marked),
        ],
    )


def draw_reliability_curve(title: str, bins: "Sequence[CalibrationBin]", colour: str) -> Chart:
    """Return a reliability curve: accuracy against confidence. The diagonal is perfect calibration.

    The bars below show the share of the pixels in each bin.
    """
    side = SQUARE_PX - LEFT_PX - RIGHT_PX
    bottom = TOP_PX + side

    def place(sure: float, right: float) -> tuple[float, float]:
        return LEFT_PX + sure * side, bottom - right * side

    ticks = (0.0, 0.5, 1.0)
    bins = [one for one in bins if one.share >= MIN_BIN_SHARE]  # bins with fewer pixels are too noisy
    curve = [place(one.confidence, one.accuracy) for one in bins]
    return Chart(
        title=title,
        width_px=SQUARE_PX,
        height_px=bottom + BARS_PX + 38,
        gridlines=[Gridline(LEFT_PX, LEFT_PX + side, place(0, tick)[1]) for tick in ticks],
        texts=[
            *(_label_gridline(place(0, tick)[1], f"{tick:g}") for tick in ticks),
            *(ChartText(place(tick, 0)[0], bottom + BARS_PX + 18, "middle", f"{tick:g}") for tick in ticks),
            ChartText(LEFT_PX + side / 2, bottom + BARS_PX + 32, "middle", "confidence"),
            ChartText(LEFT_PX, TOP_PX - 4, "start", "accuracy"),
        ],
        polylines=[Polyline([place(0, 0), place(1, 1)], "#999", dashed=True), Polyline(curve, colour)],
        dots=[Dot(x, y, colour) for x, y in curve],
        bars=list(_draw_bars([one.share for one in bins], [x for x, _ in curve], bottom + BARS_PX, colour)),
    )


def compute_ticks(low: float, high: float) -> list[float]:
    """Return ascending round values, a fixed distance apart, that enclose a range."""
    spread = high - low if high > low else abs(high) or 1.0
    raw = spread / N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _split_at_gaps(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Split the points where a value is not finite."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _draw_bars(shares: Sequence[float], places: Sequence[float], foot: float, colour: str) -> Iterator[Bar]:
    """Yield a bar below each dot; the bar of the fullest bin is as high as the strip."""
    fullest = max(shares, default=1.0)
    for share, x in zip(shares, places, strict=True):
        height = (BARS_PX - 6) * share / fullest
        yield Bar(x - 4, foot - height, height, colour)


def _label_gridline(y: float, text: str) -> ChartText:
    return ChartText(LEFT_PX - 6, y + 4, "end", text)


def _format_tick(value: float) -> str:
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"
