"""Which cases show frames of a video, also of one that was moved or renamed, and not of another file at its place.

Recorders give many files the same name, and people replace files. So a case says which content its video had: else
labels of one patient would be shown on the video of another.
"""

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.project.case_files import read_image_copy
from napari_medseg.core.records import Case
from napari_medseg.core.video.content_hash import SHORT_DIGITS
from napari_medseg.core.video.frame_images import read_frames
from napari_medseg.core.video.frame_index import read_file_state, read_index
from napari_medseg.core.video.frame_paths import VideoFrames, parse_frame_path
from napari_medseg.core.video.video_reader import VideoReader

MAX_KEPT = 64
MAX_NAMED = 6
MAX_DIFFERENCE = 2.0
"""Mean difference in grey levels up to which a frame is that of the project's copy: as much as decoders differ."""
MIN_CONTRAST = 4.0
"""Standard deviation in grey levels: a picture with less, such as a black one, is that of many videos."""
_Shown = tuple[Case, VideoFrames]


def find_frames_of(
    cases: Iterable[Case], video: Path | VideoReader, folder: Path | None = None
) -> dict[int, VideoFrames]:
    """Return the frames of the cases that show a video, by the id of the case.

    A case shows it if its path says that its video has this content, wherever the file lay then. Two kinds of cases are
    compared with it, up to three of each: those of older projects, whose path does not say it, if it leads to this file
    or to one of the same name that is gone; and those whose path leads here, but says another content, as the file may
    have been copied or recorded no further then. If the video itself is gone, cases show it whose path leads there.

    Parameters
    ----------
    cases
        Cases of any kind.
    video
        The file; if it is open, its reader: then the file is not read again when it has grown.
    folder
        Of the project, whose copies tell a video from one that was decoded by another version of the decoder.
    """
    return _judge(cases, video, folder).found


def find_proven_frames_of(
    cases: Iterable[Case], video: Path | VideoReader, folder: Path | None = None
) -> dict[int, VideoFrames]:
    """As `find_frames_of`, without cases of which only pictures that show nothing, such as black ones, were equal.

    These are equal in many videos: such a case is shown, but nothing may be written into it.
    """
    return _judge(cases, video, folder).proven


def list_cases_of_another_file(
    cases: Iterable[Case], video: Path | VideoReader, folder: Path | None = None
) -> list[Case]:
    """Return the cases whose path leads to a video, but which were made of another file that lay there before.

    Those that cannot be read now are not among them. Parameters are those of `find_frames_of`.
    """
    path = _get_path(video)
    there = [case for case in cases if (frames := get_frames(case)) is not None and frames.video == path]
    others = _judge(there, video, folder).others
    return [case for case in there if case.id in others]


def name_videos(cases: Iterable[Case], folder: Path | None = None) -> dict[int, str]:
    """Return a name for the video of each case, the same for all cases of one video: by its content if it is known.

    Cases of older projects do not say the content: it is that of the file to which they lead, if they show it; if that
    is gone, that of the other cases which lead there.
    """
    frames_of = {case: frames for case in cases if (frames := get_frames(case)) is not None}
    there: dict[Path, list[Case]] = {}
    for case, frames in frames_of.items():
        there.setdefault(frames.video, []).append(case)
    names = {case.id: frames.content or str(frames.video) for case, frames in frames_of.items()}
    for video, those in there.items():
        contents = {frames_of[case].content for case in those}
        if "" not in contents and len(contents) == 1:
            continue
        with suppress(MedSegError):  # damaged: as if it were gone
            if (content := _find_content(video)) is not None:
                names |= dict.fromkeys(find_frames_of(those, video, folder), content[:SHORT_DIGITS])
                continue
        if len(known := contents - {""}) == 1:
            names |= dict.fromkeys((case.id for case in those), *known)
    return names


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


def _get_path(video: Path | VideoReader) -> Path:
    return (video if isinstance(video, Path) else video.path).absolute()


def _find_content(video: Path | VideoReader) -> str | None:
    """Return the hash of a video; `None` if the file is gone."""
    if isinstance(video, VideoReader):
        return video.index.content
    return read_index(video).content if video.exists() else None


class _Judged(NamedTuple):
    """Frames of the cases that show a video, those that surely do, and the ids of those that are of another one."""

    found: dict[int, VideoFrames]
    proven: dict[int, VideoFrames]
    others: frozenset[int]


