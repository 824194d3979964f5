"""Decode the samples of a TIFF series into one array, (y, x, samples) or (z, y, x, samples), and nothing beside it.

tifffile reads up to 256 MB of a file at a time beside the array, and gives separate planes as (samples, y, x), of which
an interleaved copy would be a second array.
"""

import math
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC

from napari_medseg.core.decoded_size.codestreams import (
    MIN_SCAN_BYTES,
    DeclaredSize,
    is_known_codestream,
    read_declared_size,
    refuse_many_scans,
)
from napari_medseg.core.decoded_size.slabs import SLAB_ITEMS, convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tiff.axes import TiffAxes

_BUFFER_BYTES = 2**20
"""Of the file at a time; about three times as much is in memory for it."""
_START_BYTES = 2**10
_HARMLESS_PASSES = 10**9
"""Values that all scans of a JPEG visit together; so many take about a second."""
_RGB_SAMPLES = 3


def compute_sample_bytes(series: tifffile.TiffPageSeries) -> int:
    """Return the bytes that a series takes once decoded; of a palette, as RGB.

    A tile is decoded whole, also where it reaches beyond the image, and several at once, so they count where they take
    more. A strip ends with the image.
    """
    page = series.keyframe
    samples = _RGB_SAMPLES if page.photometric == PHOTOMETRIC.PALETTE else 1
    n_values = math.prod(map(int, series.shape)) * samples
    if page.is_tiled:
        n_at_once = min(
            tifffile.TIFF.MAXWORKERS, sum(len(each.dataoffsets) for each in series.pages if each is not None)
        )
        n_values = max(n_values, math.prod(map(int, page.chunks)) * n_at_once)
    return n_values * int(series.dtype.itemsize)


def refuse_larger_codestreams(series: tifffile.TiffPageSeries, name: str) -> None:
    """Refuse a file with a compressed tile or strip that says itself that it is larger than the tags say.

    Raises
    ------
    MedSegError
        Names both sizes. A decoder would allocate the larger one.
    """
    page = series.keyframe
    if page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS or series.parent is None:
        return
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    rows = min(rows, page.imagelength) if not page.is_tiled else rows
    allowed = DeclaredSize(rows, columns, page.samplesperpixel)
    file = series.parent.filehandle
    for each in series.pages:
        for offset, count in zip(each.dataoffsets, each.databytecounts, strict=False) if each is not None else ():
            declared = _read_size_at(file, offset, count)
            if declared is not None and declared.n_values > allowed.n_values:
                raise MedSegError(
                    f"{name} holds a compressed part of {declared} pixels, but its tags say {allowed}. It is damaged; "
                    "copy or export it again."
                )
            if declared is not None and count // MIN_SCAN_BYTES * declared.n_values > _HARMLESS_PASSES:
                file.seek(offset)
                refuse_many_scans(file.read(min(count, file.size - offset)), name)


def _read_size_at(file: tifffile.FileHandle, offset: int, count: int) -> DeclaredSize | None:
    """Return the size that a part declares; mostly its first bytes are enough, but what comes before has no limit."""
    file.seek(offset)
    start = file.read(min(count, _START_BYTES))
    declared = read_declared_size(start)
    if declared is not None or count <= _START_BYTES or not is_known_codestream(start):
        return declared
    file.seek(offset)
    return read_declared_size(file.read(min(count, file.size - offset)))


def read_samples(series: tifffile.TiffPageSeries, axes: TiffAxes) -> NDArray[Any]:
    """Decode a series and bring it to `axes.shape`, in native byte order."""
    page = series.keyframe
    is_separate = axes.order[-1] == series.axes.find("S") and series.axes[-3:] == "SYX"
    if not is_separate or page.fillorder != 1 or page.imagedepth != 1:
        return convert_to_native(axes.arrange(series.asarray(buffersize=_BUFFER_BYTES).reshape(series.shape)))
    samples = np.empty(axes.shape, series.dtype.newbyteorder("="))
    # The same memory in the order of the file: planes of one sample each.
    lengths = [series.shape[n] for n in axes.order]
    planes = samples.reshape(lengths).transpose(np.argsort(axes.order))
    if series.dataoffset is not None and page.predictor == 1:
        _read_plain_planes(series, planes)
    else:
        _decode_planes(series, planes)
    return samples


def _read_plain_planes(series: tifffile.TiffPageSeries, planes: NDArray[Any]) -> None:
    """Read uncompressed planes that lie one behind the other, some rows at a time."""
    assert series.parent is not None
    dtype = np.dtype(series.parent.byteorder + series.dtype.char)
    n_rows, n_columns = planes.shape[-2:]
    step = max(1, SLAB_ITEMS // n_columns)
    file = series.parent.filehandle
    file.seek(series.dataoffset)
    for index in np.ndindex(planes.shape[:-2]):
        for row in range(0, n_rows, step):
            rows = planes[index][row : row + step]
            rows[...] = file.read_array(dtype, rows.size).reshape(rows.shape)


def _decode_planes(series: tifffile.TiffPageSeries, planes: NDArray[Any]) -> None:
    """Decode tiles or strips, and put each into its place in the plane of its sample."""
    page_shape = planes.shape[:-3]
    for number, page in enumerate(series.pages):
        of_page = planes[np.unravel_index(number, page_shape)] if page_shape else planes
        place = partial(_place_part, of_page)
        for _ in page.segments(buffersize=_BUFFER_BYTES, func=place):  # each thread keeps only the part that it decodes
            pass


def _place_part(planes: NDArray[Any], decoded: tuple[Any, ...]) -> None:
    """Put one decoded tile or strip, as `TiffPage.segments` gives it, into (samples, y, x)."""
    part, (sample, _, row, column, _), _ = decoded
    target = planes[sample, row:, column:]
    if part is not None:
        values = part[0, : target.shape[0], : target.shape[1], 0]
        target[: values.shape[0], : values.shape[1]] = values
