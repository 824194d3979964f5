"""A video that cannot be written says so, and leaves no file."""

from pathlib import Path

import pytest
from video_phantoms import draw_number

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.overlay_video import OverlayVideo


def write(path: Path) -> None:
    with OverlayVideo(path, (48, 96), 25.0) as video:
        for number in range(3):
            video.add(draw_number(number), number / 25)


def test_a_folder_that_is_missing_is_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"a\.mp4 could not be written: No such file"):
        write(tmp_path / "missing" / "a.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_named_as_the_reason_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.symlink_to("/dev/full")
    with pytest.raises(MedSegError, match=r"could not be written: No space left on device\. Free disk space"):
        write(path)
    assert list(tmp_path.iterdir()) == []
