"""The colours of a TIFF file: samples become grey or RGB as their tags say; other kinds are refused by name.

Conversions are those of Pillow, so that a file has the same pixels here as in other programs. See TIFF 6.0, Adobe 1992.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from tifffile import PHOTOMETRIC

from napari_medseg.core.decoded_size.slabs import SLAB_ITEMS
from napari_medseg.core.errors import MedSegError

_N_COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
_NAMES = {
    PHOTOMETRIC.SEPARATED: "CMYK",
    PHOTOMETRIC.YCBCR: "YCbCr",
    PHOTOMETRIC.MINISWHITE: "white-is-zero",
    PHOTOMETRIC.MINISBLACK: "black-is-zero",
    PHOTOMETRIC.PALETTE: "palette",
    PHOTOMETRIC.MASK: "transparency mask",
    PHOTOMETRIC.CIELAB: "CIELab",
    PHOTOMETRIC.ICCLAB: "ICCLab",
    PHOTOMETRIC.ITULAB: "ITULab",
    PHOTOMETRIC.CFA: "raw camera (CFA)",
    PHOTOMETRIC.LINEAR_RAW: "raw camera (LinearRaw)",
}
_UNSPECIFIED, _ASSOCIATED_ALPHA = 0, 1
_UNCOMPRESSED = 1
_JPEG, _OLD_JPEG, _APERIO_YCBCR_JPEG2000 = (7, 34892, 33007), 6, 33003
_INK_SET, _CMYK_INKS = 332, 1
_UINT, _INT, _FLOAT = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Colours:
    """What the samples of a page mean.

    Parameters
    ----------
    photometric
        The tag PhotometricInterpretation.
    bits
        Bits per sample.
    extra
        Meaning of each sample after the colours: 0 unspecified, 1 associated alpha, 2 unassociated alpha.
    palette
        (3, 2 ** bits) values of 8 bits; `None` without a palette.
    is_rgb_already
        Whether the decoder converted YCbCr to RGB.
    """

    photometric: PHOTOMETRIC
    bits: int
    extra: tuple[int, ...]
    palette: NDArray[np.uint8] | None
    is_rgb_already: bool

    @property
    def has_numbers(self) -> bool:
        """Whether a pixel is one number (grey or a palette index), as labels are."""
        return _N_COLOURS[self.photometric] == 1

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the user about samples that are not shown."""
        n = self.extra.count(_UNSPECIFIED)
        return (f"Each pixel has {n} more samples of unknown meaning; they are not used.",) if n else ()


def read_colours(page: tifffile.TiffPage, name: str) -> Colours:
    """Read the meaning of the samples from the tags of a page, before its pixels are decoded.

    Raises
    ------
    MedSegError
        If there is no exact conversion to grey or RGB; the text names the kind.
    """
    photometric = _read_photometric(page, name)
    extra = _read_extra_samples(page, photometric, name)
    _refuse_sample_type(page, photometric, extra, name)
    is_jpeg = page.compression in _JPEG
    if photometric == PHOTOMETRIC.YCBCR and not is_jpeg and (page.is_subsampled or page.compression != _UNCOMPRESSED):
        raise MedSegError(_refuse_kind(name, "YCbCr that is subsampled or compressed otherwise than as JPEG"))
    if photometric == PHOTOMETRIC.SEPARATED and int(page.tags.valueof(_INK_SET, default=_CMYK_INKS)) != _CMYK_INKS:
        raise MedSegError(_refuse_kind(name, "inks other than CMYK"))
    palette = _read_palette(page, name) if photometric == PHOTOMETRIC.PALETTE else None
    return Colours(photometric, int(page.bitspersample), extra, palette, photometric == PHOTOMETRIC.YCBCR and is_jpeg)