def _judge(cases: Iterable[Case], video: Path | VideoReader, folder: Path | None) -> _Judged:
    path, content = _get_path(video), _find_content(video)
    found: dict[int, VideoFrames] = {}
    unsure: dict[tuple[Path, str], list[_Shown]] = {}
    others: list[int] = []
    for case in cases:
        if (frames := get_frames(case)) is None:
            continue
        if content is None or (frames.content and frames.belongs_to(content)):
            found |= {case.id: frames} if content is not None or frames.video == path else {}
        elif frames.video == path or (not frames.content and frames.video.name == path.name):
            unsure.setdefault((frames.video, frames.content), []).append((case, frames))
    proven = {} if content is None else dict(found)
    for (recorded, stated), shown in unsure.items():
        if recorded != path and recorded.exists():
            continue
        match = _get_comparison(_make_question(video, recorded, stated)).ask(shown, video, folder)
        found |= {case.id: frames for case, frames in shown if match.is_same}
        proven |= {case.id: frames for case, frames in shown if match.is_proven}
        others += [case.id for case, _ in shown if match.is_same is False]
    return _Judged(found, proven, frozenset(others))


@dataclass(frozen=True)
class _Question:
    """Whether a video, in this state of its file, is that which lay at a path, and had a content."""

    video: Path
    n_bytes: int
    mtime_ns: int
    recorded: Path
    content: str


def _make_question(video: Path | VideoReader, recorded: Path, content: str) -> _Question:
    path = _get_path(video)
    state = video.index.file_state if isinstance(video, VideoReader) else None
    return _Question(path, *(state or read_file_state(path)), recorded, content)


class _Match(NamedTuple):
    """Whether cases show a video (`None`: not known), and whether a picture that shows something proves it."""

    is_same: bool | None
    is_proven: bool = False


class _Comparison:
    """Compares a video once with all cases of a path, and knows it for any of them; it may be asked by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: frozenset[str] = frozenset()
        self._match = _Match(None)

    def ask(self, shown: Sequence[_Shown], video: Path | VideoReader, folder: Path | None) -> _Match:
        """Return whether the cases show the video; it is not known if none of those that are compared can be read."""
        hashes = frozenset(case.content_hash for case, _ in shown)
        with self._lock:
            if self._match.is_same is None or not hashes <= self._asked:
                self._match, self._asked = _compare(shown, video, folder), hashes
            return self._match


@lru_cache(maxsize=MAX_KEPT)
def _get_comparison(_question: _Question) -> _Comparison:
    return _Comparison()


def _compare(shown: Sequence[_Shown], video: Path | VideoReader, folder: Path | None) -> _Match:
    """Compare the first, the middle and the last case: one alone may be black, as in many videos."""
    single_first = sorted(shown, key=lambda one: (len(one[1].numbers), one[1].numbers))
    last = len(single_first) - 1
    matches = []
    for place in sorted({0, last // 2, last}):
        match = _compare_pixels(*single_first[place], video, folder)
        if match.is_same is False:
            return match
        matches.append(match)
    is_same = True if any(match.is_same for match in matches) else None
    return _Match(is_same, any(match.is_proven for match in matches))


def _compare_pixels(case: Case, frames: VideoFrames, video: Path | VideoReader, folder: Path | None) -> _Match:
    """Compare one case.

    Another version of the decoder gives pixels that differ by a grey level, so the copy in the project counts, too. If
    the case says another content, only equal pixels of a picture that shows something prove that the file has grown.
    """
    try:
        image = read_frames(
            replace(frames, video=_get_path(video), content=""), video if isinstance(video, VideoReader) else None
        )
    except MedSegError:  # damaged there, or the drive is gone at this moment
        return _Match(None)
    shows_something = float(image.pixels.std()) >= MIN_CONTRAST
    if image.content_hash == case.content_hash:
        return _Match(True if not frames.content or shows_something else None, shows_something)
    if frames.content or folder is None:
        return _Match(False)
    try:
        kept = read_image_copy(folder, case).pixels
    except MedSegError:
        return _Match(False)
    if kept.shape != image.pixels.shape:
        return _Match(False)
    is_same = bool(np.abs(kept.astype(np.float32) - image.pixels.astype(np.float32)).mean() < MAX_DIFFERENCE)
    return _Match(is_same, is_same and shows_something)
