"""Which cases show frames of a video, also of one that was moved.

Recorders give many files the same name. So a file with the name of one that is gone is that video only if its frames
have the pixels of the cases: else labels of one patient would be shown on the video of another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.records import Case
from napari_medseg.core.video.frame_images import read_frames
from napari_medseg.core.video.frame_paths import VideoFrames, parse_frame_path

MAX_KEPT = 64


def find_frames_of(cases: Iterable[Case], video: Path) -> dict[int, VideoFrames]:
    """Return the frames of the cases that show a video, by the id of the case.

    A case shows it if its path leads there. If it leads to a file of the same name that is gone, up to three of its
    cases are compared with the video.
    """
    by_file: dict[Path, list[tuple[Case, VideoFrames]]] = {}
    for case in cases:
        source = Path(use_slashes(case.sources[0])) if len(case.sources) == 1 else Path()
        if source.parent.name == video.name and (frames := parse_frame_path(source)) is not None:
            by_file.setdefault(frames.video, []).append((case, frames))
    return {
        case.id: frames
        for recorded, shown in by_file.items()
        if recorded == video.absolute() or (not recorded.exists() and _was_moved_to(video, shown))
        for case, frames in shown
    }


@dataclass(frozen=True)
class _Moved:
    video: Path
    n_bytes: int
    mtime_ns: int
    shown: tuple[tuple[Case, VideoFrames], ...]


def _was_moved_to(video: Path, shown: Iterable[tuple[Case, VideoFrames]]) -> bool:
    try:
        state = video.stat()
    except OSError:
        return False
    single_first = sorted(shown, key=lambda one: (len(one[1].numbers), one[1].numbers))
    return _has_same_pixels(_Moved(video.absolute(), state.st_size, state.st_mtime_ns, tuple(single_first)))


@lru_cache(maxsize=MAX_KEPT)
def _has_same_pixels(moved: _Moved) -> bool:
    """Compare the first, the middle and the last case: one alone may be black, as in many videos."""
    last = len(moved.shown) - 1
    for place in sorted({0, last // 2, last}):
        case, frames = moved.shown[place]
        try:
            if read_frames(replace(frames, video=moved.video)).content_hash != case.content_hash:
                return False
        except MedSegError:
            return False
    return True
