"""Finds the videos in what a person named: files, and folders with their subfolders."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.part_paths import is_store
from napari_medseg.core.formats.discovery import MAX_FILES, walk_files
from napari_medseg.core.formats.find_reader import can_read
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES, is_video


def split_videos(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the videos among some paths and in the folders among them, and the other paths.

    A folder is among the others, too, if it holds images beside its videos.
    """
    videos: list[Path] = []
    others: list[Path] = []
    for path in paths:
        if find_address(path) is not None or is_store(path) or not os.path.isdir(path):
            (videos if is_video(path) else others).append(path)
            continue
        files = list(islice(walk_files(path), MAX_FILES))
        found = [file for file in files if is_video(file)]
        videos += found
        if not found or any(can_read(file) for file in files if file.suffix.lower() not in VIDEO_SUFFIXES):
            others.append(path)
    return videos, others


def holds_video(path: Path) -> bool:
    """Whether a path is a video, or a folder with one in it."""
    if is_video(path):
        return True
    if find_address(path) is not None or not os.path.isdir(path):
        return False
    return any(is_video(file) for file in islice(walk_files(path), MAX_FILES))
