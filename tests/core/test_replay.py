"""The list of older images beside a version."""

from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, ReplayImage, read_replay_images, write_replay_images


def test_the_list_comes_back_and_says_what_is_still_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a_labels.png").touch()
    there = ReplayImage(name="a", image=str(tmp_path / "a.png"), labels=str(tmp_path / "a_labels.png"), group="p1")
    gone = there.model_copy(update={"image": str(tmp_path / "b.png")})
    write_replay_images(tmp_path, [there, gone])
    assert read_replay_images(tmp_path) == (there, gone)
    assert [image.is_available for image in read_replay_images(tmp_path)] == [True, False]


def test_without_images_there_is_no_list_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    write_replay_images(tmp_path, [])
    assert not (tmp_path / REPLAY_IMAGES_FILE).exists()
    assert read_replay_images(tmp_path) == ()
    (tmp_path / REPLAY_IMAGES_FILE).write_text("[{}]")
    with pytest.raises(MedSegError, match=r"older\.json is not a list"):
        read_replay_images(tmp_path)
