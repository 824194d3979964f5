"""Windows of grey values: which value is shown black and which one white.

Width and level of the presets in HU are those in common use (Radiopaedia, "Windowing (CT)").
"""

import math

import numpy as np

from napari_medseg.core.image import Image, select_measured

HU_PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "bone": (400.0, 1800.0),
}
"""Level and width in HU."""
FULL_RANGE, AUTOMATIC = "full range", "automatic"
PRESETS = (*HU_PRESETS, FULL_RANGE, AUTOMATIC)
PERCENTILES = (0.5, 99.5)
SAMPLE_SIZE = 200_000
WIDTH_PX, LEVEL_PX = 200.0, 400.0
"""A drag so far to the right widens the window e times; one so far down raises the level by the width."""

Limits = tuple[float, float]


def explain_missing_preset(image: Image, preset: str) -> str:
    """Return why a preset makes no sense for an image; empty if it does."""
    if image.axes.endswith("C"):
        return "a colour image is shown as it is, without a window"
    if preset in HU_PRESETS and image.units != "HU":
        return f"the window {preset} is for a CT in HU; this image has other grey values"
    return ""


def compute_preset_limits(image: Image, preset: str) -> Limits:
    """Return the grey values shown black and white by a preset.

    Parameters
    ----------
    image
        The image; CT pixels are in HU, as its file's rescale says.
    preset
        One of `PRESETS` that `explain_missing_preset` does not rule out.
    """
    if preset in HU_PRESETS:
        level, width = HU_PRESETS[preset]
        return level - width / 2, level + width / 2
    return compute_full_range(image) if preset == FULL_RANGE else compute_automatic_limits(image)


def compute_full_range(image: Image) -> Limits:
    """Return the smallest and the largest value without padding; 0 and 255 for 8 bits."""
    if image.pixels.dtype == np.uint8:
        return 0.0, 255.0
    if image.padding_value is None:
        low, high = np.min(image.pixels), np.max(image.pixels)
        if not math.isnan(low):  # of integers; NaN needs the slower way below
            return _widen(float(low), float(high))
    shown = select_measured(image.pixels.reshape(-1), image.padding_value)
    return _widen(float(np.nanmin(shown)), float(np.nanmax(shown)))


def compute_automatic_limits(image: Image) -> Limits:
    """Return the values below and above which 0.5 % of the pixels lie, of a regular sample of the image."""
    # Every n-th voxel along each axis: `reshape` would copy all of a flipped volume.
    step = math.ceil(max(1.0, image.pixels.size / SAMPLE_SIZE) ** (1 / image.pixels.ndim))
    sample = image.pixels[(slice(None, None, step),) * image.pixels.ndim]
    shown = select_measured(sample.reshape(-1), image.padding_value)
    low, high = np.nanpercentile(shown, PERCENTILES)
    return _widen(float(low), float(high))


def drag_limits(limits: Limits, right_px: float, down_px: float, smallest_width: float) -> Limits:
    """Return the window after a drag: to the right it is wider, upwards brighter.

    Parameters
    ----------
    limits
        Black and white before the drag.
    right_px, down_px
        How far the mouse went, in pixels of the screen.
    smallest_width
        In grey values; 1 for integers.
    """
    low, high = limits
    width = max(smallest_width, (high - low) * math.exp(right_px / WIDTH_PX))
    level = (low + high) / 2 + (high - low) * down_px / LEVEL_PX
    return level - width / 2, level + width / 2


def find_preset(image: Image, limits: Limits) -> str:
    """Return the preset that has these limits; empty if none. The full range is known by itself only for 8 bits."""
    if image.axes.endswith("C"):
        return ""
    presets = list(HU_PRESETS) if image.units == "HU" else []
    presets += [FULL_RANGE] if image.pixels.dtype == np.uint8 else [AUTOMATIC]
    return next((name for name in presets if np.allclose(compute_preset_limits(image, name), limits)), "")


def format_window(limits: Limits) -> str:
    """Return a window as text, such as ``L -600 W 1500``."""
    low, high = limits
    return f"L {(low + high) / 2:.4g} W {high - low:.4g}"


def _widen(low: float, high: float) -> Limits:
    return low, high if high > low else low + 1
