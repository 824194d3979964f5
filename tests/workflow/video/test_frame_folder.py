"""Files of frames are kept for the same video and version only, and nothing of a person is replaced."""

from pathlib import Path

import pytest
from video_phantoms import write_video

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.workflow.video.frame_folder import FRAMES_FILE, FrameFolder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    return write_video(tmp_path / "a" / "clip.mp4", n_frames=5)


def open_folder(tmp_path: Path, video: Path, made_by: str = "lungs-unet@1") -> FrameFolder:
    return FrameFolder(tmp_path / "out", video, read_index(video), made_by)


def make(folder: FrameFolder, number: int) -> Path:
    path = folder.get_path(number, ".png")
    folder.begin(path, number)
    path.write_bytes(b"labels")
    folder.record(path)
    return path


def test_a_file_is_kept_for_the_same_content_and_version(tmp_path: Path, video: Path) -> None:
    path = make(open_folder(tmp_path, video), 3)
    assert path.name == "clip_frame3.png"
    moved = video.rename(tmp_path / "moved.mp4")
    again = open_folder(tmp_path, moved)
    assert again.get_path(3, ".png") == path
    assert again.is_made(path)
    assert not again.is_made(again.get_path(4, ".png"))
    assert not open_folder(tmp_path, moved, "lungs-unet@2").is_made(path)


def test_videos_of_one_name_have_files_of_their_own(tmp_path: Path, video: Path) -> None:
    path = make(open_folder(tmp_path, video), 3)
    (tmp_path / "b").mkdir()
    other = open_folder(tmp_path, write_video(tmp_path / "b" / "clip.mp4", n_frames=5, first=50))
    assert other.get_path(3, ".png") != path
    make(other, 3)
    write_video(video, n_frames=5, first=100)  # another one at the place of the first
    assert open_folder(tmp_path, video).video not in ("clip", other.video)


def test_what_a_person_changed_or_made_is_not_replaced(tmp_path: Path, video: Path) -> None:
    folder = open_folder(tmp_path, video)
    path = make(folder, 3)
    path.write_bytes(b"corrected")
    with pytest.raises(MedSegError, match=r"clip_frame3\.png was changed since it was made"):
        open_folder(tmp_path, video).is_made(path)
    foreign = folder.get_path(4, ".png")
    foreign.write_bytes(b"of another program")
    with pytest.raises(MedSegError, match=r"does not say that this command made it"):
        folder.is_made(foreign)


@pytest.mark.parametrize(("first", "then"), [("", "lungs-unet@1"), ("lungs-unet@1", "")])
def test_a_picture_and_labels_do_not_replace_each_other(tmp_path: Path, video: Path, first: str, then: str) -> None:
    path = make(open_folder(tmp_path, video, first), 3)
    with pytest.raises(MedSegError, match=r"holds (a picture|labels) of this frame.*-o"):
        open_folder(tmp_path, video, then).is_made(path)


def test_an_interrupted_command_can_be_repeated(tmp_path: Path, video: Path) -> None:
    folder = open_folder(tmp_path, video)
    path = folder.get_path(3, ".png")
    folder.begin(path, 3)
    path.write_bytes(b"half")
    with (tmp_path / "out" / FRAMES_FILE).open("ab") as file:
        file.write(b'{"file": "clip_fr')
    again = open_folder(tmp_path, video)
    assert not again.is_made(path)
    make(again, 3)
    assert open_folder(tmp_path, video).is_made(path)
