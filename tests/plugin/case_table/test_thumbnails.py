"""Thumbnails: which pictures are kept, and what a failed one says of its case. No viewer is opened."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from pytestqt.qtbot import QtBot
from video_phantoms import write_video

from napari_medseg.core import formats
from napari_medseg.core.records import Case
from napari_medseg.core.video.frame_images import read_frames
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.plugin.case_table.thumbnails import Thumbnails, get_thumbnail_path, load_thumbnail, make_thumbnail
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.workspace import Workspace

NUMBER = 7


@pytest.fixture
def frame(ws: Workspace, tmp_path: Path) -> Case:
    video = write_video(tmp_path / "op.mp4", 20)
    return add_cases(ws, [read_frames(VideoFrames(video, (NUMBER,)))], "instruments")[0]


def add_series(ws: Workspace, folder: Path, seed: int) -> Case:
    volume = np.random.default_rng(seed).integers(-900, 300, (5, 24, 24)).astype(np.int16)
    files = write_series(folder, volume, Modality="CT", BodyPartExamined="CHEST", SeriesInstanceUID=f"1.2.{seed + 1}")
    return add_cases(ws, [formats.read_series(files)], "lungs")[0]


def test_a_picture_of_another_file_is_not_kept(ws: Workspace, frame: Case, tmp_path: Path, qtbot: QtBot) -> None:
    right = read_frames(VideoFrames(tmp_path / "op.mp4", (NUMBER,)))
    (tmp_path / "op.mp4").unlink()
    write_video(tmp_path / "op.mp4", 20, first=500)
    thumbnails = Thumbnails(ws)
    wrong = load_thumbnail(ws, frame, None)
    assert wrong is not None, "it cannot be known without reading the whole video"
    assert not get_thumbnail_path(ws.project.folder, frame).exists()
    thumbnails.get(frame)
    qtbot.waitUntil(lambda: frame.id in thumbnails._pictures)
    shown = thumbnails.get(frame).cacheKey()
    thumbnails.add_image(frame, right)
    qtbot.waitUntil(lambda: thumbnails.get(frame).cacheKey() != shown)
    np.testing.assert_array_equal(load_thumbnail(ws, frame, None), make_thumbnail(right))
    thumbnails.close()


def test_a_slice_of_another_series_is_not_shown(ws: Workspace, tmp_path: Path) -> None:
    case, other = (add_series(ws, tmp_path / str(seed), seed) for seed in range(2))
    middle = Path(case.sources[2])
    middle.write_bytes(Path(other.sources[2]).read_bytes())
    assert load_thumbnail(ws, case, None) is None
    assert load_thumbnail(ws, other, None) is not None


def test_a_frame_whose_picture_fails_is_not_called_unreadable(ws: Workspace, frame: Case, tmp_path: Path) -> None:
    (tmp_path / "op.mp4").write_bytes(b"damaged")
    assert load_thumbnail(ws, frame, None) is None
    assert ws.image_problems.get(frame) is None, "only reading the image itself can tell"
    (tmp_path / "op.mp4").unlink()
    assert load_thumbnail(ws, frame, None) is None
    assert ws.image_problems.get(frame) is None, "the watch looks for missing files, and notices when they are back"
