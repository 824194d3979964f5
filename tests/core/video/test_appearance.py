"""Frames are chosen where a video looks different."""

from pathlib import Path

import numpy as np
import pytest
from video_phantoms import write_video

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.appearance import Appearance, choose_different, choose_samples
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow.video.chosen_frames import FrameChoice, choose_by_appearance


def make_appearance(levels: list[float]) -> Appearance:
    pattern = np.linspace(-60, 60, 48, dtype=np.float32)
    return Appearance(np.arange(len(levels)) * 10, np.array([pattern + level for level in levels], np.float32))


def test_one_frame_of_each_scene_is_chosen() -> None:
    scenes = make_appearance([100, 101, 102, 180, 181, 30, 31, 100])
    chosen = choose_different(scenes, 3)
    assert len(chosen) == 3
    assert {number // 10 for number in chosen} & {3, 4}
    assert {number // 10 for number in chosen} & {5, 6}


def test_no_more_are_chosen_than_look_different() -> None:
    assert len(choose_different(make_appearance([100, 101, 102, 180]), 10)) == 2


def test_frames_like_the_chosen_ones_are_not_chosen_again() -> None:
    chosen = choose_different(make_appearance([100, 101, 180, 181]), 5, beside=[0])
    assert [number // 10 in (2, 3) for number in chosen] == [True]


def test_black_frames_show_nothing() -> None:
    seen = make_appearance([100, 101])
    black = np.zeros_like(seen.thumbnails[:1])
    both = Appearance(np.array([0, 10, 20]), np.concatenate([seen.thumbnails, black]))
    assert 20 not in choose_different(both, 3)
    assert choose_different(Appearance(np.array([20]), black), 3) == []


def test_key_frames_are_looked_at_if_they_suffice(tmp_path: Path) -> None:
    index = read_index(write_video(tmp_path / "a.mp4", n_frames=300, gop=25))
    assert choose_samples(index, 0, 299, 4).tolist() == index.keys.tolist()
    few = choose_samples(index, 30, 60, 3)
    assert few.min() >= 30
    assert few.max() <= 60


@pytest.mark.parametrize(("first", "last", "n_wanted"), [(50, 20, 3), (0, 100, 3), (0, 99, 0)])
def test_a_range_that_is_none_is_refused(tmp_path: Path, first: int, last: int, n_wanted: int) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=100)
    with VideoReader(path) as reader, pytest.raises(MedSegError, match="within frames 0 to 99"):
        list(choose_by_appearance(reader, first, last, n_wanted))


def test_a_video_is_looked_through(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=100, gop=10)
    with VideoReader(path) as reader:
        *shares, choice = choose_by_appearance(reader, 0, 99, 3)
    assert shares[-1] == 1.0
    assert isinstance(choice, FrameChoice)
    assert 1 <= len(choice.numbers) <= 3
    assert "sampled frames chosen" in choice.text
