"""PNG and JPEG: rotated by the EXIF orientation; PNG files of this program also carry the geometry."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.decoded_size.codestreams import read_declared_size, refuse_many_scans
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.decoded_size.slabs import SLAB_ITEMS, iterate_slabs
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import PNG_JPEG_SUFFIXES, TIFF_SUFFIXES, get_suffix
from napari_medseg.core.formats.grid_metadata import GRID_KEY, GridMetadata, apply_grid, parse_grid_json
from napari_medseg.core.formats.orientation import make_turned_storage, reorient_own_pixels
from napari_medseg.core.image import Image, cast_native

_EXIF_ORIENTATION = 0x0112
_PNG_START, _JPEG_START = b"\x89PNG", b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHECKSUM_BYTES = 4
# Formats that are read under the name of a picture. Pillow knows more, and starts Ghostscript for EPS.
_OTHER_FORMATS = ("BMP", "GIF", "JPEG2000", "PPM", "TIFF", "WEBP")
# Chunks about the pixels, and those of an animation.
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT")
PNG_GREY, _PNG_COLOUR_TYPES_OF_SEVERAL_CHANNELS = 0, (2, 4, 6)


def read_png_jpeg(path: Path, expected_bytes: int | None = None) -> Image:
    """Read a PNG or JPEG as ``"YX"`` (grey) or ``"YXC"`` (RGB).

    Transparency is dropped; an RGB image whose channels are all equal becomes grey. 16-bit values are kept.
    `expected_bytes` is what it takes at most, if that is known (see `compute_limit`).

    Raises
    ------
    MedSegError
        If the file is damaged (a checksum of a PNG fails), not a PNG or JPEG image, has no pixels, or would take too
        much memory.
    """
    _refuse_failed_checksum(path, expected_bytes)
    with translate_decode_errors(path, "a picture"), open_picture(path, expected_bytes) as picture:
        grid = parse_grid_json(str(picture.info.get(GRID_KEY, "")))
        turned = make_turned_storage(_read_exif_orientation(path, picture), 2)
        n_frames = getattr(picture, "n_frames", 1) if picture.format in ("PNG", "WEBP") else 1
        is_plain = n_frames == 1 and _has_plain_samples(path)
        pixels = _decode(path, picture, is_plain=is_plain)
    refuse_unusable(pixels, path.name)
    pixels, units = reduce_to_grey(pixels)
    storage = grid.storage if grid.storage is not None and len(grid.storage.flips) == 2 else turned
    image = Image(
        pixels=reorient_own_pixels(pixels, storage),
        axes="YXC" if units == "rgb" else "YX",
        units=units,
        name=path.stem,
        sources=(path,),
        storage=storage,
        notes=(f"The file is an animation of {n_frames} frames; the first one is shown.",) if n_frames > 1 else (),
    )
    return apply_grid(image, grid)


def _decode(path: Path, picture: Picture.Image, *, is_plain: bool) -> NDArray[Any]:
    if is_plain or _has_channels_of_16_bits(path):
        return decode_plain_png(path)
    if picture.format == "JPEG2000":  # Pillow reduces colours of 16 bits to 8
        return cast_native(np.atleast_2d(imagecodecs.jpeg2k_decode(path.read_bytes())))
    return _decode_pixels(picture)


def open_picture(path: Path, expected_bytes: int | None = None) -> Picture.Image:
    """Open a PNG or JPEG, whose pixels are decoded later, if they do not take too much memory.

    `expected_bytes` is as of `compute_limit`.

    `PIL.Image.open` refuses pictures of more than 179 million pixels, however much memory there is. Other formats under
    the name of a picture keep that limit.

    Raises
    ------
    MedSegError
        If the pixels would take too much memory, or a JPEG has so many scans that decoding would take minutes.
    Exception
        Whatever Pillow raises for damaged files: call this function inside `translate_decode_errors`.
    """
    with path.open("rb") as file:
        start = file.read(len(_PNG_START))
    kind = PngImageFile if start == _PNG_START else JpegImageFile if start.startswith(_JPEG_START) else None
    picture = Picture.open(path, formats=_OTHER_FORMATS) if kind is None else kind(path)
    try:
        n_bytes, disk_bytes = _compute_pixel_bytes(picture, path), path.stat().st_size
        refuse_above_limit(n_bytes, disk_bytes, path.name, expected_bytes=expected_bytes)
        if picture.format in ("JPEG2000", "WEBP"):
            _refuse_larger_codestream(path, picture)
        if kind is JpegImageFile:
            refuse_many_scans(path.read_bytes(), path.name)
    except MedSegError:
        picture.close()
        raise
    return picture


def _refuse_larger_codestream(path: Path, picture: Picture.Image) -> None:
    """Refuse a picture whose compressed pixels say that they are larger than its header says."""
    said = read_declared_size(path.read_bytes())
    if said is not None and said.rows * said.columns > picture.width * picture.height:
        raise MedSegError(
            f"{path.name} is damaged: its header says {picture.width} x {picture.height} pixels, and its compressed "
            f"pixels say {said.columns} x {said.rows}. Copy or export it again."
        )


def _read_exif_orientation(path: Path, picture: Picture.Image) -> int:
    """Return the EXIF Orientation, 1 to 8.

    In a PNG it may follow the pixels, and Pillow decodes them all to find it: of a PNG it gets the other chunks only.
    """
    if picture.format != "PNG":
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    with PngImageFile(BytesIO(_drop_pixels(path))) as rest:
        return int(rest.getexif().get(_EXIF_ORIENTATION, 1))


def _drop_pixels(path: Path) -> bytes:
    """Return a PNG with all chunks of a file but those of its pixels: it has one black pixel."""
    kept = bytearray(_PNG_SIGNATURE + _make_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, PNG_GREY, 0, 0, 0)))
    pixel = _make_chunk(b"IDAT", zlib.compress(bytes(2)))
    with SizedFile(path) as file:
        file.seek(len(_PNG_SIGNATURE))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind not in _PIXEL_CHUNKS:
                kept += head + file.read(length + _CHECKSUM_BYTES)
                if kind == b"IEND":  # what follows is no part of the picture
                    break
                continue
            if kind == b"IDAT":
                kept += pixel
                pixel = b""
            file.seek(length + _CHECKSUM_BYTES, os.SEEK_CUR)
    return bytes(kept)


def _make_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def read_png_grid(path: Path, expected_bytes: int | None = None) -> GridMetadata:
    """Return the grid stored in a PNG file of this program; an empty grid for files of other programs."""
    with translate_decode_errors(path, "a picture"), open_picture(path, expected_bytes) as picture:
        return parse_grid_json(str(picture.info.get(GRID_KEY, "")))


def get_exif_orientation(image: Image) -> int:
    """Return the EXIF Orientation (1 to 8) that turns the stored pixels of a photograph upright.

    It is 1 for an image from another kind of file: viewers do not turn a DICOM film, so they must not turn its labels.
    """
    if image.storage is None or image.affine is not None or not image.sources:
        return 1
    if get_suffix(image.sources[0]) not in (*PNG_JPEG_SUFFIXES, *TIFF_SUFFIXES):
        return 1
    order = (image.storage.permutation, image.storage.flips)
    turned = {tag: make_turned_storage(tag, 2) for tag in range(1, 9)}
    return next((tag for tag, one in turned.items() if (one.permutation, one.flips) == order), 1)


def write_png(path: Path, pixels: NDArray[Any], grid_text: str, exif_orientation: int = 1) -> None:
    """Write a plane, uint8 or uint16 (y, x) or uint8 RGB (y, x, 3), with its grid as a text chunk.

    An EXIF orientation other than 1 is written too, so that other programs turn labels as they turn the photograph.

    Raises
    ------
    MedSegError
        If PNG cannot store it: a volume, or values of more than 16 bits.
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] != 3):
        raise MedSegError(f"{path.name}: PNG holds one plane, not {pixels.shape}. Choose .tif or .nii.gz.")
    if pixels.dtype not in (np.uint8, np.uint16) or (pixels.ndim == 3 and pixels.dtype != np.uint8):
        raise MedSegError(
            f"{path.name}: PNG holds unsigned integers of 8 or 16 bits, not {pixels.dtype}. Choose .tif or .nii.gz."
        )
    information = PngInfo()
    information.add_text(GRID_KEY, grid_text)
    options: dict[str, Any] = {"format": "PNG", "pnginfo": information}
    if exif_orientation != 1:
        options["exif"] = Picture.Exif()
        options["exif"][_EXIF_ORIENTATION] = exif_orientation
    with atomic_write(path) as temporary:
        Picture.fromarray(np.ascontiguousarray(pixels)).save(temporary, **options)


