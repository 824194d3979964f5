"""The size that compressed frames declare themselves."""

import imagecodecs
import numpy as np
import pytest

from napari_medseg.core.decoded_size.codestreams import read_declared_size

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
    assert read_declared_size(bytes(frame)) == (24, 40)
    for length in range(0, 40):
        read_declared_size(bytes(frame[:length]))


@pytest.mark.parametrize("frame", [b"", b"\0" * 40, b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\0" * 9, b"\x89PNG"])
def test_other_bytes_declare_nothing(frame: bytes) -> None:
    assert read_declared_size(frame) is None
