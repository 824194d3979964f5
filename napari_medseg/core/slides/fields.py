"""Fields: rectangles of a slide that are corrected as cases. The path of a field says all of it.

``/data/a.svs/a_level0_x10240_y2048_1000x1000.svs`` starts at x 10,240 and y 2,048 of level 0, and is 1,000 pixels wide
and high at its own level, here level 0.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.containers.part_paths import get_whole_path
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Level, Slide, compute_spacing

MAX_FIELD_PIXELS = 6000 * 6000
"""A larger field is no longer edited fluently."""

PART_OF_EVERY_PATH = "_level"

_NAME = re.compile(
    r"_level(?P<level>\d{1,2})_x(?P<x>-?\d{1,9})_y(?P<y>-?\d{1,9})_(?P<width>\d{1,6})x(?P<height>\d{1,6})$"
)


@dataclass(frozen=True, order=True)
class Field:
    """A rectangle of a slide.

    Parameters
    ----------
    slide
        Path of the slide.
    level
        Its level, at which it is shown and corrected.
    y, x
        Upper left corner in pixels of level 0.
    height, width
        Size in pixels of its own level.
    """

    slide: Path
    level: int
    y: int
    x: int
    height: int
    width: int

    @property
    def path(self) -> Path:
        """The path of the field, which continues the path of its slide, see `core.containers.part_paths`."""
        place = f"level{self.level}_x{self.x}_y{self.y}_{self.width}x{self.height}"
        return self.slide / f"{self.slide.stem}_{place}{self.slide.suffix}"

    def get_box(self, slide: Slide) -> tuple[float, float, float, float]:
        """Return (top, left, bottom, right) in pixels of level 0."""
        factor = slide.levels[min(self.level, len(slide.levels) - 1)].downsample
        return (self.y, self.x, self.y + self.height * factor, self.x + self.width * factor)


def parse_field_path(path: Path) -> Field | None:
    """Return the field that a path names; `None` if it names none. The slide is not looked up."""
    slide = path.parent
    if path.suffix != slide.suffix or not slide.stem or not path.stem.startswith(f"{slide.stem}_level"):
        return None
    found = _NAME.fullmatch(path.stem, len(slide.stem))
    if found is None:
        return None
    level, x, y, width, height = (int(found[key]) for key in ("level", "x", "y", "width", "height"))
    return Field(slide, level, y, x, height, width) if width and height else None


def place_of(case: Case) -> Field | None:
    """Return where a case lies on its slide; `None` if it is no field of a slide."""
    return find_place(case.sources)


def find_place(sources: Sequence[str]) -> Field | None:
    """Return the field that the paths of a case name; `None` if they name none."""
    return parse_field_path(Path(use_slashes(sources[0]))) if len(sources) == 1 else None


def read_field(field: Field, slide: Slide | None = None) -> Image:
    """Read a field as an image with the spacing of its level; its group is the slide.

    Parameters
    ----------
    field
        The field.
    slide
        Its open slide; by default the file is opened and closed.

    Raises
    ------
    MedSegError
        If the slide cannot be read there, has no such level, or the field is too large or lies outside.
    """
    if slide is not None:
        return _read(field, slide)
    opened = open_slide(field.slide)
    try:
        return _read(field, opened)
    finally:
        opened.close()


def snap_field(slide: Path, levels: Sequence[Level], level: int, box: tuple[float, float, float, float]) -> Field:
    """Return the field of a level that covers a box of level 0 as exactly as its pixels can, inside the slide.

    Parameters
    ----------
    slide, levels
        Path and levels of the slide.
    level
        Number of the field's level.
    box
        (top, left, bottom, right) in pixels of level 0.

    Raises
    ------
    MedSegError
        If the box lies outside the slide, is thinner than a pixel, or is too large.
    """
    of_level = levels[level]
    factor = of_level.downsample
    top, left = (max(0, math.floor(value / factor + 0.5)) for value in box[:2])
    bottom = min(of_level.height, math.floor(box[2] / factor + 0.5))
    right = min(of_level.width, math.floor(box[3] / factor + 0.5))
    if bottom <= top or right <= left:
        raise MedSegError("the rectangle lies outside the slide, or is thinner than a pixel. Draw it on the slide.")
    field = Field(slide, level, round(top * factor), round(left * factor), bottom - top, right - left)
    refuse_too_large(field)
    return field


def make_field_name(field: Field) -> str:
    """Return the name of a field's image: that of the slide, and its place."""
    return f"{field.slide.stem} x{field.x} y{field.y}"


def _read(field: Field, slide: Slide) -> Image:
    refuse_too_large(field)
    if field.level >= len(slide.levels):
        raise MedSegError(
            f"{slide.name} has no level {field.level}; it has {len(slide.levels)} (0 is the full resolution). "
            "It was replaced by another file; put the right one back."
        )
    level = slide.levels[field.level]
    y, x = round(field.y / level.downsample), round(field.x / level.downsample)
    if y >= level.height or x >= level.width or y + field.height <= 0 or x + field.width <= 0:
        raise MedSegError(
            f"the field at x {field.x:,}, y {field.y:,} lies outside {slide.name} ({slide.levels[0].width:,} x "
            f"{slide.levels[0].height:,} pixels). It was replaced by another file; put the right one back."
        )
    return Image(
        pixels=slide.read(field.level, y, x, field.height, field.width),
        axes="YXC",
        spacing_mm=compute_spacing(slide, field.level),
        units="rgb",
        group=find_slide_group(field.slide),
        name=make_field_name(field),
        sources=(field.path,),
    )


def find_slide_group(slide: Path) -> str:
    """Return the group of all fields of a slide: the patient that its name states, else the slide itself."""
    return find_group(get_whole_path(slide), is_volume=True)


def refuse_too_large(field: Field) -> None:
    """Raise an error if a field has more pixels than can be corrected fluently."""
    if field.height * field.width > MAX_FIELD_PIXELS:
        side = math.isqrt(MAX_FIELD_PIXELS)
        raise MedSegError(
            f"a field of {field.width:,} x {field.height:,} pixels is too large to be corrected; at most "
            f"{side:,} x {side:,} fit. Draw a smaller one, or choose a coarser level."
        )
