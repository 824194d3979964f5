"""A frame for a thumbnail is found without the index of the video."""

from pathlib import Path

import numpy as np
import pytest
from video_phantoms import read_number, write_video

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_glimpse import glimpse_frame
from napari_medseg.core.video.video_reader import VideoReader


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
@pytest.mark.parametrize("number", [0, 1, 29, 59])
def test_the_frame_is_found_by_its_time(tmp_path: Path, name: str, codec: str, number: int) -> None:
    video = write_video(tmp_path / name, 60, codec, n_b_frames=0)
    image = glimpse_frame(video, number)
    assert image is not None
    assert abs(read_number(image.pixels) - number) <= (1 if name == "a.avi" else 0)


def test_a_number_beyond_the_end_gives_the_last_frames(tmp_path: Path) -> None:
    image = glimpse_frame(write_video(tmp_path / "a.mp4", 20), 400)
    assert image is not None
    assert read_number(image.pixels) == 19


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_is_shown_as_the_reader_shows_it(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=5, rotation=rotation)
    with VideoReader(path) as reader:
        np.testing.assert_array_equal(glimpse_frame(path, 3).pixels, reader.read(3))


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(MedSegError, match=r"a\.mp4"):
        glimpse_frame(tmp_path / "a.mp4", 3)
