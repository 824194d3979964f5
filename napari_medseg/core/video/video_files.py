"""Which files are videos, and the library that decodes them, which is loaded when the first one is opened."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from napari_medseg.core.errors import MedSegError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"),
    *(".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv"),
)
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg,asf"
_ONLY_THIS_FILE = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
"""A playlist under the name of a video would open other files and addresses."""
_SYNC_BYTE, _PACKETS_OF_STREAMS = 0x47, (188, 192)
_QUARTER_TURN = 90
_NEEDS = 'videos need one more package. Install it: pip install "napari-medseg[video]"'


def is_video(path: Path) -> bool:
    """Whether a file is a video by its suffix; ``.ts`` is one of a program, too, so its first bytes count."""
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES or not os.path.isfile(path):
        return False
    return suffix != ".ts" or _is_transport_stream(path)


def load_av() -> ModuleType:
    """Return PyAV.

    Raises
    ------
    MedSegError
        If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MedSegError(f"{_NEEDS}.") from error
    return cast(ModuleType, av)


def open_container(path: Path, options: Mapping[str, str]) -> "InputContainer":
    """Open a video file with PyAV, with options of FFmpeg; only this file is read, whatever it says."""
    found: InputContainer = load_av().open(
        str(path.absolute()), options=_ONLY_THIS_FILE | dict(options), metadata_errors="replace"
    )
    return found


def count_quarter_turns(frame: "VideoFrame") -> int:
    """Return by how many quarter turns a decoded frame must be turned, against the clock, to be upright: 0 to 3."""
    return round(float(getattr(frame, "rotation", 0)) / _QUARTER_TURN) % 4


@contextmanager
def translate_video_errors(path: Path) -> Iterator[None]:
    """Convert what PyAV raises for a missing or damaged video to `MedSegError`."""
    av = load_av()
    try:
        yield
    except FileNotFoundError as error:
        raise MedSegError(f"{path} does not exist. Check the name, or whether a drive is disconnected.") from error
    except PermissionError as error:
        raise MedSegError(f"no permission to read {path.name}. Ask for permission, or copy it.") from error
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MedSegError(
            f"{path.name} cannot be read as a video: {reason}. It may be damaged, or the end of a recording is "
            "missing; copy or export it again, or repair it with a video program."
        ) from error


def _is_transport_stream(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(2 * max(_PACKETS_OF_STREAMS) + 8)
    return any(
        len(start) > offset + size and start[offset] == start[offset + size] == _SYNC_BYTE
        for size in _PACKETS_OF_STREAMS
        for offset in (0, 4)
    )