def convert_to_grey_or_rgb(values: NDArray[Any], colours: Colours, name: str) -> NDArray[Any]:
    """Convert samples to what they show.

    Parameters
    ----------
    values
        Samples, shape (..., y, x, samples). Their memory is used again, so nobody else may need them.
    colours
        Their meaning.
    name
        File name, for the error.

    Returns
    -------
    NDArray
        Grey (..., y, x, 1) or RGB (..., y, x, 3); black is 0. Alpha is dropped; colours that were multiplied by it are
        divided by it. 2 and 4 bits are spread over 0 to 255.

    Raises
    ------
    MedSegError
        If colours of 16 bits were multiplied by an alpha channel.
    """
    match colours.photometric:
        case PHOTOMETRIC.MINISBLACK | PHOTOMETRIC.MINISWHITE:
            return _convert_grey(values, colours, name)
        case PHOTOMETRIC.PALETTE:
            assert colours.palette is not None
            return np.take(np.ascontiguousarray(colours.palette.T), values[..., 0], axis=0)
        case PHOTOMETRIC.SEPARATED:
            return _convert_with_pillow(_reduce_to_8_bits(values[..., :4]), "CMYK")
        case PHOTOMETRIC.YCBCR if not colours.is_rgb_already:
            return _convert_with_pillow(values, "YCbCr")
        case _:
            return _divide_by_alpha(values, colours, name)[..., :3]


