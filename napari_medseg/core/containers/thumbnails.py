"""A small picture of an image that was found but not opened: its middle slice, of which no more is read than needed."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.image import Image

MAX_BYTES = 200_000_000
"""Files of more bytes that are read whole get no picture."""
_PERCENTILES = (1, 99)


def make_source_thumbnail(source: ImageSource, size: int) -> NDArray[np.uint8] | None:
    """Return the middle slice at most `size` px wide and high, uint8 (rows, columns); `None` if it costs too much.

    Raises
    ------
    MedSegError
        If the file is damaged.
    """
    if source.problem:
        return None
    if len(source.headers) > 1:
        middle = sorted(source.headers, key=_get_place)[len(source.headers) // 2]
        image = formats.read_source(replace(source, headers=(middle,), paths=(), files=(middle.path,), archive=None))
    elif sum(file.stat().st_size for file in source.files) > MAX_BYTES:
        return None
    else:
        image = formats.read_source(source)
    return _scale(image, size)


def _get_place(header: DicomHeader) -> float:
    plane = header.planes[0]
    return 0.0 if plane.position is None else float(plane.position @ plane.normal)


def _scale(image: Image, size: int) -> NDArray[np.uint8]:
    plane = image.pixels[image.pixels.shape[0] // 2] if image.axes.startswith("Z") else image.pixels
    step = max(1, -(-max(plane.shape[:2]) // size))
    small = plane[::step, ::step].astype(np.float32)
    if image.axes.endswith("C"):
        small = small.mean(axis=-1)
    low, high = np.percentile(small, _PERCENTILES)
    scaled: NDArray[np.uint8] = (np.clip((small - low) / max(float(high - low), 1e-6), 0, 1) * 255).astype(np.uint8)
    return scaled
