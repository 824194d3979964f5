"""A frame of a video as a small picture needs it: found by its time, without the index of the whole file.

The index is read from all packets, so the first exact frame of a recording of hours takes as long as reading the file.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np

from napari_medseg.core.image import Image
from napari_medseg.core.video.frame_index import choose_stream
from napari_medseg.core.video.video_files import count_quarter_turns, open_container, translate_video_errors

MAX_DECODED = 600
"""Frames that are decoded to reach one: key frames are rarely farther apart."""


def glimpse_frame(video: Path, number: int) -> Image | None:
    """Return about the frame with a number, axes YXC; `None` if the file does not say where to look.

    If frames are shown equally long, it is that frame; if their rate varies, another one of the video. It is turned as
    `VideoReader` turns it.

    Raises
    ------
    MedSegError
        If the file is missing, or cannot be decoded there.
    """
    with translate_video_errors(video), open_container(video, {}) as container:
        stream = choose_stream(container)
        rate, time_base = stream.average_rate, stream.time_base
        if not rate or not time_base:
            return None
        target = (stream.start_time or 0) + round(Fraction(number) / rate / time_base)
        container.seek(target, stream=stream, backward=True)
        half = round(Fraction(1, 2) / rate / time_base)
        shown = None
        for decoded, frame in enumerate(container.decode(stream)):
            shown = frame
            if decoded >= MAX_DECODED or (frame.pts is not None and frame.pts + half >= target):
                break
        if shown is None:
            return None
        upright = np.rot90(shown.to_ndarray(format="rgb24"), count_quarter_turns(shown))
        return Image(np.ascontiguousarray(upright), "YXC", units="rgb", name=f"{video.stem} {number}")