def keep_numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers of a grey or palette file, shape (..., y, x), as labels need them.

    Palette indices and values of 2 and 4 bits are kept, whatever they show; one bit becomes 0 and 1.
    """
    numbers = values[..., 0]
    return numbers.astype(np.uint8) if numbers.dtype.kind == "b" else numbers


def _read_photometric(page: tifffile.TiffPage, name: str) -> PHOTOMETRIC:
    if page.compression in (_OLD_JPEG, _APERIO_YCBCR_JPEG2000):
        kind = (
            "old-style JPEG compression" if page.compression == _OLD_JPEG else "JPEG 2000 compression of YCbCr (33003)"
        )
        raise MedSegError(_refuse_kind(name, kind))
    if "PhotometricInterpretation" not in page.tags:
        raise MedSegError(
            f"{name} does not say what its values mean (PhotometricInterpretation is missing). Save it as grey or RGB."
        )
    number = int(page.photometric)
    if number not in _N_COLOURS:
        known = number in list(PHOTOMETRIC)
        kind = _NAMES.get(PHOTOMETRIC(number), PHOTOMETRIC(number).name) if known else f"unknown ({number})"
        raise MedSegError(_refuse_kind(name, f"the colour kind {kind}"))
    return PHOTOMETRIC(number)


def _read_extra_samples(page: tifffile.TiffPage, photometric: PHOTOMETRIC, name: str) -> tuple[int, ...]:
    n_samples = int(page.samplesperpixel)
    n_extra = n_samples - _N_COLOURS[photometric]
    if n_extra < 0:
        raise MedSegError(f"{name} is {_name(photometric)} with {n_samples} samples per pixel. Save it as grey or RGB.")
    extra = tuple(int(kind) for kind in page.extrasamples)[-n_extra:] if n_extra else ()
    is_grey = photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
    if is_grey and n_extra and (len(extra) != n_extra or _UNSPECIFIED in extra):
        raise MedSegError(
            f"{name} has {n_samples} channels (samples per pixel) that are not marked as RGB; one channel is expected. "
            "Save each channel as a file of its own; for a colour picture, save it as RGB."
        )
    if n_extra > 3 or (n_extra and photometric in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.YCBCR)):
        raise MedSegError(_refuse_kind(name, f"{_name(photometric)} with {n_extra} extra samples per pixel"))
    return extra


def _refuse_sample_type(page: tifffile.TiffPage, photometric: PHOTOMETRIC, extra: tuple[int, ...], name: str) -> None:
    kind, bits = int(page.sampleformat), page.bitspersample
    if photometric == PHOTOMETRIC.MINISBLACK and not extra:
        return
    if photometric in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK):
        fits = kind == _UINT
    elif photometric == PHOTOMETRIC.PALETTE:
        fits = kind == _UINT and bits in (1, 2, 4, 8)
    elif photometric == PHOTOMETRIC.YCBCR:
        fits = kind == _UINT and bits == 8
    elif photometric == PHOTOMETRIC.RGB and kind == _FLOAT:
        fits = not extra  # no conversion is needed
    else:
        fits = kind == _UINT and bits in (8, 16)
    if not fits:
        of = {_UINT: "unsigned integers", _INT: "signed integers", _FLOAT: "floats"}.get(kind, "another type")
        raise MedSegError(_refuse_kind(name, f"{_name(photometric)} in {of} of {bits} bits"))


def _read_palette(page: tifffile.TiffPage, name: str) -> NDArray[np.uint8]:
    palette: NDArray[Any] | None = page.colormap
    if palette is None or palette.shape != (3, 2 ** int(page.bitspersample)):
        raise MedSegError(f"{name} has no usable palette (ColorMap). Save it as RGB.")
    # Values have 16 bits; libtiff also knows writers that store 8 bits.
    return np.asarray(palette >> 8 if palette.max() > 255 else palette, dtype=np.uint8)


def _convert_grey(values: NDArray[Any], colours: Colours, name: str) -> NDArray[Any]:
    grey = _divide_by_alpha(values, colours, name)[..., :1]
    if colours.photometric == PHOTOMETRIC.MINISWHITE:
        grey = _invert(grey, colours.bits)
    if colours.bits in (2, 4):
        grey *= np.uint8(255 // (2**colours.bits - 1))
    return grey


def _invert(grey: NDArray[Any], bits: int) -> NDArray[Any]:
    if grey.dtype.kind == "b":
        np.logical_not(grey, out=grey)
    else:
        np.subtract(grey.dtype.type(2**bits - 1), grey, out=grey)
    return grey


def _divide_by_alpha(values: NDArray[Any], colours: Colours, name: str) -> NDArray[Any]:
    """Undo the multiplication of the colours by an associated alpha channel."""
    n_colours = _N_COLOURS[colours.photometric]
    if colours.extra[:1] != (_ASSOCIATED_ALPHA,):
        return values
    if np.all(values[..., n_colours] == np.iinfo(values.dtype).max):
        return values
    if values.dtype != np.uint8:
        raise MedSegError(_refuse_kind(name, f"transparent colours of {colours.bits} bits, multiplied by alpha"))
    kind = "La" if n_colours == 1 else "RGBa"
    divided = _convert_with_pillow(values[..., : n_colours + 1], kind, kind.upper())
    divided[values[..., n_colours] == 0] = 0
    return divided


def _reduce_to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    return (values >> 8 if values.dtype.itemsize == 2 else values).astype(np.uint8, copy=False)


def _convert_with_pillow(values: NDArray[Any], mode: str, wanted: str = "RGB") -> NDArray[Any]:
    """Convert uint8 (..., y, x, samples) from one mode of Pillow to another, some rows at a time."""
    rows = values.reshape(-1, *values.shape[-2:])
    converted = np.empty((*rows.shape[:-1], len(Picture.new(wanted, (1, 1)).getbands())), np.uint8)
    step = max(1, SLAB_ITEMS // rows[0].size)
    for start in range(0, len(rows), step):
        part = np.ascontiguousarray(rows[start : start + step])
        picture = Picture.frombytes(mode, (part.shape[1], part.shape[0]), part.tobytes()).convert(wanted)
        converted[start : start + step] = np.asarray(picture).reshape(*part.shape[:-1], -1)
    return converted.reshape(*values.shape[:-1], -1)


def _name(photometric: PHOTOMETRIC) -> str:
    return str(_NAMES.get(photometric, photometric.name))


def _refuse_kind(name: str, kind: str) -> str:
    return f"{name} uses {kind}, which has no exact conversion here. Save it as grey or RGB of 8 or 16 bits."
