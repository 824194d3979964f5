"""The one channel of a mask file that holds the labels: a grey value, an index of a palette, one colour, or alpha.

Programs save masks as colour images, too: drawn in white on a transparent ground, or in one pure colour. An image
loses its transparency when it is read; a mask must not, because the drawing may be in the alpha channel alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.png_jpeg import PNG_GREY, decode_plain_png, open_picture, read_png_type

_CHANNEL_NAMES = {1: ("grey",), 2: ("grey", "alpha"), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
_LOSSY_TOLERANCE = 16
"""Grey levels by which the channels of a grey JPEG differ at most."""


@dataclass(frozen=True, eq=False)
class MaskChannel:
    """The values of a mask, (y, x) or (z, y, x) in file order, and remarks for the user about how they were read."""

    values: NDArray[Any]
    notes: tuple[str, ...] = ()


def read_picture_channel(path: Path, expected_bytes: int | None = None) -> MaskChannel | None:
    """Return the channel of a PNG or JPEG that holds the labels; `None` for a plain grey picture.

    `expected_bytes` is as of `compute_limit`.

    Raises
    ------
    MedSegError
        If the file is damaged, or several channels hold different drawings.
    """
    with translate_decode_errors(path, "a picture"), open_picture(path, expected_bytes) as picture:
        mode, is_lossy = picture.mode, picture.format == "JPEG"
        if mode == "P":
            return _choose_from_palette(np.asarray(picture), np.asarray(picture.convert("RGBA")), path.name)
        bits, colour_type = read_png_type(path)
        if mode == "1" or (colour_type == PNG_GREY and bits < 8):  # Pillow stretches them to 0 ... 255
            return MaskChannel(np.asarray(picture.convert("L")) // np.uint8(255 // (2 ** max(bits, 1) - 1)))
        if mode not in ("LA", "PA", "La", "RGB", "RGBA", "RGBa"):
            return None
        has_16_bits = bits == 16 and colour_type != PNG_GREY
        channels = decode_plain_png(path) if has_16_bits else np.asarray(picture.convert(_get_plain_mode(mode)))
    return choose_mask_channel(channels, path.name, tolerance=_LOSSY_TOLERANCE if is_lossy else 0)


def choose_mask_channel(channels: NDArray[Any], name: str, tolerance: int = 0) -> MaskChannel:
    """Choose the channel that holds the labels: the only one that varies, or one of several equal ones.

    Parameters
    ----------
    channels
        (..., n), with n from 1 to 4; of 2 and 4 channels the last one is alpha.
    name
        Name of the file, for the error.
    tolerance
        Largest difference between equal channels; above 0 for lossy files.

    Raises
    ------
    MedSegError
        If two channels hold different drawings.
    """
    names = _CHANNEL_NAMES[channels.shape[-1]]
    colours = [channels[..., index] for index, channel in enumerate(names) if channel != "alpha"]
    if "alpha" in names:
        alpha = channels[..., -1]
        if not alpha.any():
            return MaskChannel(np.zeros_like(alpha))
        if _varies(alpha):
            if not any(_varies(colour) for colour in colours):
                return MaskChannel(alpha, ("only its alpha channel varies; it was taken as the mask",))
            if not np.array_equal(alpha > 0, np.logical_or.reduce([colour > 0 for colour in colours])):
                raise MedSegError(_describe_colour(name, "its alpha channel and its colours show different drawings"))
    return _choose_colour(colours, names, name, tolerance)


def _choose_colour(colours: list[NDArray[Any]], names: tuple[str, ...], name: str, tolerance: int = 0) -> MaskChannel:
    first, others = colours[0], colours[1:]
    if all(_are_equal(first, other, tolerance) for other in others):
        return MaskChannel(first)
    varying = [index for index, colour in enumerate(colours) if _varies(colour, tolerance)]
    # A drawing in one pure colour may fill the image.
    marked = varying or [index for index, colour in enumerate(colours) if colour.any()]
    is_on_black = not any(colours[index].any() for index in range(len(colours)) if index not in marked)
    chosen = colours[marked[0]]
    if len(marked) > 1 and not (is_on_black and all(np.array_equal(chosen, colours[index]) for index in marked)):
        varied = " and ".join(names[index] for index in marked)
        raise MedSegError(_describe_colour(name, f"its {varied} channels differ"))
    taken = f"only its {names[marked[0]]} channel varies; it was taken as the mask"
    doubt = "; its ground is not black, so check that the drawing is not inverted"
    return MaskChannel(chosen, () if is_on_black else (taken + doubt,))


def _choose_from_palette(indices: NDArray[np.uint8], rgba: NDArray[np.uint8], name: str) -> MaskChannel:
    """Return the indices, unless the palette is only a way to store transparency, or black and white the wrong way."""
    used, first = np.unique(indices, return_index=True)
    entries = rgba.reshape(-1, 4)[first].astype(int)
    if len(used) > 1 and not np.ptp(entries[:, :3], axis=0).any() and np.ptp(entries[:, 3]):
        return choose_mask_channel(rgba, name)
    is_grey = (entries[:, :1] == entries[:, :3]).all()
    black = np.flatnonzero(entries[:, 0] == 0)
    if is_grey and len(used) > 1 and len(black) and used[black[0]] != 0:
        return MaskChannel(rgba[..., 0])  # written by a program that sorts the palette: black is not index 0
    return MaskChannel(indices.astype(np.uint8))


def _describe_colour(name: str, reason: str) -> str:
    return (
        f"{name} is a colour image; labels are one number per pixel, but {reason}. Export label values, not colours, "
        "or a drawing in one colour on black."
    )


def _varies(channel: NDArray[Any], tolerance: int = 0) -> bool:
    return float(channel.max()) - float(channel.min()) > tolerance


def _are_equal(one: NDArray[Any], other: NDArray[Any], tolerance: int) -> bool:
    if not tolerance:
        return np.array_equal(one, other)
    return float(np.abs(one.astype(np.float64) - other).max()) <= tolerance


def _get_plain_mode(mode: str) -> str:
    """Return the mode without a palette and without premultiplied alpha."""
    return {"PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(mode, mode)
