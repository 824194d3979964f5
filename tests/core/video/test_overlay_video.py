"""A video that cannot be written says so, and leaves no file."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from video_phantoms import draw_number

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.overlay_video import OverlayVideo, read_comment


def write(path: Path) -> None:
    with OverlayVideo(path, (48, 96), 25.0) as video:
        for number in range(3):
            video.add(draw_number(number), number / 25)


def test_a_folder_that_is_missing_is_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"a\.mp4 could not be written: No such file"):
        write(tmp_path / "missing" / "a.mp4")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_file_that_cannot_be_completed_leaves_the_one_before(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(MedSegError, match=r"a\.mp4 could not be written: File too large"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_that_is_given_up_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    with suppress(KeyboardInterrupt), OverlayVideo(path, (48, 96), 25.0) as video:
        video.add(draw_number(0), 0.0)
        raise KeyboardInterrupt
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.stat().st_size > 100


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_video_says_what_it_is_of(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with OverlayVideo(path, (48, 96), 25.0, "napari-medseg: lungs") as video:
        video.add(draw_number(0), 0.0)
    assert read_comment(path) == "napari-medseg: lungs"
    assert read_comment(tmp_path / "missing.mp4") == ""
