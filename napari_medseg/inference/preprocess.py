"""Preprocessing: convert an image to network input, and convert the output back to the image's grid.

This is the only preprocessing in the program: window, command line, training and evaluation call
`prepare(image, card)`. The settings are on the card.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image, select_measured
from napari_medseg.core.model_card import ModelCard, Preprocessing
from napari_medseg.inference.contrast import apply_preprocessing_steps

STRIDE_PX = 32
"""Networks halve the plane up to five times, so its sides are padded to multiples of this."""

PERCENTILE_SAMPLE = 1 << 20
"""Percentiles of a larger plane are taken from about this many pixels on a regular grid."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """Planes as network input, with the shapes that are needed to convert the output back.

    Parameters
    ----------
    planes
        float32 (n, c, h, w); h and w are multiples of `STRIDE_PX`. Grey channels may be views of one array.
    plane_shape
        (h, w) of the resampled plane without padding; the padding is at the bottom and right.
    native_plane_shape
        (y, x) of the planes of the image.
    spatial_shape
        Shape of the labels of the planes that were prepared: (y, x), or (n, y, x) for a stack.
    """

    planes: NDArray[np.float32]
    plane_shape: tuple[int, int]
    native_plane_shape: tuple[int, int]
    spatial_shape: tuple[int, ...]


def prepare(image: Image, card: ModelCard, first: int = 0, last: int | None = None) -> PreparedImage:
    """Convert an image, or the planes `first` to `last` (excluded) of a stack, to network input.

    Every plane is normalised separately, so that a slice gets the same labels alone and in its stack, and a stack is
    never converted to floats as a whole.

    Parameters
    ----------
    image
        (y, x) or (z, y, x), with channels behind where there are any; HU, grey or RGB.
    card
        Its preprocessing, and how many channels the network takes.
    first, last
        Planes of a stack; all by default.

    Returns
    -------
    PreparedImage
        `planes` are float32 (last - first, c, h, w).

    Raises
    ------
    MedSegError
        If the network does not accept the image's axes or channels, or the image has no pixels.
    """
    pixels = image.pixels if len(image.spatial_axes) == 3 else image.pixels[np.newaxis]
    pixels = pixels[first:last]
    in_channels = card.architecture.in_channels
    native = (int(pixels.shape[1]), int(pixels.shape[2]))
    if len(pixels) == 0 or 0 in native:
        raise MedSegError(f"{image.name or 'the image'} has no pixels (shape {pixels.shape}). Open another file.")
    plane_shape = compute_plane_shape(native, card.preprocessing)
    padded = (_round_up_to_stride(plane_shape[0]), _round_up_to_stride(plane_shape[1]))
    channels = _count_channels(image, in_channels)
    planes = np.empty((len(pixels), channels, *padded), np.float32)
    for index, plane in enumerate(pixels):
        normalised = normalise_plane(plane, card.preprocessing, image.units, image.padding_value, image.intensity_range)
        planes[index] = _resample_and_pad(_to_channels(normalised, channels), plane_shape, padded)
    if channels != in_channels:
        planes = np.broadcast_to(planes, (len(pixels), in_channels, *padded))
    spatial = (len(pixels), *native) if len(image.spatial_axes) == 3 else native
    return PreparedImage(planes, plane_shape, native, spatial)


def normalise_plane(
    plane: NDArray[Any],
    preprocessing: Preprocessing,
    units: str,
    padding_value: float | None = None,
    intensity_range: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Scale one plane (y, x) or (y, x, c) for the network: [low, high] to [0, 1], then mean and std. Returns float32.

    HU are windowed by the card's fixed values. Other images are windowed by their percentiles, because the original
    window of an 8-bit CT image is unknown. Pixels of `padding_value` were not measured and do not count. A part of a
    larger image has the window of all of it (`intensity_range`), so that parts fit together without a seam.
    """
    if units == "HU":
        low, high = preprocessing.hu_low, preprocessing.hu_high
    elif intensity_range is not None:
        low, high = intensity_range
    else:
        low, high = _compute_percentiles(plane, preprocessing, padding_value)
    if preprocessing.steps:
        shown = np.clip((plane.astype(np.float32) - low) / (high - low), 0.0, 1.0)
        measured = None if padding_value is None else plane != padding_value
        changed = apply_preprocessing_steps(shown, preprocessing.steps, measured)
        return (changed - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    scale = 1.0 / ((high - low) * preprocessing.std)
    result = plane.astype(np.float32)
    np.clip(result, low, high, out=result)
    result -= np.float32(low + preprocessing.mean * (high - low))
    result *= np.float32(scale)
    return result


def get_planes_shape(image: Image) -> tuple[int, int, int]:
    """Return (n, y, x) of the image's planes; n is 1 for a single plane."""
    depth, height, width = (1, *image.spatial_shape)[-3:]
    if 0 in (depth, height, width):
        raise MedSegError(f"{image.name or 'the image'} has no pixels (shape {image.pixels.shape}). Open another file.")
    return depth, height, width


def compute_plane_shape(native: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Return (h, w) after resampling: the longer side is limited to [min_side_px, max_side_px]; aspect is kept."""
    longer = max(native)
    wanted = min(max(longer, preprocessing.min_side_px), preprocessing.max_side_px)
    if wanted == longer:
        return native
    return max(1, round(native[0] * wanted / longer)), max(1, round(native[1] * wanted / longer))


def prepare_labels(labels: NDArray[Any], prepared: PreparedImage) -> NDArray[np.uint8]:
    """Resample labels from the image's grid to the prepared planes, for training.

    Parameters
    ----------
    labels
        Integers from 0 to 255 of shape `prepared.spatial_shape`.

    Returns
    -------
    NDArray
        uint8 (n, h, w), nearest neighbour; the padding repeats the border, as in the image.

    Raises
    ------
    MedSegError
        If the shape differs.
    """
    if labels.shape != prepared.spatial_shape:
        raise MedSegError(
            f"labels of shape {labels.shape} do not fit an image of shape {prepared.spatial_shape}. "
            "Use the labels that belong to the image."
        )
    planes = torch.from_numpy(np.ascontiguousarray(labels, dtype=np.uint8)).reshape(-1, 1, *labels.shape[-2:])
    if prepared.plane_shape != prepared.native_plane_shape:
        planes = functional.interpolate(planes, size=prepared.plane_shape, mode="nearest-exact")
    return _pad_edge(planes.numpy()[:, 0], prepared.planes.shape[-2:])


def restore(probabilities: Tensor, prepared: PreparedImage) -> Tensor:
    """Bring probabilities or logits from the prepared planes back onto the image's own planes.

    Linear, so that an edge between two labels falls where they are equally likely.

    Parameters
    ----------
    probabilities
        (n, classes, h, w), padding included.
    prepared
        Says how the planes were resampled and padded.

    Returns
    -------
    Tensor
        (n, classes, y, x) of the same type and device; a view where nothing was resampled.
    """
    height, width = prepared.plane_shape
    inside = probabilities[..., :height, :width]
    if prepared.plane_shape == prepared.native_plane_shape:
        return inside
    return functional.interpolate(inside, size=prepared.native_plane_shape, mode="bilinear", align_corners=False)


def restore_plane_labels(probabilities: Tensor, prepared: PreparedImage) -> NDArray[np.uint8 | np.uint16]:
    """Return the label with the largest value at each pixel of the native planes.

    One class is restored at a time and compared. So a 4000 x 4000 image is never in memory once per class, and it takes
    a tenth of the time of torch's argmax over a short dimension.

    Parameters
    ----------
    probabilities
        (n, classes, h, w) probabilities or logits, padding included.
    prepared
        Says how the planes were resampled and padded.

    Returns
    -------
    NDArray
        (n, y, x), uint8, or uint16 for more than 256 classes; the first of equal classes wins.
    """
    n_classes = probabilities.shape[1]
    if n_classes == 2:
        more = restore(probabilities[:, 1:] - probabilities[:, :1], prepared)[:, 0] > 0
        return np.asarray(more.cpu().numpy().view(np.uint8))
    best = restore(probabilities[:, :1], prepared)
    labels = torch.zeros(best.shape, dtype=torch.uint8 if n_classes <= 256 else torch.int32, device=best.device)
    for value in range(1, n_classes):
        candidate = restore(probabilities[:, value : value + 1], prepared)
        labels = torch.where(candidate > best, value, labels)
        best = torch.maximum(candidate, best)
    array: NDArray[Any] = labels[:, 0].cpu().numpy()
    return array if n_classes <= 256 else array.astype(np.uint16)


def _compute_percentiles(
    plane: NDArray[Any], preprocessing: Preprocessing, padding_value: float | None
) -> tuple[float, float]:
    step = max(1, math.isqrt(plane.shape[0] * plane.shape[1] // PERCENTILE_SAMPLE))
    sample = select_measured(plane[::step, ::step], padding_value)
    wanted = (preprocessing.percentile_low, preprocessing.percentile_high)
    low, high = (
        _compute_uint8_percentiles(sample, wanted) if sample.dtype == np.uint8 else np.percentile(sample, wanted)
    )
    if high > low:
        return float(low), float(high)
    measured = select_measured(plane, padding_value)
    low, high = float(measured.min()), float(measured.max())
    return (low, high) if high > low else (low, low + 1.0)


def _compute_uint8_percentiles(sample: NDArray[np.uint8], wanted: tuple[float, float]) -> tuple[float, float]:
    """Like `np.percentile`, but from a histogram, which takes a twentieth of the time; torch counts uint8 directly."""
    up_to = torch.bincount(torch.from_numpy(sample.reshape(-1)), minlength=256).numpy().cumsum()

    def percentile(per_cent: float) -> float:
        below, share = divmod(per_cent / 100.0 * (sample.size - 1), 1.0)
        low, high = np.searchsorted(up_to, [below, min(below + 1, sample.size - 1)], side="right")
        return float(low + share * (int(high) - int(low)))

    return percentile(wanted[0]), percentile(wanted[1])


def _count_channels(image: Image, in_channels: int) -> int:
    """Return the number of channels to compute: 1 for grey images, whose channels are equal."""
    if "C" not in image.axes or in_channels == 1:
        return 1
    if image.pixels.shape[-1] != in_channels:
        raise MedSegError(
            f"{image.name or 'the image'} has {image.pixels.shape[-1]} channels, but the model takes {in_channels}. "
            "Choose another model, or save the image as RGB or grey."
        )
    return in_channels


def _to_channels(plane: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Convert (y, x) or (y, x, c) to (channels, y, x)."""
    if plane.ndim == 2:
        return plane[np.newaxis]
    return plane.mean(axis=-1)[np.newaxis] if channels == 1 else np.moveaxis(plane, -1, 0)


def _resample_and_pad(
    plane: NDArray[np.float32], shape: tuple[int, int], padded: tuple[int, int]
) -> NDArray[np.float32]:
    """Resample (c, y, x) to `shape` (with antialiasing) and pad it with its border."""
    if plane.shape[1:] != shape:
        source = torch.from_numpy(plane)[None]  # colours may be the last axis in memory: torch handles that
        plane = functional.interpolate(source, size=shape, mode="bilinear", antialias=True)[0].numpy()
    return _pad_edge(plane, padded)


def _pad_edge(planes: NDArray[Any], padded: tuple[int, ...]) -> NDArray[Any]:
    rows, columns = padded[0] - planes.shape[-2], padded[1] - planes.shape[-1]
    if rows == columns == 0:
        return planes
    return np.pad(planes, ((0, 0), (0, rows), (0, columns)), mode="edge")


def _round_up_to_stride(side: int) -> int:
    return -(-side // STRIDE_PX) * STRIDE_PX
