"""A frame of a video is a part of its file, found again by its path."""

from pathlib import Path

import pytest
from video_phantoms import read_number, write_video

from napari_medseg.core import formats
from napari_medseg.core.containers.part_paths import exists, get_whole_path
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_images import format_time
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.frame_paths import make_frames, make_series, parse_frame_path


def test_a_frame_is_read_by_its_path(tmp_path: Path) -> None:
    path = write_video(tmp_path / "Op 7.mp4")
    (frame,) = make_frames(path, [34])
    assert frame.path == path / "Op 7_frame34.mp4"
    assert exists(frame.path)
    assert get_whole_path(frame.path) == path
    image = formats.read(frame.path)
    assert (image.axes, image.units, image.group) == ("YXC", "rgb", "Op 7")
    assert image.name == "Op 7 frame 34 (0:01.36)"
    assert [parse_frame_path(source) for source in image.sources] == make_frames(path, [34], read_index(path).content)
    assert read_number(image.pixels) == 34


def test_a_frame_is_not_read_from_another_file_at_its_place(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=10)
    (frame,) = formats.read(make_frames(path, [3])[0].path).sources
    path.rename(tmp_path / "b.mp4")
    write_video(path, n_frames=10, first=100)
    with pytest.raises(MedSegError, match=r"a\.mp4 is another video than the one that frame 3 was taken from"):
        formats.read(frame)
    assert read_number(formats.read(make_frames(path, [3])[0].path).pixels) == 103


def test_frames_are_read_together_as_a_drop_reads_images(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv")
    wanted = [3, 40, 59]
    items = list(formats.read_images([frame.path for frame in make_frames(path, wanted)]))
    images = [item for item in items if isinstance(item, formats.Image)]
    assert [read_number(image.pixels) for image in images] == wanted
    assert {image.group for image in images} == {"a"}


def test_a_series_has_the_time_as_its_slices(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    series = make_series(path, 10, 20, 2)
    image = formats.read(series.path)
    assert image.axes == "ZYXC"
    assert [read_number(plane) for plane in image.pixels] == [10, 12, 14, 16, 18, 20]
    assert image.group == "a"
    assert parse_frame_path(series.path) == series
    assert parse_frame_path(image.sources[0]) == make_series(path, 10, 20, 2, read_index(path).content)
    assert parse_frame_path(make_series(path, 10, 12).path) == make_series(path, 10, 12)


def test_a_video_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"a\.mp4 is a video\. Drop it on the window, or use medseg video"):
        formats.read(write_video(tmp_path / "a.mp4", n_frames=3))


def test_the_group_is_the_patient_whom_the_name_of_the_video_states(tmp_path: Path) -> None:
    path = write_video(tmp_path / "patient12_b.mp4", n_frames=3)
    assert formats.read(make_frames(path, [1])[0].path).group == "patient12"


@pytest.mark.parametrize(
    "name", ["a_frame60.mp4", "a_frames50to70.mp4", "a_frames0to500.mp4", "a_frames9to3.mp4", "b.mp4"]
)
def test_what_is_not_in_the_video_is_refused(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "a.mp4")
    with pytest.raises(MedSegError, match=r"no frame 6|a series has 2 to 60|holds no"):
        formats.read(path / name)


def test_the_place_of_a_frame_is_known_without_its_video(tmp_path: Path) -> None:
    gone = parse_frame_path(tmp_path / "gone.mp4" / "gone_frame7.mp4")
    assert gone is not None
    assert gone.numbers == (7,)
    assert parse_frame_path(tmp_path / "study.zip" / "a_frame7.mp4") is None
    assert parse_frame_path(tmp_path / "folder" / "a_frame7.mp4") is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.00"), (61.239, "1:01.24"), (59.999, "1:00.00"), (7322.5, "2:02:02.50")]
)
def test_times_are_written_as_clocks(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
