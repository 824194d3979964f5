"""A dropped video opens with its strip; its frames become cases; either it is seen or a case."""

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, QPoint, Qt
from qtpy.QtWidgets import QWidget
from video_phantoms import read_number, write_video

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.plugin.controllers import open_case
from napari_medseg.plugin.video.lazy_frames import LazyFrames
from napari_medseg.plugin.video.player import Player
from napari_medseg.plugin.video.timeline import Mark, Timeline
from napari_medseg.plugin.video.video_desk import VideoDesk
from napari_medseg.plugin.video.video_forms import FrameRange
from napari_medseg.plugin.video.video_opening import VideoOffer
from napari_medseg.plugin.video.video_strip import VideoChoice
from napari_medseg.workflow.video.predicted_frames import PredictedFrames

TASK = "instruments"


@pytest.fixture
def desk(window: SimpleNamespace, qtbot: QtBot) -> Iterator[VideoDesk]:
    dock = QWidget()
    qtbot.addWidget(dock)
    window.worklist.predicts_automatically = False
    made = VideoDesk(window.viewer, window.ws, window.case_controller, window.worklist, window.prediction_queue, dock)
    yield made
    made.close_down()


@pytest.fixture
def drop(window: SimpleNamespace, desk: VideoDesk, qtbot: QtBot, tmp_path: Path) -> Callable[..., Path]:
    def drop_video(name: str = "op.mp4", **how: object) -> Path:
        path = write_video(tmp_path / name, **how)
        window.worklist.importer.read([path])
        qtbot.waitUntil(lambda: desk.path == path and desk.shown is not None and not desk.shown.is_waiting)
        window.worklist.choose_task(TASK)
        return path

    return drop_video


def see(window: SimpleNamespace) -> int:
    """Return the number that the picture of the video shows."""
    (layer,) = [layer for layer in window.viewer.layers if layer.name == "op.mp4"]
    return read_number(layer.data[int(window.viewer.dims.point[0])])


def go_to(desk: VideoDesk, qtbot: QtBot, number: int) -> None:
    desk.go_to(number)
    qtbot.waitUntil(lambda: desk.shown is not None and not desk.shown.is_waiting)