def reduce_to_grey(pixels: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Drop the alpha channel; reduce RGB to grey if all channels are equal; return the pixels and their unit."""
    if pixels.ndim == 2:
        return pixels, "grey"
    if pixels.shape[-1] in (2, 4):
        pixels = pixels[..., : pixels.shape[-1] - 1]
    if pixels.shape[-1] == 1 or all(_has_equal_channels(pixels[slab]) for slab in iterate_slabs(pixels)):
        return pixels[..., 0], "grey"
    return pixels, "rgb"


def _has_equal_channels(pixels: NDArray[Any]) -> bool:
    return all(np.array_equal(pixels[..., 0], pixels[..., n]) for n in range(1, pixels.shape[-1]))


def _compute_pixel_bytes(picture: Picture.Image, path: Path) -> int:
    bits, _ = read_png_type(path)
    bands = {"P": 3, "PA": 4}.get(picture.mode, len(picture.getbands()))  # a palette becomes RGB
    return picture.width * picture.height * bands * (2 if bits == 16 or picture.mode.startswith("I") else 1)


def _decode_pixels(picture: Picture.Image) -> NDArray[Any]:
    """Decode with Pillow; its pixels are copied some rows at a time, because it copies them twice on the way."""
    step = max(1, SLAB_ITEMS // picture.width)
    first = _convert_rows(picture, 0, 1)
    pixels = np.empty((picture.height, *first.shape[1:]), first.dtype)
    for row in range(0, picture.height, step):
        pixels[row : row + step] = _convert_rows(picture, row, step)
    return pixels


def _convert_rows(picture: Picture.Image, row: int, count: int) -> NDArray[Any]:
    rows = picture.crop((0, row, picture.width, min(row + count, picture.height)))
    if rows.mode in ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "1"):
        return cast_native(np.asarray(rows))
    if rows.mode == "I":
        return np.asarray(rows).astype(np.uint16)
    return np.asarray(rows.convert("RGB"))


def _refuse_failed_checksum(path: Path, expected_bytes: int | None) -> None:
    """Check the checksum of each PNG chunk: Pillow decodes pixels without looking at it. JPEG has none."""
    with translate_decode_errors(path, "a picture"), open_picture(path, expected_bytes) as picture:
        picture.verify()


def read_png_type(path: Path) -> tuple[int, int]:
    """Return the bits per sample and the colour type of a PNG; (0, -1) for other files."""
    with path.open("rb") as file:
        start = file.read(26)
    return (start[24], start[25]) if start[:4] == b"\x89PNG" and len(start) == 26 else (0, -1)


def _has_channels_of_16_bits(path: Path) -> bool:
    """Whether the file is a PNG with several channels of 16 bits, which Pillow would reduce to 8."""
    bits, colour_type = read_png_type(path)
    return bits == 16 and colour_type in _PNG_COLOUR_TYPES_OF_SEVERAL_CHANNELS


def _has_plain_samples(path: Path) -> bool:
    """Whether the file is a PNG of 8 or 16 bits without a palette, which needs no conversion."""
    bits, colour_type = read_png_type(path)
    return bits in (8, 16) and colour_type in (PNG_GREY, *_PNG_COLOUR_TYPES_OF_SEVERAL_CHANNELS)


def decode_plain_png(path: Path) -> NDArray[Any]:
    """Return the samples of a PNG of 8 or 16 bits without a palette, (y, x) or (y, x, channels).

    Pillow reduces several channels of 16 bits to 8, and takes more than twice the memory.
    """
    decoded: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return decoded
