"""The size that compressed frames declare themselves."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core.decoded_size.codestreams import (
    MAX_SCANS,
    DeclaredSize,
    read_declared_size,
    refuse_many_scans,
)
from napari_medseg.core.errors import MedSegError

PIXELS = np.zeros((24, 40), np.uint8)


@pytest.mark.parametrize(
    "frame",
    [
        imagecodecs.jpeg8_encode(PIXELS),
        imagecodecs.ljpeg_encode(PIXELS.astype(np.uint16), bitspersample=16),
        imagecodecs.jpegls_encode(PIXELS),
        imagecodecs.jpeg2k_encode(PIXELS, codecformat="J2K"),
        imagecodecs.jpeg2k_encode(PIXELS, codecformat="JP2"),
        imagecodecs.png_encode(PIXELS),
    ],
    ids=["JPEG", "JPEG lossless", "JPEG-LS", "JPEG 2000", "JPEG 2000 in a file", "PNG"],
)
def test_declared_size(frame: bytes) -> None:
    assert read_declared_size(bytes(frame)) == DeclaredSize(24, 40)
    for length in range(0, 40):
        read_declared_size(bytes(frame[:length]))


@pytest.mark.parametrize(
    "frame",
    [
        imagecodecs.jpeg8_encode(np.zeros((24, 40, 3), np.uint8)),
        imagecodecs.jpeg2k_encode(np.zeros((24, 40, 3), np.uint8), codecformat="J2K"),
        imagecodecs.jpeg2k_encode(np.zeros((24, 40, 3), np.uint8), codecformat="JP2"),
        imagecodecs.png_encode(np.zeros((24, 40, 3), np.uint8)),
        imagecodecs.webp_encode(np.zeros((24, 40, 3), np.uint8), lossless=True),
        imagecodecs.webp_encode(np.zeros((24, 40, 3), np.uint8), lossless=False, level=50),
        b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + struct.pack("<HBHB", 39, 0, 23, 0),
    ],
    ids=["JPEG", "JPEG 2000", "JPEG 2000 in a file", "PNG", "WebP lossless", "WebP lossy", "WebP extended"],
)
def test_values_per_pixel_count(frame: bytes) -> None:
    size = read_declared_size(bytes(frame))
    assert size is not None
    assert (size.rows, size.columns, size.samples) == (24, 40, 3)
    assert str(size) == "24 x 40 x 3"


def test_the_size_is_found_behind_bytes_that_decoders_skip() -> None:
    jpeg = bytes(imagecodecs.jpeg8_encode(PIXELS))
    assert read_declared_size(jpeg[:2] + b"abc" + jpeg[2:]) == DeclaredSize(24, 40)
    jp2 = bytes(imagecodecs.jpeg2k_encode(PIXELS, codecformat="JP2"))
    decoy = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">IIII16xH", 1, 1, 0, 0, 1)
    box = struct.pack(">I4s", 8 + len(decoy), b"free") + decoy
    place = jp2.find(b"jp2c") - 4
    assert read_declared_size(jp2[:place] + box + jp2[place:]) == DeclaredSize(24, 40)


@pytest.mark.parametrize("frame", [b"", b"\0" * 40, b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\0" * 9, b"\x89PNG"])
def test_other_bytes_declare_nothing(frame: bytes) -> None:
    assert read_declared_size(frame) is None


def make_progressive_jpeg() -> bytes:
    """A JPEG of ten scans."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Picture.fromarray(noise).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


def test_a_jpeg_of_many_scans_is_refused_before_it_keeps_the_decoder_busy() -> None:
    jpeg = make_progressive_jpeg()
    refuse_many_scans(jpeg, "a.jpg")
    last_scan = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    refuse_many_scans(jpeg[:-2] + last_scan * (MAX_SCANS - 10) + b"\xff\xd9", "a.jpg")
    with pytest.raises(MedSegError, match=r"a\.jpg holds a JPEG of 101 scans"):
        refuse_many_scans(jpeg[:-2] + last_scan * (MAX_SCANS - 9) + b"\xff\xd9", "a.jpg")


def test_scans_inside_segments_and_behind_the_end_do_not_count() -> None:
    jpeg = make_progressive_jpeg()
    thumbnail = b"\xff\xda\x00\x08" * 1000
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert refuse_many_scans(jpeg[:2] + segment + jpeg[2:] + thumbnail, "a.jpg") is None