def test_a_dropped_video_is_seen_at_each_time(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    assert see(window) == 0
    go_to(desk, qtbot, 41)
    assert see(window) == 41
    assert desk.strip.number.value() == 41
    assert desk.strip.time.text() == "0:01.64 / 0:02.40"
    window.viewer.dims.set_point(0, 12)  # napari's own slider
    window.viewer.layers[0].refresh()
    qtbot.waitUntil(lambda: desk.strip.number.value() == 12)
    assert see(window) == 12


def test_a_frame_that_is_taken_is_a_case_with_a_copy(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    go_to(desk, qtbot, 30)
    desk.take_frame()
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    current = window.case_controller.current
    assert read_number(current.image.pixels) == 30
    assert [layer.name for layer in window.viewer.layers if "op.mp4" in layer.name] == []
    qtbot.waitUntil(lambda: [mark.number for mark in desk.marks.marks] == [30])
    copy = get_image_copy_path(window.ws.project.folder, current.case.content_hash)
    qtbot.waitUntil(copy.exists)
    assert desk.marks.find_case(30, current.case.task) is not None
    assert desk.marks.find_case(30, "nuclei") is None, "for another task it is another case"
    go_to(desk, qtbot, 5)
    assert window.case_controller.current is None
    assert see(window) == 5
    desk.strip.timeline.mark_clicked.emit(30)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert window.case_controller.current.case.id == current.case.id


def test_frames_and_a_series_are_chosen(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    desk.cases.choose_every(FrameRange(0, 59, 20))
    qtbot.waitUntil(lambda: [mark.number for mark in desk.marks.marks] == [0, 20, 40])
    desk.cases.open_series(FrameRange(50, 54, 2))
    qtbot.waitUntil(lambda: len(desk.marks.marks) == 6)
    qtbot.waitUntil(lambda: window.case_controller.current.image.axes == "ZYXC")
    window.viewer.dims.set_point(0, 1)
    assert desk.strip.number.value() == 52
    with pytest.raises(MedSegError, match="2 to 60 frames"):
        desk.cases.open_series(FrameRange(50, 50, 1))


def test_frames_are_copied_also_if_the_video_is_closed_while_they_are_read(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    desk.cases.choose_every(FrameRange(0, 59, 20))
    desk.close_video()
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 3)
    folder = window.ws.project.folder
    copies = [get_image_copy_path(folder, row.case.content_hash) for row in window.worklist.rows]
    qtbot.waitUntil(lambda: all(copy.exists() for copy in copies))
    assert len(set(copies)) == 3


def test_play_waits_until_the_labels_of_the_open_frame_are_saved(
    window: SimpleNamespace,
    desk: VideoDesk,
    drop: Callable[..., Path],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drop()
    desk.take_frame()
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    window.case_controller.restart_review()
    goes_on, work = threading.Event(), open_case.write_accepted

    def wait_and_work(*arguments: object) -> Generator[Any]:
        assert goes_on.wait(60)
        yield from work(*arguments)

    monkeypatch.setattr(open_case, "write_accepted", wait_and_work)
    window.case_controller.accept()
    desk.strip.play_button.click()
    assert not desk.player.is_playing
    goes_on.set()
    qtbot.waitUntil(lambda: not window.case_controller.saver.is_running)
    desk.strip.play_button.click()
    assert desk.player.is_playing


def test_predicted_labels_are_seen_with_their_frames(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    assert desk.shown is not None
    reader = desk.shown.loader.reader
    desk.work._labels = PredictedFrames.open(window.ws.project.folder, reader, TASK, "instruments-unet@1")
    for number in (10, 15):
        desk.work._labels.write(number, np.full(reader.shape[1:3], number // 5, np.uint8))
    desk.work.find_accepted()
    layer = window.viewer.layers["op.mp4: labels"]
    for number, value in ((10, 2), (14, 2), (15, 3), (19, 3), (20, 0)):
        go_to(desk, qtbot, number)
        assert int(np.asarray(layer.data[number]).max()) == value, number
    with pytest.raises(MedSegError, match="no model"):
        desk.predict_range(FrameRange(0, 59, 5))


def test_accepted_labels_are_seen_on_their_frame(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    go_to(desk, qtbot, 30)
    assert not window.viewer.layers["op.mp4: labels"].visible
    desk.take_frame()
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    window.case_controller.restart_review()
    layer = window.case_controller.current.labels_layer
    layer.data_setitem((np.array([5, 6]), np.array([7, 7])), 1)
    window.case_controller.accept()
    qtbot.waitUntil(lambda: [mark.state for mark in desk.marks.marks] == ["accepted"])
    go_to(desk, qtbot, 30)
    layer = window.viewer.layers["op.mp4: labels"]
    assert layer.visible
    assert int(np.asarray(layer.data[30]).sum()) == 2


def test_another_video_takes_its_place_and_closing_keeps_the_cases(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop()
    desk.take_frame()
    qtbot.waitUntil(lambda: len(desk.marks.marks) == 1)
    other = drop("second.mkv", n_frames=30)
    assert desk.path == other
    assert desk.marks.marks == []
    desk.close_video()
    assert desk.path is None
    assert not [layer for layer in window.viewer.layers if "second" in layer.name]
    assert len(window.worklist.rows) == 1


def test_the_videos_of_a_folder_can_be_chosen(
    window: SimpleNamespace, desk: VideoDesk, qtbot: QtBot, tmp_path: Path
) -> None:
    paths = []
    for part in ("a", "b"):
        (tmp_path / "op" / part).mkdir(parents=True)
        paths.append(write_video(tmp_path / "op" / part / "clip.mp4", n_frames=5))
    window.worklist.importer.read([tmp_path / "op"])
    qtbot.waitUntil(lambda: desk.path == paths[0] and desk.shown is not None and not desk.shown.is_waiting)
    videos = desk.strip.videos
    assert [videos.itemText(row) for row in range(videos.count())] == ["a/clip.mp4", "b/clip.mp4"]
    videos.activated.emit(1)
    qtbot.waitUntil(lambda: desk.path == paths[1])
    assert videos.currentText() == "b/clip.mp4"
    desk.strip.close_requested.emit()
    assert desk.path is None
    window.worklist.importer.read([paths[0]])
    qtbot.waitUntil(lambda: desk.path == paths[0])
    assert videos.count() == 1


def test_the_way_back_leads_to_the_frame_also_if_no_video_is_open(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    path = drop()
    go_to(desk, qtbot, 30)
    desk.take_frame()
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert not desk.strip.back_button.isHidden()
    assert desk.strip.take_button.isHidden()
    desk.strip.back_requested.emit()
    qtbot.waitUntil(lambda: desk.shown is not None and desk.shown.is_visible and not desk.shown.is_waiting)
    assert (see(window), window.case_controller.current) == (30, None)
    desk.close_video()
    window.worklist.open(window.worklist.rows[0].case)  # as after a restart
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    qtbot.waitUntil(lambda: not desk.strip.back_button.isHidden() and desk.strip.videos.currentData() == path)
    desk.strip.back_requested.emit()
    qtbot.waitUntil(lambda: desk.shown is not None and desk.shown.is_visible and not desk.shown.is_waiting)
    assert see(window) == 30


def test_playing_moves_napari_s_slider_only_when_it_ends(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop(n_frames=600)
    desk.strip.play_toggled.emit()
    qtbot.waitUntil(lambda: desk.strip.number.value() > 3)
    assert int(window.viewer.dims.point[0]) == 0
    assert read_number(window.viewer.layers[0].data[0]) > 3
    desk.strip.play_toggled.emit()
    assert not desk.player.is_playing
    qtbot.waitUntil(lambda: desk.shown is not None and not desk.shown.is_waiting)
    seen = desk.strip.number.value()
    assert int(window.viewer.dims.point[0]) == seen == see(window)


def test_a_key_frame_is_seen_and_named_until_a_far_frame_is_decoded(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot
) -> None:
    drop(n_frames=300, gop=250)
    assert desk.shown is not None
    with qtbot.waitSignal(desk.shown.near) as near:
        desk.go_to(240)
    assert near.args == [0]
    assert desk.strip.time.text() == "near: 0:00.00 …"
    qtbot.waitUntil(lambda: desk.shown is not None and not desk.shown.is_waiting)
    assert desk.strip.time.text() == "0:09.60 / 0:12.00"
    assert see(window) == 240


def test_no_frame_of_another_file_is_taken_for_one_that_is_seen(
    window: SimpleNamespace, desk: VideoDesk, drop: Callable[..., Path], qtbot: QtBot, told: list[str]
) -> None:
    path = drop()
    go_to(desk, qtbot, 7)
    desk.take_frame()
    qtbot.waitUntil(lambda: len(desk.marks.marks) == 1)
    path.unlink()
    desk.close_video()
    window.ws.project._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(window.ws.project.folder / DATABASE)) as another:
        another.execute("BEGIN IMMEDIATE")
        drop(first=200)
    # nothing has to be written for the notice
    assert "another video than the one that lay there when these cases were made" in " ".join(told)
    assert desk.marks.marks == []
    path.unlink()
    write_video(path, first=300)
    desk.cases.take(5)
    qtbot.waitUntil(lambda: not window.worklist.importer.is_reading)
    assert len(window.worklist.rows) == 1


def test_a_file_that_is_no_video_is_said_to_be_none(
    window: SimpleNamespace, desk: VideoDesk, qtbot: QtBot, told: object, tmp_path: Path
) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(bytes(4000))
    with qtbot.waitSignal(window.worklist.importer.finished):
        window.worklist.importer.read([path])
    qtbot.waitUntil(lambda: not desk.opening.is_running)
    assert desk.shown is None
    assert not desk.place.isVisible()


def test_a_video_is_offered_if_it_is_there_and_was_not_closed(qtbot: QtBot, tmp_path: Path) -> None:
    video, parent = write_video(tmp_path / "op.mp4", n_frames=5), QObject()
    offer, found = VideoOffer(parent), []
    offer.found.connect(found.append)
    offer.find(video)
    assert found == [], "the file is looked for in a thread"
    qtbot.waitUntil(lambda: found == [video])
    offer.find(tmp_path / "gone.mp4")
    qtbot.waitUntil(lambda: found == [video, None])
    offer.refused.add(video)
    offer.find(video)
    assert found == [video, None, None]


def test_the_videos_of_a_project_are_listed_when_the_list_is_opened(qtbot: QtBot) -> None:
    choice, asked = VideoChoice(), []
    qtbot.addWidget(choice)
    choice.list_known = lambda: asked.append(1) or [Path("b.mp4")]
    choice.show_video(Path("a.mp4"))
    assert asked == []
    choice.showPopup()
    choice.hidePopup()
    assert [choice.itemText(row) for row in range(choice.count())] == ["b.mp4", "a.mp4"]


def test_a_whole_video_is_never_read_into_memory() -> None:
    frames = LazyFrames((200_000, 1080, 1920, 3), np.dtype(np.uint8), lambda _n: np.zeros((1080, 1920, 3), np.uint8))
    assert frames[7, :10, :10].shape == (10, 10, 3)
    assert frames[7:8].shape == (1, 1080, 1920, 3)
    assert frames[:, :, :].shape == (1, 1080, 1920, 3), "napari's 3-D view gets the frame that is seen"
    with pytest.raises(MedSegError, match="does not fit into memory"):
        np.asarray(frames)


def test_playing_follows_the_time_of_the_video(qtbot: QtBot, tmp_path: Path) -> None:
    index = read_index(write_video(tmp_path / "a.mp4"))
    player = Player()
    shown: list[int] = []
    player.stepped.connect(shown.append)
    player.play(index, 0)
    with qtbot.waitSignal(player.ended):
        pass
    assert shown[-1] == 59
    assert shown == sorted(shown)
    assert len(shown) <= 2.4 * 10 + 2


def test_the_time_axis_goes_to_a_frame_and_marks_a_range(qtbot: QtBot, tmp_path: Path) -> None:
    axis = Timeline()
    qtbot.addWidget(axis)
    axis.resize(416, 34)
    axis.show_video(read_index(write_video(tmp_path / "a.mp4")))
    axis.set_marks([Mark(30, "accepted", "video 1 case 1")])
    moved: list[int] = []
    clicked: list[int] = []
    axis.moved.connect(moved.append)
    axis.mark_clicked.connect(clicked.append)
    qtbot.mouseClick(axis, Qt.MouseButton.LeftButton, pos=QPoint(408, 8))
    assert moved == [59]
    at = round(axis._place(30))
    qtbot.mouseClick(axis, Qt.MouseButton.LeftButton, pos=QPoint(at, 28))
    assert clicked == [30]
    shift = Qt.KeyboardModifier.ShiftModifier
    qtbot.mousePress(axis, Qt.MouseButton.LeftButton, shift, QPoint(8, 8))
    qtbot.mouseMove(axis, QPoint(208, 8))
    assert axis.range is None or axis.range[0] == 0
    axis.grab()
