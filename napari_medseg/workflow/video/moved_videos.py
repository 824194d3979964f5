"""Which cases show frames of a video, also of one that was moved or renamed, and not of another file at its place.

Recorders give many files the same name, and people replace files. So a case says which content its video had: else
labels of one patient would be shown on the video of another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.records import Case
from napari_medseg.core.video.frame_images import read_frames
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.frame_paths import VideoFrames, parse_frame_path

MAX_KEPT = 64
MAX_NAMED = 6


def find_frames_of(cases: Iterable[Case], video: Path) -> dict[int, VideoFrames]:
    """Return the frames of the cases that show a video, by the id of the case.

    A case shows it if its path says that its video has this content, wherever the file lay then. The cases of older
    projects do not say it: of those that lead to this path, or to a file of the same name that is gone, up to three are
    compared with the video. If the video itself is gone, cases show it whose path leads there.
    """
    content = _find_content(video)
    found: dict[int, VideoFrames] = {}
    unknown: dict[Path, list[tuple[Case, VideoFrames]]] = {}
    for case in cases:
        if (frames := get_frames(case)) is None:
            continue
        if content is None or frames.content:
            is_shown = frames.video == video.absolute() if content is None else frames.belongs_to(content)
            found |= {case.id: frames} if is_shown else {}
        elif frames.video.name == video.name:
            unknown.setdefault(frames.video, []).append((case, frames))
    for recorded, shown in unknown.items():
        if (recorded == video.absolute() or not recorded.exists()) and _shows_same_pixels(video, shown):
            found |= {case.id: frames for case, frames in shown}
    return found


def list_cases_of_another_file(cases: Iterable[Case], video: Path) -> list[Case]:
    """Return the cases whose path leads to a video, but which were made of another file that lay there before."""
    there = [case for case in cases if (frames := get_frames(case)) is not None and frames.video == video.absolute()]
    shown = find_frames_of(there, video)
    return [case for case in there if case.id not in shown]


def describe_cases_of_another_file(cases: Sequence[Case], video: Path) -> str:
    """Return a sentence for a person that names such cases; empty if there are none."""
    if not cases:
        return ""
    names = ", ".join(case.name for case in cases[:MAX_NAMED])
    more = f" and {len(cases) - MAX_NAMED} more" if len(cases) > MAX_NAMED else ""
    return (
        f"{video.name} is another video than the one that lay there when these cases were made: {names}{more}. They "
        "keep their own pictures and labels, which are not shown on this video."
    )


def get_frames(case: Case) -> VideoFrames | None:
    """Return the frames of a video that a case shows; `None` if it shows none."""
    return parse_frame_path(Path(use_slashes(case.sources[0]))) if len(case.sources) == 1 else None


def _find_content(video: Path) -> str | None:
    """Return the hash of a video; `None` if the file is gone."""
    return read_index(video).content if video.exists() else None


@dataclass(frozen=True)
class _Moved:
    video: Path
    n_bytes: int
    mtime_ns: int
    shown: tuple[tuple[Case, VideoFrames], ...]


def _shows_same_pixels(video: Path, shown: Iterable[tuple[Case, VideoFrames]]) -> bool:
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
