"""Videos of any length for benchmarks: a minute that is encoded once, and repeated packet by packet."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

RATE = 25
CUT_EVERY_S = 10


def write_segment(
    path: Path, pictures: list[Path], n_frames: int, gop: int, size: tuple[int, int] = (1920, 1080)
) -> None:
    """Write a video that pans over pictures and changes to the next one every ten seconds.

    Parameters
    ----------
    path
        Ends in ``.mp4``.
    pictures
        Real frames; without any, noise that is blurred.
    n_frames, gop
        Number of frames, and distance of key frames.
    size
        Width and height.
    """
    width, height = size
    large = [_enlarge(picture, size) for picture in pictures] or [_draw_noise(size)]
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0"}
        stream: Any = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(n_frames):
            picture = large[number // (RATE * CUT_EVERY_S) % len(large)]
            top = round(60 + 60 * np.sin(number / 40))
            left = round(100 + 100 * np.sin(number / 60))
            pixels = np.ascontiguousarray(picture[top : top + height, left : left + width])
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def repeat_segment(segment: Path, path: Path, n_times: int) -> None:
    """Write a video that repeats another one, without decoding it."""
    with av.open(str(segment)) as source, av.open(str(path), "w") as target:
        read = source.streams.video[0]
        written = target.add_stream_from_template(read)
        packets = [packet for packet in source.demux(read) if packet.size]
        length = round(len(packets) / RATE / read.time_base)
        times = [(packet.pts, packet.dts) for packet in packets]
        for turn in range(n_times):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.time_base = read.time_base
                packet.stream = written
                target.mux(packet)


def _enlarge(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    with Picture.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((size[0] + 200, size[1] + 120)))


def _draw_noise(size: tuple[int, int]) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(1).integers(0, 255, (34, 60, 3), np.uint8)
    return np.asarray(Picture.fromarray(coarse).resize((size[0] + 200, size[1] + 120), Picture.Resampling.BICUBIC))
