"""A file of several volumes, such as the time points of a perfusion: how many it holds, and which one is meant."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from napari_medseg.core.containers.part_paths import SeveralImagesError, make_part_path
from napari_medseg.core.errors import MedSegError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
VOLUME = "volume"
MAX_VOLUMES = 20_000
"""Of one file. A series of functional MRI has some hundreds."""
_FURTHER_AXES = (VOLUME, "component", "sixth axis", "seventh axis")


def list_titles(lengths: Sequence[int], name: str) -> tuple[str, ...]:
    """Return the titles of the volumes of a file; none if it holds one.

    Parameters
    ----------
    lengths
        Of the axes behind the spatial ones; the first one runs fastest.
    name
        Of the file, for the error.

    Raises
    ------
    MedSegError
        If the header announces none, or too many.
    """
    count = math.prod(map(int, lengths))
    if count == 1:
        return ()
    _refuse_many(count, name)
    names = (*_FURTHER_AXES, *(f"axis {n}" for n in range(8, 8 + len(lengths))))
    axes = [(axis, length) for axis, length in zip(names, lengths, strict=False) if length > 1]
    places = np.unravel_index(np.arange(count), [length for _, length in axes], order="F")
    numbers = np.transpose(places) + 1
    return tuple(", ".join(f"{axis} {n}" for (axis, _), n in zip(axes, each, strict=True)) for each in numbers.tolist())


def check_volume(path: Path, shape: Sequence[int], n_volumes: int, volume: int | None) -> int:
    """Return the number of the volume to read, from 1 on.

    Parameters
    ----------
    path, shape
        The file and its size, for the error.
    n_volumes
        How many it holds.
    volume
        The one that was chosen; `None` if none was.

    Raises
    ------
    SeveralImagesError
        If it holds several, and none was chosen.
    MedSegError
        If there is no such volume.
    """
    _refuse_many(n_volumes, path.name)
    if volume is None and n_volumes > 1:
        lengths = " x ".join(map(str, shape))
        raise SeveralImagesError(path, n_volumes, "volumes", f" ({lengths})", make_part_path(path, VOLUME, 1))
    if volume is not None and not 1 <= volume <= n_volumes:
        raise MedSegError(f"{path.name} has no volume {volume}; it has {n_volumes}. Choose another one.")
    return volume or 1


def refuse_several_volumes(read: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a reader of masks say what to do with a file of several volumes: of a mask, none can be chosen."""

    @functools.wraps(read)
    def read_one(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return read(*arguments, **options)
        except SeveralImagesError as error:
            raise MedSegError(
                f"{error.name} holds {error.count:,} {error.what}, and a mask has one. Save the one of this image as a "
                "file of its own."
            ) from error

    return read_one


def _refuse_many(n_volumes: int, name: str) -> None:
    if not 0 < n_volumes <= MAX_VOLUMES:
        raise MedSegError(
            f"{name} announces {n_volumes:,} volumes; 1 to {MAX_VOLUMES:,} are expected. Export it again."
        )
