"""One number is one picture, however it was reached and whatever the container."""

import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from video_phantoms import RATE, draw_number, read_number, write_video

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.video_reader import ReadCancelled, VideoReader

OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"}
REFRESH = {"x264-params": "intra-refresh=1:bframes=0"}
UNEVEN_MS = np.cumsum([0, *random.Random(1).choices([20, 33, 40, 100], k=59)]).tolist()
LATE_MS = [5000 + 40 * number for number in range(60)]
KINDS = {
    "mp4": ("a.mp4", {}),
    "mov": ("a.mov", {}),
    "mkv": ("a.mkv", {}),
    "transport stream": ("a.ts", {}),
    "webm": ("a.webm", {"codec": "libvpx-vp9", "n_frames": 30}),
    "mpeg-4 in avi": ("a.avi", {"codec": "mpeg4", "n_b_frames": 2}),
    "h264 in avi, no time stamps": ("a.avi", {}),
    "open groups in avi, no time stamps": ("a.avi", {"options": OPEN_GOP}),
    "no group is closed but the first, no time stamps": ("a.avi", {"gop": 20, "options": REFRESH}),
    "uneven times in avi, no time stamps": ("a.avi", {"times": UNEVEN_MS}),
    "mjpeg in avi": ("a.avi", {"codec": "mjpeg"}),
    "h265": ("a.mp4", {"codec": "libx265", "n_frames": 30}),
    "ten bits": ("a.mov", {"pix_fmt": "yuv420p10le"}),
    "interlaced": ("a.mkv", {"options": {"flags": "+ildct+ilme", "x264-params": "interlaced=1:tff=1"}}),
    "pyramid of b-frames": ("a.mp4", {"n_b_frames": 8, "options": {"x264-params": "b-pyramid=normal:ref=6"}}),
    "every frame a key frame": ("a.mp4", {"gop": 1}),
    "group of two": ("a.mp4", {"gop": 2}),
    "one long group": ("a.mp4", {"gop": 250}),
    "open groups": ("a.mp4", {"options": OPEN_GOP}),
    "open groups in a stream": ("a.ts", {"options": OPEN_GOP}),
    "uneven times": ("a.mp4", {"times": UNEVEN_MS}),
    "uneven times in mkv": ("a.mkv", {"times": UNEVEN_MS}),
    "first time is not 0": ("a.mkv", {"times": LATE_MS}),
    "first time is not 0, edit list": ("a.mp4", {"times": LATE_MS}),
    "odd size": ("a.mkv", {"codec": "ffv1", "size": (99, 51)}),
}


@pytest.mark.parametrize(("name", "how"), KINDS.values(), ids=KINDS.keys())
def test_a_number_is_one_picture_in_any_order(tmp_path: Path, name: str, how: dict[str, object]) -> None:
    path = write_video(tmp_path / name, **how)
    with VideoReader(path, cache_bytes=1) as reader:  # one frame is kept: each one is found again
        n_frames = how.get("n_frames", 60)
        assert reader.index.n_frames == n_frames
        forward = [read_number(reader.read(number)) for number in range(n_frames)]
        assert forward == list(range(n_frames))
        there = random.Random(2).sample(range(n_frames), 25)
        assert [read_number(reader.read(number)) for number in there] == there
        back = list(range(n_frames - 1, n_frames - 20, -1))
        assert [read_number(reader.read(number)) for number in back] == back


SEEKING = ("mp4", "mkv", "transport stream", "h265", "uneven times", "open groups", "group of two")


