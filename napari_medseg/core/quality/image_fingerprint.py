"""Fingerprints of images: the same picture is known again from another file format, size or grey window.

What a model is judged by must not be among what it learns from, also where somebody saved it once more as a JPEG.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image

SIDE_PX = 96
MAX_PLANES = 256
FINE_SIGMA_PX = 1.0
QUANTISATION_STEPS = 40.0
MIN_DUPLICATE_SIMILARITY = 0.90
"""Slices of a chest CT 5 mm apart reach 0.85, two X-rays of different people 0.25; the same picture as JPEG of quality
75 stays above 0.92 for all but tiny pictures, at half its size above 0.90, in another lung window above 0.97."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is left of an image for comparison.

    Parameters
    ----------
    digest
        SHA-256 of the grey values or colours alone, whatever their type, spacing or place.
    planes
        int8 (plane, SIDE_PX * SIDE_PX): the fine structure of each plane, its contrast made even.
    """

    digest: str
    planes: NDArray[np.int8]


def compute_fingerprint(image: Image) -> Fingerprint:
    """Make the fingerprint of an image; of a volume with many planes, of `MAX_PLANES` spread over it."""
    pixels = np.ascontiguousarray(image.pixels.astype("<f4"))
    digest = hashlib.sha256(f"{image.spatial_shape}".encode())
    digest.update(pixels.data)
    grey = pixels.mean(axis=-1) if image.axes.endswith("C") else pixels
    planes = grey.reshape(-1, *grey.shape[-2:])
    chosen = np.unique(np.linspace(0, len(planes) - 1, min(len(planes), MAX_PLANES)).round().astype(int))
    return Fingerprint(digest.hexdigest(), np.stack([_extract_fine_structure(planes[index]) for index in chosen]))


def compute_similarity(one: Fingerprint, other: Fingerprint) -> float:
    """How alike the two most alike planes of two images are, at most 1; from `MIN_DUPLICATE_SIMILARITY` on they are
    one picture.
    """
    if one.digest == other.digest:
        return 1.0
    return float((_normalise_planes(one.planes) @ _normalise_planes(other.planes).T).max())


def resize_plane(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Bring a plane (y, x) of any size to `SIDE_PX` by `SIDE_PX`: each new pixel is the mean of
    what it covers.
    """
    return _resize_along(_resize_along(plane, 0), 1)


def _extract_fine_structure(plane: NDArray[np.float32]) -> NDArray[np.int8]:
    """Edges and texture at the scale of `FINE_SIGMA_PX`, divided by their local strength, which a grey window
    changes.
    """
    small = resize_plane(plane)
    low, high = np.percentile(small, (1, 99))
    small = np.clip(small, low, high)
    fine = small - ndimage.gaussian_filter(small, FINE_SIGMA_PX)
    strength = np.sqrt(ndimage.gaussian_filter(fine * fine, 2 * FINE_SIGMA_PX)) + 1e-3 * (high - low) + 1e-6
    even = np.clip(fine / strength, -3.0, 3.0)
    steps: NDArray[np.int8] = np.rint((even - even.mean()) * QUANTISATION_STEPS).clip(-127, 127).astype(np.int8)
    return steps.ravel()


def _resize_along(plane: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Mean over `SIDE_PX` equal stretches of an axis, parts of pixels included."""
    length = plane.shape[axis]
    moved = np.moveaxis(plane, axis, 0)
    sums = np.concatenate([np.zeros((1, moved.shape[1])), np.cumsum(moved, axis=0, dtype=np.float64)])
    edges = np.linspace(0, length, SIDE_PX + 1)
    below = np.floor(edges).astype(int)
    share = (edges - below)[:, np.newaxis]
    at_edges = sums[below] * (1 - share) + sums[np.minimum(below + 1, length)] * share
    smaller: NDArray[np.float64] = np.moveaxis(np.diff(at_edges, axis=0) * (SIDE_PX / length), 0, axis)
    return smaller


def _normalise_planes(planes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Vectors of length 1; a plane without structure is like none."""
    numbers = planes.astype(np.float32)
    length = np.linalg.norm(numbers, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(numbers, length, out=np.zeros_like(numbers), where=length > 0)
    return unit
