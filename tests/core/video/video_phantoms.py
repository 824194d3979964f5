"""Small videos that PyAV writes; each frame shows its number in black and white blocks, so that no codec hides it."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

av = pytest.importorskip("av")

N_BITS = 10
BLOCK = 8
WIDTH, HEIGHT = N_BITS * BLOCK + 16, 48
RATE = 25


def draw_number(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Draw a frame (height, width, 3): its number in the upper blocks, and a square that moves."""
    pixels = np.full((height, width, 3), 60, np.uint8)
    for bit in range(N_BITS):
        pixels[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    at = number * 2 % (width - 12)
    pixels[20:32, at : at + 12] = (220, 40, 40)
    return pixels


def read_number(pixels: NDArray[np.uint8]) -> int:
    """Read the number that a frame shows."""
    middle = BLOCK // 2
    return sum(int(pixels[middle, bit * BLOCK + middle].mean() > 127) << bit for bit in range(N_BITS))


def write_video(
    path: Path,
    n_frames: int = 60,
    codec: str = "libx264",
    gop: int = 12,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    n_b_frames: int = 3,
    first: int = 0,
    pix_fmt: str = "yuv420p",
    n_black: int = 0,
) -> Path:
    """Write a video that shows numbers from `first` on. `times` are in 1/1000 s; by default 25 frames a second.

    The first `n_black` frames are black.
    """
    width, height = size
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        if codec not in ("libvpx", "libvpx-vp9", "mjpeg"):
            stream.codec_context.max_b_frames = n_b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(n_frames):
            pixels = draw_number(first + number, width, height) * np.uint8(number >= n_black)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, RATE) if times is None else Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
