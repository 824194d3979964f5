"""The time points of a TIFF file: how many it holds, and the pages of one of them."""

import math
from pathlib import Path

import numpy as np
import tifffile

from napari_medseg.core.containers.several_volumes import check_volume, list_titles
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tiff.axes import find_axes
from napari_medseg.core.tiff.integrity import refuse_broken_chain
from napari_medseg.core.tiff.ome import refuse_unsafe_ome

_TIME = "T"
_HINTS = ("frames=", "SizeT", '"axes"', "'axes'")
"""Of ImageJ, OME and tifffile in the first description; other files state no time, and are not looked at further."""


def find_main_series(tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Return the first image that is neither a thumbnail nor a transparency mask."""
    whole = (each for each in tiff.series if not (each.keyframe.is_reduced or each.keyframe.is_mask))
    return next(whole, tiff.series[0])


def list_times(path: Path) -> tuple[str, ...]:
    """Return the titles of the time points of a file; none if it has one.

    Raises
    ------
    MedSegError
        If pages are missing, or there are too many.
    KeyError, ValueError, struct.error
        If it is no TIFF.
    """
    with tifffile.TiffFile(path) as tiff:
        if not any(hint in tiff.pages.first.description for hint in _HINTS):
            return ()
        refuse_broken_chain(path)
        refuse_unsafe_ome(path, tiff)
        series = find_main_series(tiff)
        _refuse_channels(series, path)
        return list_titles([_count_times(series)], path.name)


def choose_time(series: tifffile.TiffPageSeries, path: Path, volume: int | None) -> tifffile.TiffPageSeries:
    """Return the series of one time point, from 1 on; the series itself if it has no axis of time.

    Raises
    ------
    SeveralImagesError
        If it has several, and none is chosen.
    MedSegError
        If there is no such time point, or its pages are missing.
    """
    n_times = _count_times(series)
    _refuse_channels(series, path)
    number = check_volume(path, series.shape, n_times, volume)
    if n_times == 1:
        return series
    axis = series.axes.index(_TIME)
    n_pages = math.prod(series.shape) // max(1, math.prod(series.keyframe.shape))
    inside = next((n for n in range(series.ndim + 1) if math.prod(series.shape[:n]) == n_pages), 0)
    if axis >= inside or len(series) != n_pages:
        raise MedSegError(f"{path.name} does not store each time point as pages. Save one time point as a file.")
    pages = np.arange(n_pages).reshape(series.shape[:inside]).take(number - 1, axis=axis)
    return tifffile.TiffPageSeries(
        [series[n] for n in pages.ravel().tolist()],
        (*series.shape[:axis], *series.shape[axis + 1 :]),
        series.dtype,
        series.axes.replace(_TIME, ""),
        parent=series.parent,
        name=series.name,
        kind=series.kind,
    )


def _refuse_channels(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file none of whose time points is an image: nobody is asked which one of them is meant."""
    kept = [n for n, letter in enumerate(series.axes) if letter != _TIME]
    find_axes("".join(series.axes[n] for n in kept), tuple(series.shape[n] for n in kept), path.name)


def _count_times(series: tifffile.TiffPageSeries) -> int:
    return int(series.shape[series.axes.index(_TIME)]) if _TIME in series.axes else 1
