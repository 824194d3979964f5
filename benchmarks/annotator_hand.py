"""What a simulated annotator can do with a brush: strokes of an unsteady hand, and the seconds that work takes.

The constants of `TimeModel` are of the size of the keystroke-level model (Card, Moran and Newell, CACM 1980: a key
0.2 to 0.3 s, pointing 1.1 s, mental preparation 1.35 s); `annotator.py` reports every ratio with each of them halved
and doubled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from napari_medseg.core.editing.geometry import rasterise_stroke

Mask = NDArray[np.bool_]
Path2D = NDArray[np.float64]
ROW_STEP = 1.5
"""Distance of the rows of a stroke that covers a region, in radii of the brush."""
RADIUS_SHARES = (1.0, 0.5)
"""Radii that are tried, relative to the largest disc that fits into the region."""
MIN_RADIUS_PX = 1.5
VERTEX_PX = 10.0
"""Pixels of the screen between the points of a border at which the hand is unsteady."""
OVERLAP_PX = 12.0
"""Pixels of the screen by which a person draws on where the border is right already."""
CANVAS_PX = 700
"""Side of the canvas in a window of 1280x720 pixels."""


@dataclass(frozen=True)
class TimeModel:
    """Seconds of a person's hand and eye; a click includes pointing, also where a key acts on what is pointed at.

    Pixels are those of the screen.
    """

    stroke_s: float = 0.4
    stroke_s_per_px: float = 1 / 400
    click_s: float = 0.9
    key_s: float = 0.3
    look_s: float = 1.5
    tracing: float = 1.0
    """Seconds of a line that follows a border, relative to those of another stroke: the narrower the way, the slower is
    the hand (steering law: Accot and Zhai, CHI 1997)."""

    def list_variants(self) -> Iterator[tuple[str, "TimeModel"]]:
        """Yield this model, and it with each constant halved and doubled."""
        yield "as stated", self
        for constant in fields(self):
            for factor in (0.5, 2.0):
                value = getattr(self, constant.name) * factor
                yield f"{constant.name} x {factor:g}", replace(self, **{constant.name: value})


@dataclass(frozen=True)
class Effort:
    """What an action costs, before a time model gives it seconds.

    `stroke_px` are pixels of the image; `traced_px` are those of lines that follow a border.
    """

    strokes: int = 0
    stroke_px: float = 0.0
    traced_px: float = 0.0
    clicks: int = 0
    keys: int = 0
    looks: int = 0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def compute_seconds(self, model: TimeModel, zoom: float) -> float:
        """Seconds under a time model, for an image that is shown with so many pixels of the screen per pixel."""
        return (
            self.strokes * model.stroke_s
            + (self.stroke_px + self.traced_px * model.tracing) * zoom * model.stroke_s_per_px
            + self.clicks * model.click_s
            + self.keys * model.key_s
            + self.looks * model.look_s
        )


def choose_zoom(shape: tuple[int, ...]) -> float:
    """Pixels of the screen per pixel of the image: it fills the canvas, and large images are zoomed in to 1."""
    return max(1.0, CANVAS_PX / max(shape))


@dataclass
class Hand:
    """A hand that misses by `jitter_px` (standard deviation) pixels of the screen.

    It remembers the radius and label of its brush, and its tool. `zoom` is that of the image, see `choose_zoom`. While
    it only `plans`, it is steady: nobody knows beforehand where the hand will miss.
    """

    rng: np.random.Generator
    jitter_px: float = 2.0
    zoom: float = 1.0
    radius_px: float = 5.0
    value: int = field(default=-1)
    tool: str = "brush"
    plans: bool = False

    def shake(self, path: Path2D) -> Path2D:
        """Return the points where the hand really goes.

        The error is that of whole strokes and of their points: half of the variance each.
        """
        if self.plans:
            return path
        sigma = self.jitter_px / self.zoom / np.sqrt(2.0)
        return path + self.rng.normal(0.0, sigma, 2) + self.rng.normal(0.0, sigma, path.shape)

    def count_preparation(self, radius_px: float, value: int) -> Effort:
        """Effort to set radius (a click on the slider) and label (a key), where they differ from the last ones."""
        return Effort(clicks=int(abs(radius_px - self.radius_px) > 0.3 * self.radius_px), keys=int(value != self.value))

    def count_key(self, tool: str) -> Effort:
        """Effort to take up a tool of the mouse: a key, unless it is in the hand; it stays there."""
        return Effort(keys=int(tool != self.tool))

    def remember(self, radius_px: float, value: int) -> None:
        """Leave the brush as it was set."""
        self.radius_px, self.value = radius_px, value


@dataclass(frozen=True, eq=False)
class Strokes:
    """Strokes of one radius that cover a region: the paths that the hand means to draw."""

    radius_px: float
    paths: tuple[Path2D, ...]

    @property
    def effort(self) -> Effort:
        """Strokes and their length; a dab has none."""
        lengths = (np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in self.paths)
        return Effort(strokes=len(self.paths), stroke_px=float(sum(lengths)))

    def rasterise(self, hand: Hand, shape: tuple[int, int]) -> Mask:
        """Return the pixels that the brush covers, drawn by the hand."""
        covered, plane = np.zeros(shape, np.bool_), tuple(slice(0, n) for n in shape)
        for path in self.paths:
            shaken = np.clip(hand.shake(path), 0, np.array(shape) - 1.0)
            box, mask = rasterise_stroke(shaken, self.radius_px, plane)
            covered[box] |= mask
        return covered


def plan_strokes(region: Mask) -> Iterator[Strokes]:
    """Yield ways to cover a region (y, x) with a round brush: rows to and fro, with a large and with smaller radii."""
    (box,) = ndimage.find_objects(region.astype(np.uint8))
    origin, region = np.array([side.start for side in box], float), region[box]
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    deepest = float(depth.max())
    seen: set[float] = set()
    for share in RADIUS_SHARES:
        radius = max(round(deepest * share * 2) / 2, MIN_RADIUS_PX)
        if radius not in seen:
            seen.add(radius)
            yield Strokes(radius, tuple(path + origin for path in _cover(region, depth, radius)))


def plan_outlines(region: Mask, wrong: Mask, zoom: float) -> Iterator[tuple[Path2D, Effort]]:
    """Yield lines around a region (y, x): all of its border, and the stretch of it that is near what is wrong."""
    contours = find_contours(np.pad(region, 1).astype(np.float32), 0.5)
    if not contours:
        return
    contour = max(contours, key=len) - 1.0
    step = max(1, round(VERTEX_PX / zoom))
    around = np.concatenate((contour[:-1:step], contour[:1]))
    yield around, _trace(around)
    near = ndimage.distance_transform_edt(~wrong)
    places = tuple(np.clip(contour[:-1].round().astype(int), 0, np.array(region.shape) - 1).T)
    is_near = near[places] <= OVERLAP_PX / zoom
    if is_near.all() or not is_near.any():
        return
    first = int(np.flatnonzero(~is_near)[0])
    run = max(_find_runs(np.roll(is_near, -first)), key=lambda ends: ends[1] - ends[0])
    stretch = np.roll(contour[:-1], -first, axis=0)[run[0] : run[1] + 1]
    stretch = np.concatenate((stretch[:-1:step], stretch[-1:]))
    if len(stretch) > 1:
        yield stretch, _trace(stretch)


def _trace(path: Path2D) -> Effort:
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return Effort(strokes=1, traced_px=length)


def _cover(region: Mask, depth: NDArray[np.float64], radius: float) -> Iterator[Path2D]:
    """Rows through the places where the whole brush lies in the region; a row that cannot be reached begins anew."""
    inner = depth >= min(radius, float(depth.max()))
    rows = np.flatnonzero(inner.any(axis=1))
    step = max(1, int(radius * ROW_STEP))
    path: list[tuple[float, float]] = []
    for number, y in enumerate(sorted({*range(int(rows[0]), int(rows[-1]) + 1, step), int(rows[-1])})):
        runs = _find_runs(inner[y])
        for start, stop in runs if number % 2 == 0 else [(b, a) for a, b in reversed(runs)]:
            ends = [(float(y), float(start)), (float(y), float(stop))]
            if path and not _stays_inside(region, path[-1], ends[0]):
                yield np.array(path)
                path = []
            path.extend(ends if start != stop else ends[:1])
    if path:
        yield np.array(path)


def _find_runs(row: Mask) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
    return [(int(start), int(stop) - 1) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _stays_inside(region: Mask, start: tuple[float, float], end: tuple[float, float]) -> bool:
    points = np.linspace(start, end, int(max(abs(start[0] - end[0]), abs(start[1] - end[1]))) + 2).round().astype(int)
    return bool(region[tuple(points.T)].all())
