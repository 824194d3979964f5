"""What may be done to the grey values of a picture before a network sees it; a card names the steps.

In colour pictures the brightness (the largest channel) is changed and the colours keep their proportions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import exposure, filters

from napari_medseg.core.errors import MedSegError

SMOOTHING_PX = 1.0
CLIP_LIMIT = 0.01
DARKEST = 1e-3

Picture = NDArray[np.float32]


def apply_image_steps(picture: Picture, names: Sequence[str]) -> Picture:
    """Apply steps in order.

    Parameters
    ----------
    picture
        (y, x) or (y, x, c) in [0, 1].
    names
        Keys of `IMAGE_STEPS`.

    Raises
    ------
    MedSegError
        If there is no such step; the text lists the choices.
    """
    for name in names:
        if name not in IMAGE_STEPS:
            raise MedSegError(f"unknown step of preparation {name!r}; choose one of {sorted(IMAGE_STEPS)}")
        picture = IMAGE_STEPS[name](picture).astype(np.float32)
    return picture


def equalise(picture: Picture) -> NDArray[Any]:
    """Spread brightness so that every value is as frequent."""
    return _on_brightness(picture, exposure.equalize_hist)


def clahe(picture: Picture) -> NDArray[Any]:
    """Spread brightness region by region, with limited contrast (Zuiderveld, Graphics Gems IV, 1994)."""
    return _on_brightness(picture, lambda brightness: exposure.equalize_adapthist(brightness, clip_limit=CLIP_LIMIT))


def smooth(picture: Picture) -> NDArray[Any]:
    """Blur by a Gaussian of one pixel."""
    smoothed: NDArray[Any] = filters.gaussian(picture, SMOOTHING_PX, channel_axis=-1 if picture.ndim == 3 else None)
    return smoothed


IMAGE_STEPS: dict[str, Callable[[Picture], NDArray[Any]]] = {"equalise": equalise, "clahe": clahe, "smooth": smooth}


def _on_brightness(picture: Picture, change: Callable[[Picture], NDArray[Any]]) -> NDArray[Any]:
    if picture.ndim == 2:
        return change(picture)
    brightness = picture.max(axis=-1)
    factor = change(brightness) / np.maximum(brightness, DARKEST)
    changed: NDArray[Any] = np.clip(picture * factor[..., np.newaxis], 0.0, 1.0)
    return changed
