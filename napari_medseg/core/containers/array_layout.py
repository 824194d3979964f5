"""What the axes of a NumPy array mean: an array says only how long they are."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.errors import MedSegError

IMAGES = "N"
"""The letter of an axis along which separate images lie."""
_LETTERS = IMAGES + "ZYXC"
_COLOURS = (3, 4)
_SAID = {IMAGES: "images", "Z": "slices", "Y": "rows", "X": "columns", "C": "colours"}
_CHOICES = {
    2: ("YX",),
    3: ("ZYX", "YXZ", "XYZ", "NYX", "YXN", "YXC", "CYX"),
    4: ("NZYX", "ZYXC", "NYXC", "NCYX", "CZYX", "ZCYX", "XYZN", "ZYXN"),
    5: ("NZYXC", "NCZYX", "NZCYX"),
}
_THIN = 4
"""A last axis so many times shorter than the first one is more likely that of the slices."""
_PART = re.compile(
    r"(?:_array(?P<array>\d{1,6}))?(?:_axes(?P<axes>[NZYXC]{2,5}))?"
    r"(?:_(?P<spacing>\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?){1,2})mm)?(?:_image(?P<image>\d{1,9}))?$"
)


@dataclass(frozen=True)
class ArrayHeader:
    """What an array says: its name in a `.npz` (else ``""``), its shape, and the type of its values, such as uint8."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_clear(self) -> bool:
        """Whether nobody needs to be asked: a plane, or a picture of bytes in RGB or RGBA."""
        n = len(self._kept)
        return n == 2 or (n == 3 and self.dtype == "uint8" and self._kept[-1] in _COLOURS)

    @property
    def kind(self) -> str:
        """What arrays of one meaning have in common: what a person said of the axes of one holds for all."""
        colours = "".join("C" if length in _COLOURS else "_" for length in self.shape)
        return f"{self.name} {self.dtype} {colours}"

    @property
    def choices(self) -> tuple["ArrayLayout", ...]:
        """The layouts that fit, the most likely one first."""
        layouts = (ArrayLayout(axes) for axes in _CHOICES.get(len(self.shape), ()))
        fitting = [layout for layout in layouts if not layout.find_problem(self.shape)]
        return tuple(sorted(fitting, key=self._rate))

    @property
    def _kept(self) -> tuple[int, ...]:
        start = next((n for n, length in enumerate(self.shape) if length > 1), 0)
        return self.shape[min(start, max(0, len(self.shape) - 2)) :]

    def _rate(self, layout: "ArrayLayout") -> int:
        """Return how little the lengths and the type speak for a layout."""
        if layout.axes.startswith("X"):
            return 2
        if "C" in layout.axes:
            return -1 if self.dtype == "uint8" else 2
        is_thin = self.shape[-1] * _THIN <= self.shape[0]
        last_is_odd = layout.axes[-1] in ("Z", IMAGES)
        return 1 if last_is_odd != is_thin else 0


@dataclass(frozen=True)
class ArrayLayout:
    """The meaning of the axes of an array, as a person said.

    Parameters
    ----------
    axes
        A letter for each axis: N (separate images), Z, Y, X, C (RGB or RGBA).
    spacing_mm
        Millimetres between slices, rows and columns (or rows and columns); `None` if unknown.
    array
        Number of the array in a `.npz` of several, from 1 on; 0 for the only one.
    image
        Number of the image along N, from 1 on; 0 if there is no such axis, or for all.
    """

    axes: str = ""
    spacing_mm: tuple[float, ...] | None = None
    array: int = 0
    image: int = 0

    @property
    def title(self) -> str:
        """The axes in words: ``"slices, rows, columns"``."""
        return ", ".join(_SAID[letter] for letter in self.axes)

    def find_problem(self, shape: tuple[int, ...]) -> str:
        """Return why it does not fit an array of this shape; empty if it does."""
        letters = sorted(self.axes)
        if len(set(letters)) != len(letters) or not set("YX") <= set(letters) <= set(_LETTERS):
            return f"the axes {self.axes!r} are not known; Y and X and at most one each of N, Z and C are expected"
        if len(letters) != len(shape):
            return f"it has {len(shape)} axes {shape}, not {len(letters)} ({self.axes})"
        if "C" in letters and shape[self.axes.index("C")] not in _COLOURS:
            return f"its axis of colours has {shape[self.axes.index('C')]} values; 3 or 4 are expected"
        n_spatial = sum(letter in "ZYX" for letter in letters)
        if self.spacing_mm is not None and len(self.spacing_mm) != n_spatial:
            return f"{n_spatial} numbers in millimetres are expected, not {len(self.spacing_mm)}"
        return ""

    def count_images(self, shape: tuple[int, ...]) -> int:
        """Return the number of images in an array of this shape."""
        return shape[self.axes.index(IMAGES)] if IMAGES in self.axes else 1

    def make_part_path(self, path: Path) -> Path:
        """Return the path of an image in a file of this layout, see `core.containers.part_paths`."""
        spacing = "x".join(f"{value:.10g}" for value in self.spacing_mm or ())
        name = "".join(
            word
            for word, is_said in (
                (f"_array{self.array}", self.array),
                (f"_axes{self.axes}", self.axes),
                (f"_{spacing}mm", spacing),
                (f"_image{self.image}", self.image),
            )
            if is_said
        )
        return path / f"{path.stem}{name}{path.suffix}" if name else path


def parse_array_part(path: Path, inner: Path) -> ArrayLayout | None:
    """Return what the path of a part says; `None` if it is no such path."""
    if len(inner.parts) != 1 or inner.suffix != path.suffix or not inner.stem.startswith(f"{path.stem}_"):
        return None
    found = _PART.fullmatch(inner.stem, len(path.stem))
    if found is None:
        return None
    spacing = parse_spacing(found["spacing"].replace("x", ",")) if found["spacing"] else None
    return ArrayLayout(found["axes"] or "", spacing, int(found["array"] or 0), int(found["image"] or 0))


def parse_spacing(text: str) -> tuple[float, ...] | None:
    """Return the millimetres in a text such as ``"2.5, 0.7, 0.7"``; `None` if it is empty.

    Raises
    ------
    MedSegError
        If it is no list of two or three positive numbers.
    """
    if not text.strip():
        return None
    try:
        numbers = tuple(float(word) for word in re.split(r"[,;x\s]+", text.strip()))
    except ValueError:
        numbers = ()
    if len(numbers) not in (2, 3) or not all(0 < number < math.inf for number in numbers):
        raise MedSegError(
            f"{text!r} is no spacing. Give millimetres between slices, rows and columns, such as 2.5, 0.7, 0.7."
        )
    return tuple(round(number, 6) for number in numbers)


def parse_layout(axes: str, spacing: str = "") -> ArrayLayout:
    """Return the layout that a person typed; raise `MedSegError` if it is none."""
    layout = ArrayLayout(axes.strip().upper(), parse_spacing(spacing))
    shape = tuple(_COLOURS[0] for _ in layout.axes)
    if problem := replace(layout, spacing_mm=None).find_problem(shape):
        raise MedSegError(f"{problem}. Examples: ZYX, YXZ, NYX (images), ZYXC (colours).")
    return layout
