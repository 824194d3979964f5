"""Fingerprints of images: detect the same image in another file format, size or grey window.

A hold-out image must not be among the training images, not even as a JPEG copy.
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
"""Similarity of duplicates. Slices of a chest CT 5 mm apart reach 0.85, X-rays of two people 0.25. The same image stays
above 0.92 as JPEG of quality 75 (except tiny images), above 0.90 at half size, above 0.97 in another lung window."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Fingerprint of an image for comparison.

    Parameters
    ----------
    digest
        SHA-256 of shape and pixel values, independent of dtype, spacing and affine.
    planes
        int8 (plane, SIDE_PX * SIDE_PX): fine structure of each plane with normalised local contrast.
    """

    digest: str
    planes: NDArray[np.int8]


def compute_fingerprint(image: Image) -> Fingerprint:
    """Compute the fingerprint of an image; of a volume, from at most `MAX_PLANES` evenly spaced planes."""
    pixels = np.ascontiguousarray(image.pixels.astype("<f4"))
    digest = hashlib.sha256(f"{image.spatial_shape}".encode())
    digest.update(pixels.data)
    grey = pixels.mean(axis=-1) if image.axes.endswith("C") else pixels
    planes = grey.reshape(-1, *grey.shape[-2:])
    chosen = np.unique(np.linspace(0, len(planes) - 1, min(len(planes), MAX_PLANES)).round().astype(int))
    return Fingerprint(digest.hexdigest(), np.stack([_extract_fine_structure(planes[index]) for index in chosen]))


def compute_similarity(one: Fingerprint, other: Fingerprint) -> float:
    """Return the similarity, at most 1, of the two most similar planes of two images.

    From `MIN_DUPLICATE_SIMILARITY` on, the images are duplicates.
    """
    if one.digest == other.digest:
        return 1.0
    return float((_normalise_planes(one.planes) @ _normalise_planes(other.planes).T).max())


def resize_plane(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Resize a plane (y, x) to (SIDE_PX, SIDE_PX) by area averaging."""
    return _resize_along(_resize_along(plane, 0), 1)


def _extract_fine_structure(plane: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return edges and texture at the scale of `FINE_SIGMA_PX`, divided by their local strength.

    The division removes the effect of the grey window.
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
    """Average over `SIDE_PX` equal parts of an axis; fractions of pixels are included."""
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
    """Normalise each row to length 1; a plane without structure stays 0."""
    numbers = planes.astype(np.float32)
    length = np.linalg.norm(numbers, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(numbers, length, out=np.zeros_like(numbers), where=length > 0)
    return unit
