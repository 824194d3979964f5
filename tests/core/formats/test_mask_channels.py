"""Which channel of a file is the mask: one that varies, alpha included; several different ones are refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.label_reader import read_mask

DRAWN = np.zeros((12, 16), np.uint8)
DRAWN[3:8, 5:11] = 255
TWO = np.where(DRAWN, 255, 0).astype(np.uint8)
TWO[4:6, 6:9] = 128
WHITE, BLACK = np.full_like(DRAWN, 255), np.zeros_like(DRAWN)


def save(*channels: NDArray[Any], mode: str | None = None, **options: object) -> Callable[[Path], None]:
    pixels = np.stack(channels, axis=-1) if len(channels) > 1 else channels[0]
    return lambda path: Picture.fromarray(pixels, mode).save(path, **options)


def save_16_bits(*channels: NDArray[Any]) -> Callable[[Path], None]:
    wide = np.stack(channels, axis=-1).astype(np.uint16) * 257
    return lambda path: path.write_bytes(imagecodecs.png_encode(wide)) and None


def save_palette(indices: NDArray[Any], colours: list[int], **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        picture = Picture.fromarray(indices.astype(np.uint8), "P")
        picture.putpalette(colours)
        picture.save(path, **options)

    return write


def save_tiff(pixels: NDArray[Any], **options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def save_few_bits(labels: NDArray[np.uint8], bits: int) -> Callable[[Path], None]:
    """Grey PNG of 1, 2 or 4 bits, which Pillow does not write."""
    rows = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, np.newaxis], axis=1)[:, -bits:].ravel()).tobytes() for row in labels
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    content = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + content) and None


NUMBERS = np.where(TWO == 255, 2, TWO // 128).astype(np.uint8)
ONES = (DRAWN > 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "write", "wanted"),
    [
        ("alpha of white.png", save(WHITE, WHITE, WHITE, DRAWN), DRAWN),
        ("alpha of red.png", save(WHITE, BLACK, BLACK, DRAWN), DRAWN),
        ("alpha of grey.png", save(WHITE, DRAWN, mode="LA"), DRAWN),
        ("alpha of 16 bits.png", save_16_bits(WHITE, WHITE, WHITE, DRAWN), DRAWN.astype(int) * 257),
        ("grey and alpha of 16 bits.png", save_16_bits(WHITE, DRAWN), DRAWN.astype(int) * 257),
        ("alpha in a tiff.tif", save_tiff(np.stack([WHITE, WHITE, WHITE, DRAWN], -1), photometric="rgb"), DRAWN),
        ("drawn and opaque there.png", save(DRAWN, DRAWN, DRAWN, DRAWN), DRAWN),
        ("numbers, opaque there.png", save(NUMBERS, DRAWN, mode="LA"), NUMBERS),
        ("nothing visible.png", save(WHITE, WHITE, WHITE, BLACK), BLACK),
        ("opaque grey.png", save(TWO, TWO, TWO, WHITE), TWO),
        ("red of two values.png", save(TWO, BLACK, BLACK), TWO),
        ("green, opaque.png", save(BLACK, TWO, BLACK, WHITE), TWO),
        ("yellow.png", save(DRAWN, DRAWN, BLACK), DRAWN),
        ("red everywhere.png", save(WHITE, BLACK, BLACK), WHITE),
        ("planar red.tif", save_tiff(np.stack([DRAWN, BLACK, BLACK]), photometric="rgb", planarconfig=2), DRAWN),
        ("grey.jpg", save(DRAWN, DRAWN, DRAWN, quality=100, subsampling=0), DRAWN),
        ("indices.png", save_palette(NUMBERS, [0, 0, 0, 255, 0, 0, 0, 255, 0]), NUMBERS),
        ("transparency.png", save_palette(ONES, [255] * 6, transparency=bytes([0, 255])), DRAWN),
        ("black is index 1.png", save_palette(1 - ONES, [255, 255, 255, 0, 0, 0]), DRAWN),
        ("indices.tif", save_tiff(NUMBERS, photometric="palette", colormap=np.zeros((3, 256), np.uint16)), NUMBERS),
        ("one bit.png", save(DRAWN > 0), ONES),
        ("two bits.png", save_few_bits(NUMBERS, 2), NUMBERS),
        ("four bits.png", save_few_bits(NUMBERS, 4), NUMBERS),
        ("bool.tif", save_tiff(DRAWN > 0), ONES),
        ("fax.tif", save(DRAWN > 0, compression="group4"), ONES),
        ("inverted.tif", save_tiff(DRAWN, photometric="miniswhite"), DRAWN),
        ("shares.tif", save_tiff(ONES.astype(np.float32)), ONES),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_channel_that_varies_is_the_mask(
    tmp_path: Path, name: str, write: Callable[[Path], None], wanted: NDArray[Any]
) -> None:
    write(tmp_path / name)
    found = read_mask(tmp_path / name, None).pixels
    if name.endswith(".jpg"):
        found = np.where(found > 127, 255, 0)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (save(DRAWN, TWO, BLACK), "its red and green channels differ"),
        (save(WHITE, WHITE - DRAWN, WHITE - DRAWN), "its green and blue channels differ"),
        (save(TWO, TWO, TWO, WHITE - DRAWN), "its alpha channel and its colours show different drawings"),
        (save(WHITE - DRAWN, DRAWN, mode="LA"), "its alpha channel and its colours show different drawings"),
    ],
)
def test_different_drawings_in_one_file_are_refused(tmp_path: Path, write: Callable[[Path], None], reason: str) -> None:
    write(tmp_path / "m.png")
    with pytest.raises(MedSegError, match=f"m.png is a colour image; .*{reason}"):
        formats.read_labels(tmp_path / "m.png")


def test_a_single_colour_on_a_bright_ground_is_said(tmp_path: Path) -> None:
    save(WHITE, WHITE, WHITE - DRAWN)(tmp_path / "yellow on white.png")
    found = read_mask(tmp_path / "yellow on white.png", None)
    assert (found.pixels == WHITE - DRAWN).all()
    assert "check that the drawing is not inverted" in found.notes[0]
