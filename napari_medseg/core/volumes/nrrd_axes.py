"""The axes of an NRRD file: three of space, one of colours or layers, and those along which volumes lie."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_medseg.core.errors import MedSegError

_COLOURS = ("rgb-color", "3-color", "rgba-color", "4-color")
_LISTS = ("vector", "list", "point", "3-vector", "covariant-vector", "normal", "3-gradient", "3-normal")
_TIME = "time"
_BYTES_OF_A_COLOUR = (3, 4)


@dataclass(frozen=True)
class NrrdAxes:
    """What the axes of a file are, as numbers from 0 on, the fastest one first.

    `layers` is the axis of colours or segments, or `None`, and `has_colours` says which; `further` are those along
    which several volumes lie.
    """

    sizes: tuple[int, ...]
    spatial: tuple[int, ...]
    layers: int | None
    further: tuple[int, ...]
    has_colours: bool

    @property
    def n_volumes(self) -> int:
        """How many volumes the file holds."""
        return math.prod(self.further_sizes)

    @property
    def further_sizes(self) -> list[int]:
        """Their numbers along each further axis."""
        return [self.sizes[axis] for axis in self.further]

    @property
    def lie_in_a_row(self) -> bool:
        """Whether each volume is in one piece, behind the one before."""
        return not self.further or self.further[0] == len(self.sizes) - len(self.further)

    def split_lists(self) -> "NrrdAxes":
        """Return the axes of an image: what is listed, and is no colour, are volumes, such as those of a sequence."""
        if self.layers is None or self.has_colours:
            return self
        return replace(self, layers=None, further=tuple(sorted((self.layers, *self.further))))


def find_axes(fields: Mapping[str, str], is_bytes: bool, name: str) -> NrrdAxes:
    """Return what the axes are.

    Parameters
    ----------
    fields
        Of the header.
    is_bytes
        Whether the values are bytes, of which three or four may be a colour.
    name
        Of the file, for the error.

    Raises
    ------
    MedSegError
        If it has no pixels, or too few or too many axes of space.
    """
    sizes = [int(word) for word in fields["sizes"].split()]
    if not sizes or len(sizes) != int(fields["dimension"]) or any(size < 1 for size in sizes):
        raise MedSegError(f"{name} has no pixels (its size is {sizes}). Export it again.")
    kinds = [word.lower() for word in fields.get("kinds", "").split()]
    vectors = split_vectors(fields.get("space directions", ""))
    times = [axis for axis, kind in enumerate(kinds) if kind == _TIME]
    listed = [axis for axis, kind in enumerate(kinds) if kind in (*_COLOURS, *_LISTS)]
    listed = listed or [axis for axis, vector in enumerate(vectors) if vector is None and axis not in times]
    spatial = [axis for axis in range(len(sizes)) if axis not in (*times, *listed)]
    layers = next((axis for axis in listed if is_bytes and sizes[axis] in _BYTES_OF_A_COLOUR), None)
    if layers is None and len(listed) == 1 and not times:
        layers = listed[0]
    further = sorted([*times, *(axis for axis in listed if axis != layers), *spatial[3:]])
    if len(spatial) < 2:
        raise MedSegError(
            f"{name} has {len(sizes)} dimensions {tuple(sizes)}, of which {len(spatial)} are of space; a volume "
            "(x, y, z) or a plane is expected. Save it as one."
        )
    has_colours = layers is not None and is_bytes and sizes[layers] in _BYTES_OF_A_COLOUR
    return NrrdAxes(tuple(sizes), tuple(spatial[:3]), layers, tuple(further), has_colours)


def split_vectors(text: str) -> list[list[float] | None]:
    """Return the vectors of a field such as ``none (1,0,0) (0,1,0)``."""
    found = re.findall(r"none|\(([^)]*)\)", text)
    return [[float(word) for word in one.split(",")] if one else None for one in found]