@pytest.mark.parametrize("kind", SEEKING)
def test_a_jump_decodes_no_group_before_its_own(tmp_path: Path, kind: str) -> None:
    name, how = KINDS[kind]
    path = write_video(tmp_path / name, **how)
    index = read_index(path)
    for key in index.keys[1:5].tolist():
        with VideoReader(path, index) as reader:
            reader.read(key, steps_back=0)
            assert [number for number in range(1, key) if reader.count_frames_to(number) == 0] == []


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_is_shown_upright(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=5, rotation=rotation)
    with VideoReader(path) as reader:
        shown = reader.read(3)
    assert read_number(np.rot90(shown, -rotation // 90)) == 3
    assert shown.shape == np.rot90(draw_number(3), rotation // 90).shape


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    index = read_index(write_video(tmp_path / "a.mkv", times=UNEVEN_MS))
    assert [round(1000 * index.get_time(number)) for number in range(60)] == UNEVEN_MS
    assert not index.is_rate_constant
    assert index.find_at_time((UNEVEN_MS[30] + 1) / 1000) == 30
    assert (index.find_at_time(-1), index.find_at_time(1e6)) == (0, 59)
    even = read_index(write_video(tmp_path / "b.mp4"))
    assert even.is_rate_constant
    assert even.rate == pytest.approx(RATE)
    assert even.duration_s == pytest.approx(60 / RATE)
    assert even.longest_group == 12


def test_the_first_frame_of_a_late_video_is_at_0(tmp_path: Path) -> None:
    index = read_index(write_video(tmp_path / "a.mkv", times=LATE_MS))
    assert index.get_time(0) == 0.0
    assert index.get_time(10) == pytest.approx(0.4)


def test_a_cut_file_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", n_frames=300, gop=12)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with VideoReader(cut) as reader:
        assert 50 < reader.index.n_frames < 250
        middle = reader.index.n_frames // 2
        assert read_number(reader.read(middle)) == middle
        assert "cut.mkv" in reader.index.remarks[0]


def test_a_late_start_is_not_taken_for_a_cut(tmp_path: Path) -> None:
    assert read_index(write_video(tmp_path / "a.mkv", times=[90_000 + 40 * k for k in range(60)])).remarks == ()


def test_joined_recordings_whose_times_jump_back_are_refused(tmp_path: Path) -> None:
    first, second = (write_video(tmp_path / name, n_frames=20) for name in ("a.ts", "b.ts"))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(MedSegError, match=r"joined of several recordings.*ffmpeg -i joined\.ts -c copy joined\.mkv"):
        read_index(joined)


def test_a_file_that_was_replaced_after_its_times_were_read_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=10)
    index = read_index(path)
    write_video(path, n_frames=12, first=50)
    with pytest.raises(MedSegError, match=r"a\.mp4 was changed or replaced since it was opened"):
        VideoReader(path, index)


def test_a_video_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", n_frames=10, codec="ffv1", gop=1)
    content = read_index(path).content
    other = read_index(write_video(tmp_path / "b.mkv", n_frames=10, codec="ffv1", gop=1, first=50)).content
    assert len(content) == 40
    assert read_index(path.rename(tmp_path / "moved.mkv")).content == content
    assert other != content


def test_a_file_without_its_end_is_refused_with_advice(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-3000])
    with pytest.raises(MedSegError, match=r"cut\.mp4 cannot be read as a video.*end of a recording"):
        VideoReader(cut)


def test_a_damaged_part_costs_only_its_group_of_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", n_frames=200, gop=12)
    content = bytearray(path.read_bytes())
    begin = len(content) // 2
    content[begin : begin + 188] = bytes(188)
    path.write_bytes(content)
    with VideoReader(path) as reader:
        shown = {}
        for number in range(reader.index.n_frames):
            with suppress(MedSegError):
                shown[number] = read_number(reader.read(number))
        n_lost = 200 - reader.index.n_frames
    right = [number for number, seen in shown.items() if seen in (number, number + n_lost)]
    assert len(right) >= 200 - 2 * 12


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read as a video"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n", "cannot be read as a video"),
        (b"ffconcat version 1.0\nfile '/etc/hosts'\n", "cannot be read as a video"),
        (bytes(5000), "cannot be read as a video"),
    ],
)
def test_what_is_no_video_is_refused_and_no_other_file_is_opened(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(MedSegError, match=reason):
        VideoReader(path)


def test_a_program_stream_is_refused_because_its_frames_cannot_be_found_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mpg", codec="mpeg2video", n_b_frames=2)
    with pytest.raises(MedSegError, match=r"ffmpeg -i a\.mpg -c copy a\.mkv"):
        read_index(path)


def test_a_video_of_one_frame_is_one(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / "a.mp4", n_frames=1)) as reader:
        assert read_number(reader.read(0)) == 0
        assert (reader.index.n_frames, reader.index.longest_group) == (1, 1)
        assert reader.index.find_at_time(5.0) == 0


@pytest.mark.skipif(os.name == "nt", reason="no colon is allowed there")
def test_the_name_may_be_in_capitals_and_have_a_colon(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=5).rename(tmp_path / "concat:Op 1.v2.MP4")
    with VideoReader(path) as reader:
        assert read_number(reader.read(3)) == 3


def test_a_number_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / "a.mp4", n_frames=10)) as reader:
        with pytest.raises(MedSegError, match="its frames are 0 to 9"):
            reader.read(10)
        reader.close()
        with pytest.raises(MedSegError, match="was closed"):
            reader.read(0)


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", gop=60)
    with VideoReader(path, cache_bytes=100_000) as reader:
        for number in range(60):
            reader.read(number)
        assert 0 < reader.cached_bytes <= 100_000
        assert reader.count_frames_to(59) == 0
        assert reader.count_frames_to(5) == 6


def test_a_step_back_in_a_long_group_decodes_nothing_again(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / "a.mp4", gop=250, n_frames=100)) as reader:
        reader.read(90, steps_back=20)
        assert [reader.count_frames_to(number) for number in range(70, 91)] == [0] * 21


def test_a_frame_that_is_not_wanted_any_more_is_given_up(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / "a.mp4", gop=250, n_frames=100)) as reader:
        with pytest.raises(ReadCancelled):
            reader.read(90, lambda: True)
        assert read_number(reader.read(91)) == 91
