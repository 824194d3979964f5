"""Which frames of a video look different: what a model learns most from is what it has not seen.

Each sampled frame is made a thumbnail of 32 x 18 pixels. Two frames differ by the mean absolute difference of their
thumbnails in grey levels: that sees another scene, another view, smoke and blood, and no noise. Frames are chosen by
farthest-first traversal (Gonzalez, Clustering to minimize the maximum intercluster distance, 1985): each next one is
the frame that is least like all that were chosen before. Frames that show nothing, such as black ones, are left out.

Where a video has enough key frames, only those are decoded: encoders set them where the picture changes.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.video_reader import VideoReader

THUMBNAIL = (32, 18)
MIN_CHANGE = 5.0
"""Frames that differ by less, in grey levels, look alike."""
MIN_CONTRAST = 4.0
"""A frame whose grey values deviate by less shows nothing."""
SAMPLES_PER_FRAME = 5
MAX_SAMPLES = 1200
MIN_APART_S = 0.5


@dataclass(frozen=True, eq=False)
class Appearance:
    """Thumbnails of sampled frames: their numbers, ascending, and float32 (n, height * width * 3)."""

    numbers: NDArray[np.int64]
    thumbnails: NDArray[np.float32]


def choose_samples(index: FrameIndex, first: int, last: int, n_wanted: int) -> NDArray[np.int64]:
    """Return the numbers of the frames to look at, to choose so many between two frames: key frames if they suffice."""
    n_samples = min(MAX_SAMPLES, max(60, SAMPLES_PER_FRAME * n_wanted))
    keys = index.keys[(index.keys >= first) & (index.keys <= last)]
    if len(keys) >= min(n_samples, 2 * n_wanted):
        found = keys
    else:
        found = np.unique(np.linspace(first, last, min(n_samples, last - first + 1)).round().astype(np.int64))
    if len(found) > MAX_SAMPLES:
        found = found[np.linspace(0, len(found) - 1, MAX_SAMPLES).round().astype(np.int64)]
    apart = max(1, round(MIN_APART_S * index.rate))
    kept = [int(found[0])] if len(found) else []
    for number in found[1:].tolist():
        if number - kept[-1] >= apart:
            kept.append(number)
    return np.array(kept, np.int64)


def measure_appearance(reader: VideoReader, numbers: Sequence[int]) -> Generator[float, None, Appearance]:
    """Make the thumbnails of frames; yield the share that is done. Damaged frames are left out."""
    known: list[int] = []
    thumbnails = []
    for done, number in enumerate(numbers, start=1):
        try:
            thumbnails.append(reader.read_small(number, *THUMBNAIL).astype(np.float32).ravel())
            known.append(number)
        except MedSegError:
            pass
        yield done / len(numbers)
    size = THUMBNAIL[0] * THUMBNAIL[1] * 3
    return Appearance(np.array(known, np.int64), np.array(thumbnails, np.float32).reshape(-1, size))


def choose_different(seen: Appearance, n_wanted: int, beside: Sequence[int] = ()) -> list[int]:
    """Choose the frames that differ most from each other.

    Parameters
    ----------
    seen
        Thumbnails of the frames to choose from.
    n_wanted
        At most so many are chosen; fewer if the others look like those.
    beside
        Frames that are chosen already: frames like them are not chosen again, if they were looked at.

    Returns
    -------
    list
        Their numbers, ascending.
    """
    shows = seen.thumbnails.std(axis=1) >= MIN_CONTRAST
    numbers, thumbnails = seen.numbers[shows], seen.thumbnails[shows]
    if not len(numbers):
        return []
    distance = np.full(len(numbers), np.inf)
    for number in beside:
        nearest = int(np.argmin(np.abs(numbers - number)))
        distance = np.minimum(distance, _measure_distance(thumbnails, nearest))
    chosen: list[int] = []
    typical = int(np.argmin(np.abs(thumbnails - thumbnails.mean(axis=0)).mean(axis=1)))
    following = typical if np.isinf(distance).all() else int(np.argmax(distance))
    while len(chosen) < n_wanted and distance[following] >= MIN_CHANGE:
        chosen.append(following)
        distance = np.minimum(distance, _measure_distance(thumbnails, following))
        following = int(np.argmax(distance))
    return sorted(int(numbers[place]) for place in chosen)


def _measure_distance(thumbnails: NDArray[np.float32], place: int) -> NDArray[np.float64]:
    return np.asarray(np.abs(thumbnails - thumbnails[place]).mean(axis=1), np.float64)
