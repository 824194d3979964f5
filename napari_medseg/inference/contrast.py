"""Contrast steps of preprocessing; a card names the steps.

In colour images the brightness (the largest channel) is changed, and the colours keep their proportions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import exposure, filters

from napari_medseg.core.errors import look_up

SMOOTHING_SIGMA_PX = 1.0
CLIP_LIMIT = 0.01
MIN_BRIGHTNESS = 1e-3

Pixels = NDArray[np.float32]


def apply_preprocessing_steps(
    pixels: Pixels, names: Sequence[str], measured: NDArray[np.bool_] | None = None
) -> Pixels:
    """Apply steps in order.

    Parameters
    ----------
    pixels
        float32 (y, x) or (y, x, c) in [0, 1]; the result has the same shape and range.
    names
        Keys of `PREPROCESSING_STEPS`.
    measured
        Pixels that count in a histogram of the whole plane, of the shape of `pixels`; `None` for all.

    Returns
    -------
    NDArray
        float32 of the same shape, in [0, 1].

    Raises
    ------
    MedSegError
        If a step is unknown; the text lists the choices.
    """
    for name in names:
        apply = look_up(PREPROCESSING_STEPS, name, "step of preparation")
        if apply is equalise_histogram:
            pixels = equalise_histogram(pixels, measured).astype(np.float32)
        else:
            pixels = apply(pixels).astype(np.float32)
    return pixels


def equalise_histogram(pixels: Pixels, measured: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Spread brightness so that every value is as frequent; (y, x) or (y, x, c) floats in [0, 1], in and out."""
    counted = None if measured is None or pixels.ndim > 2 or not measured.any() else measured
    return _apply_to_brightness(pixels, lambda brightness: exposure.equalize_hist(brightness, mask=counted))


def apply_clahe(pixels: Pixels) -> NDArray[Any]:
    """Spread brightness region by region, with limited contrast; (y, x) or (y, x, c) floats in [0, 1], in and out.

    Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.
    """
    return _apply_to_brightness(
        pixels, lambda brightness: exposure.equalize_adapthist(brightness, clip_limit=CLIP_LIMIT)
    )


def smooth(pixels: Pixels) -> NDArray[Any]:
    """Blur by a Gaussian of `SMOOTHING_SIGMA_PX`; (y, x) or (y, x, c), channels apart, of the same shape."""
    smoothed: NDArray[Any] = filters.gaussian(pixels, SMOOTHING_SIGMA_PX, channel_axis=-1 if pixels.ndim == 3 else None)
    return smoothed


PREPROCESSING_STEPS: dict[str, Callable[[Pixels], NDArray[Any]]] = {
    "equalise": equalise_histogram,
    "clahe": apply_clahe,
    "smooth": smooth,
}


def _apply_to_brightness(pixels: Pixels, change: Callable[[Pixels], NDArray[Any]]) -> NDArray[Any]:
    if pixels.ndim == 2:
        return change(pixels)
    brightness = pixels.max(axis=-1)
    factor = change(brightness) / np.maximum(brightness, MIN_BRIGHTNESS)
    changed: NDArray[Any] = np.clip(pixels * factor[..., np.newaxis], 0.0, 1.0)
    return changed
