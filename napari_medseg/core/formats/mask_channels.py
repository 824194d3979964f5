"""The one channel of a mask file that holds the labels: a grey value, an index of a palette, one colour, or alpha.

Programs save masks as colour images, too: drawn in white on a transparent ground, or in one pure colour. An image
loses its transparency when it is read; a mask must not, because the drawing may be in the alpha channel alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_too_large, translate_decode_errors
from napari_medseg.core.formats.tiff_truncation import refuse_truncated

_PNG_GREY = 0
_CHANNEL_NAMES = {1: ("grey",), 2: ("grey", "alpha"), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
_LOSSY_TOLERANCE = 16
"""Grey levels by which the channels of a grey JPEG differ at most."""
_RAW_PHOTOMETRICS = (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.PALETTE)


@dataclass(frozen=True, eq=False)
class MaskChannel:
    """The values of a mask, (y, x) or (z, y, x) in file order, and remarks for the user about how they were read."""

    values: NDArray[Any]
    notes: tuple[str, ...] = ()


def read_picture_channel(path: Path) -> MaskChannel | None:
    """Return the channel of a PNG or JPEG that holds the labels; `None` for a plain grey picture.

    Raises
    ------
    MedSegError
        If the file is damaged, or several channels hold different drawings.
    """
    with translate_decode_errors(path, "a picture"), Picture.open(path) as picture:
        mode, is_lossy = picture.mode, picture.format == "JPEG"
        if mode == "P":
            return _choose_from_palette(np.asarray(picture), np.asarray(picture.convert("RGBA")), path.name)
        bits, colour_type = _read_png_type(path)
        if mode == "1" or (colour_type == _PNG_GREY and bits < 8):  # Pillow stretches them to 0 ... 255
            return MaskChannel(np.asarray(picture.convert("L")) // np.uint8(255 // (2 ** max(bits, 1) - 1)))
        if mode not in ("LA", "PA", "La", "RGB", "RGBA", "RGBa"):
            return None
        has_16_bits = bits == 16 and colour_type != _PNG_GREY
        channels = _decode_16_bit(path) if has_16_bits else np.asarray(picture.convert(_get_plain_mode(mode)))
    return choose_mask_channel(channels, path.name, tolerance=_LOSSY_TOLERANCE if is_lossy else 0)


def read_tiff_channel(path: Path) -> MaskChannel | None:
    """Return the channel of a TIFF that holds the labels; `None` for plain grey values, which are read as an image.

    The indices of a palette are the labels. Where 0 is white (MinIsWhite), values are kept as stored, as ImageJ and
    tifffile write masks; only of a page of 1 bit by another program, white is the drawing.

    Raises
    ------
    MedSegError
        As `read_picture_channel`.
    """
    with translate_decode_errors(path, "TIFF"), tifffile.TiffFile(path) as tiff:
        series, page = tiff.series[0], tiff.pages.first
        n_samples = int(getattr(page, "samplesperpixel", 1))
        if n_samples == 1 and page.photometric not in _RAW_PHOTOMETRICS:
            return None
        refuse_truncated(path, series)
        refuse_too_large(series.shape, series.dtype.itemsize, path)
        values, axes = series.asarray().reshape(series.shape), series.axes
        # Both write what they are given, whatever they say about white.
        is_plain = tiff.is_imagej or str(page.software).startswith("tifffile")
    if n_samples > 1:
        if n_samples not in _CHANNEL_NAMES or page.photometric == tifffile.PHOTOMETRIC.SEPARATED or "S" not in axes:
            raise MedSegError(_describe_colour(path.name, f"it has {n_samples} samples per pixel"))
        channels = np.moveaxis(values, axes.index("S"), -1)
        return choose_mask_channel(channels.reshape(*_drop_ones(channels.shape[:-1]), n_samples), path.name)
    values = values.reshape(_drop_ones(values.shape))
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE or is_plain:
        return MaskChannel(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    if values.dtype.kind == "b":
        return MaskChannel((~values).astype(np.uint8))
    return MaskChannel(values, ("the file shows its values inverted (0 is white); they were taken as stored",))


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


def _read_png_type(path: Path) -> tuple[int, int]:
    """Return the bits per sample and the colour type of a PNG; (0, -1) for other files."""
    with path.open("rb") as file:
        start = file.read(26)
    return (start[24], start[25]) if start[:4] == b"\x89PNG" and len(start) == 26 else (0, -1)


def _decode_16_bit(path: Path) -> NDArray[Any]:
    decoded: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return decoded


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without leading axes of length 1; rows and columns are kept."""
    return (*(length for length in shape[:-2] if length > 1), *shape[-2:])
