"""Videos are found in dropped folders; those in an archive are named, with what to do."""

import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from video_phantoms import write_video

from napari_medseg.core.formats import search_images
from napari_medseg.core.video.found_videos import holds_video, split_videos


def write_picture(path: Path) -> Path:
    Picture.fromarray(np.zeros((20, 30), np.uint8)).save(path)
    return path


def test_the_videos_of_a_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "op" / "part").mkdir(parents=True)
    first = write_video(tmp_path / "op" / "a.mp4", n_frames=3)
    second = write_video(tmp_path / "op" / "part" / "b.MKV", n_frames=3)
    (tmp_path / "op" / "notes.txt").write_text("no image")
    assert holds_video(tmp_path / "op")
    assert split_videos([tmp_path / "op"]) == ([first, second], [])
    write_picture(tmp_path / "op" / "c.png")
    assert split_videos([tmp_path / "op"]) == ([first, second], [tmp_path / "op"])
    assert split_videos([first, tmp_path / "op" / "c.png"]) == ([first], [tmp_path / "op" / "c.png"])


def test_a_folder_without_videos_is_left_to_others(tmp_path: Path) -> None:
    write_picture(tmp_path / "c.png")
    assert not holds_video(tmp_path)
    assert split_videos([tmp_path]) == ([], [tmp_path])


def test_a_video_in_an_archive_is_not_unpacked_and_named(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", n_frames=3)
    packed = tmp_path / "op.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(video, "day 1/a.mp4")
    (refused,) = search_images(packed).sources
    assert re.search(r"not read from an archive.*: a\.mp4\. Unpack op\.zip, and drop the folder", refused.problem)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.write(write_picture(tmp_path / "c.png"), "c.png")
    found = search_images(packed)
    assert [source.name for source in found.sources] == ["c.png"]
    assert "Unpack op.zip" in found.note
    assert not list(found.sources[0].files[0].parent.rglob("*.mp4"))
