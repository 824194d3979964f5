"""Frames of a video are cases as all others; predicted ranges go on where they ended; accepted frames are written."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from video_phantoms import read_number, write_video

from napari_medseg.core import formats
from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.through_slices import propose_on_neighbours
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import get_image_copy_path, write_image_copy
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.records import Case
from napari_medseg.core.video import frame_index
from napari_medseg.core.video.frame_paths import VideoFrames, make_frames, make_series
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.output.export import list_accepted_rows, read_export_item
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.storage.file_kinds import CACHES, find_file_kind
from napari_medseg.workflow.video import moved_videos
from napari_medseg.workflow.video.chosen_frames import (
    choose_every,
    list_chosen_frames,
    list_frame_cases,
    list_project_videos,
    record_content,
)
from napari_medseg.workflow.video.moved_videos import (
    describe_cases_of_another_file,
    get_frames,
    list_cases_of_another_file,
)
from napari_medseg.workflow.video.predict_range import make_plane, predict_range
from napari_medseg.workflow.video.predicted_frames import PREDICTED_FOLDER, PredictedFrames
from napari_medseg.workflow.video.write_frames import choose_video_rows, write_frames
from napari_medseg.workflow.video.write_overlay import DrawnLabels, LabelFiles, choose_overlay_path, write_overlay
from napari_medseg.workflow.workspace import Workspace

TASK = "instruments"


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "project", tmp_path / "registry")
    yield opened
    opened.close()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "op 3.mp4")


def add(ws: Workspace, frames: list[VideoFrames]) -> list[Case]:
    images = [formats.read(one.path) for one in frames]
    return cases.add_cases(ws, images, TASK, force=True)


def accept(ws: Workspace, case: Case) -> None:
    image = cases.load_image(ws, case)
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[..., 20:30, 20:30] = 1
    review.accept(ws, review.open_review(ws, case, None), labels, image)


def measure(item: ExportItem) -> list[Measurement]:
    return measure_labels(item.labels, item.image, item.task)


def test_a_series_of_frames_is_no_volume(ws: Workspace, video: Path, tmp_path: Path) -> None:
    """Between its planes are times: it has no size in ml, and no data set of volumes or of planes takes it."""
    for case in add(ws, [*make_frames(video, [3, 8]), make_series(video, 20, 24)]):
        accept(ws, case)
    rows = list_accepted_rows(ws, TASK)
    (size,) = {one.unit for row in rows for one in measure(read_export_item(ws, row))}
    assert size == "px"
    for layout, suffix in (("nnunet", ".png"), ("monai", ".png"), ("coco", ".png")):
        read = partial(read_export_item, ws)
        written = write_data_set(rows, read, ws.project.folder, tmp_path / layout, layout, "CC BY 4.0")
        (reason,) = written.refused
        assert "series of frames of a video: its third axis is the time" in reason
        images = [path for path in (tmp_path / layout).rglob("*") if path.parent.name.startswith("images")]
        assert [path.suffix for path in images] == [suffix] * 2


def test_frames_of_one_video_are_one_group_and_are_found_after_a_restart(ws: Workspace, video: Path) -> None:
    added = add(ws, make_frames(video, [3, 30]))
    assert len({case.group for case in added}) == 1
    assert added[0].name == "video 1 case 1"
    folder, registry = ws.project.folder, ws.registry.user_dir
    ws.close()
    again = Workspace.open(folder, registry)
    found = list_chosen_frames(again, video)
    assert [(frame.number, frame.state) for frame in found] == [(3, "new"), (30, "new")]
    assert read_number(cases.load_image(again, found[1].case).pixels) == 30
    again.close()


def test_the_marks_of_a_series_are_its_frames(ws: Workspace, video: Path) -> None:
    (series,) = add(ws, [make_series(video, 10, 14, 2)])
    assert [(frame.number, frame.place) for frame in list_chosen_frames(ws, video)] == [(10, 0), (12, 1), (14, 2)]
    accept(ws, series)
    assert {frame.state for frame in list_chosen_frames(ws, video)} == {"accepted"}


def test_a_moved_video_costs_only_the_frames_that_are_not_in_the_project(ws: Workspace, video: Path) -> None:
    kept, copied, lost = add(ws, make_frames(video, [1, 2, 3]))
    accept(ws, kept)
    write_image_copy(ws.project.folder, formats.read(make_frames(video, [2])[0].path))
    elsewhere = video.parent / "elsewhere"
    elsewhere.mkdir()
    moved = video.rename(elsewhere / video.name)
    assert read_number(cases.load_image(ws, kept).pixels) == 1
    assert read_number(cases.load_image(ws, copied).pixels) == 2
    with pytest.raises(MedSegError, match="video 1 case 3 cannot be shown: its files are missing"):
        cases.load_image(ws, lost)
    renamed = moved.rename(moved.with_name("first part.mp4"))
    assert [frame.number for frame in list_chosen_frames(ws, renamed)] == [1, 2, 3]


def test_a_video_that_lies_where_another_one_lay_shows_none_of_its_cases(ws: Workspace, video: Path) -> None:
    before = add(ws, make_frames(video, [3, 30]))
    for case in before:
        accept(ws, case)
    write_video(video, first=200)
    (after,) = add(ws, make_frames(video, [3]))
    accept(ws, after)
    assert [frame.case for frame in list_chosen_frames(ws, video)] == [after]
    others = list_cases_of_another_file([*before, after], video)
    assert others == before
    told = describe_cases_of_another_file(others, video)
    assert "op 3.mp4 is another video than the one that lay there when these cases were made: video 1 case 1, " in told
    assert describe_cases_of_another_file([], video) == ""
    rows = list_accepted_rows(ws, TASK)
    assert [row[0] for row in choose_video_rows(rows, video)] == [after]
    with VideoReader(video) as reader:
        drawn = DrawnLabels(ws.project.folder, rows, None, reader)
        assert drawn.read(30) is None
        assert drawn.read(3) is not None
    written = write_frames(choose_video_rows(rows), lambda row: read_export_item(ws, row), video.parent / "out")
    content = json.loads((video.parent / "out" / "annotations.json").read_text())
    assert written.n_frames == 3  # those of the first video from their copies
    assert [one["name"] for one in content["videos"]] == ["video-1-1", "video-1-2"]


def test_cases_that_do_not_say_which_video_they_are_of_are_compared_with_it(ws: Workspace, video: Path) -> None:
    """As those of a project that was made before paths of frames named the content."""
    images = [replace(formats.read(one.path), sources=(one.path,)) for one in make_frames(video, [3, 30])]
    cases.add_cases(ws, images, TASK, force=True)
    assert [frame.number for frame in list_chosen_frames(ws, video)] == [3, 30]
    write_video(video, first=200)
    assert list_chosen_frames(ws, video) == []


def add_of_older_project(ws: Workspace, frames: list[VideoFrames]) -> list[Case]:
    """Add cases whose path does not say the content of their video."""
    images = [replace(formats.read(one.path), sources=(one.path,)) for one in frames]
    return cases.add_cases(ws, images, TASK, force=True)


def test_cases_of_older_projects_are_compared_once(ws: Workspace, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = add_of_older_project(ws, make_frames(video, [3, 20, 30, 40]))
    with VideoReader(video) as reader:
        assert len(moved_videos.find_frames_of(older, reader)) == 4
        read: list[int] = []
        monkeypatch.setattr(VideoReader, "read", lambda _self, number: read.append(number))
        for asked in (older[:1], older[1:], older):
            assert len(moved_videos.find_frames_of(asked, reader)) == len(asked)
    assert read == []


def test_an_opened_video_of_an_older_project_is_known_wherever_it_is_moved_to(ws: Workspace, video: Path) -> None:
    older = add_of_older_project(ws, make_frames(video, [3, 30]))
    with VideoReader(video) as reader:
        record_content(ws, list_frame_cases(ws), reader)
    moved = video.rename(video.with_name("renamed.mp4"))
    assert [frame.case.id for frame in list_chosen_frames(ws, moved)] == [case.id for case in older]
    other = write_video(video, first=200)
    with VideoReader(other) as reader:
        record_content(ws, list_frame_cases(ws), reader)
    assert list_chosen_frames(ws, other) == []


def test_a_black_frame_proves_no_video(ws: Workspace, video: Path, tmp_path: Path) -> None:
    """As where the scope is outside of the body at the beginning: another patient's video has that picture, too."""
    (case,) = add_of_older_project(ws, make_frames(write_video(video, 20, n_black=12), [3]))
    video.unlink()  # as with a drive that was disconnected
    (tmp_path / "next patient").mkdir()
    other = write_video(tmp_path / "next patient" / video.name, 20, first=200, n_black=12)
    with VideoReader(other) as reader:
        assert [frame.case.id for frame in list_chosen_frames(ws, reader)] == [case.id]
        record_content(ws, list_frame_cases(ws), reader)
    assert get_frames(list_frame_cases(ws)[0]) == get_frames(case), "neither the path nor the content"


def test_a_project_that_is_locked_lets_a_video_be_opened(ws: Workspace, video: Path) -> None:
    add(ws, make_frames(video, [3]))
    ws.project._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(ws.project.folder / DATABASE)) as another, VideoReader(video) as reader:
        another.execute("BEGIN IMMEDIATE")
        record_content(ws, list_frame_cases(ws), reader)
        assert [frame.number for frame in list_chosen_frames(ws, reader)] == [3]


def test_another_grey_level_of_another_decoder_is_the_same_video(ws: Workspace, video: Path) -> None:
    image = formats.read(make_frames(video, [3])[0].path)
    darker = replace(image, pixels=image.pixels - (image.pixels > 100), sources=(make_frames(video, [3])[0].path,))
    (case,) = cases.add_cases(ws, [darker], TASK)
    write_image_copy(ws.project.folder, darker)
    assert [frame.case for frame in list_chosen_frames(ws, video)] == [case]
    assert list_cases_of_another_file([case], video, ws.project.folder) == []
    accept(ws, case)
    rows = list_accepted_rows(ws, TASK)
    moved_videos._get_comparison.cache_clear()  # as for a command
    assert choose_video_rows(rows, video, ws.project.folder) == rows


def test_a_frame_that_cannot_be_read_now_is_not_said_to_be_of_another_file(ws: Workspace, video: Path) -> None:
    (case,) = add_of_older_project(ws, make_frames(video, [50]))
    write_video(video, n_frames=30)
    assert moved_videos.find_frames_of([case], video) == {}
    assert list_cases_of_another_file([case], video) == []


def test_a_video_that_grows_keeps_its_cases_and_is_not_read_again(
    ws: Workspace, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = write_video(video.with_suffix(".ts"), n_frames=60)
    whole = recorded.read_bytes()
    recorded.write_bytes(whole[: len(whole) // 188 // 2 * 188])
    added = add(ws, make_frames(recorded, [3, 12]))
    with VideoReader(recorded) as reader:
        recorded.write_bytes(whole)
        monkeypatch.setattr(moved_videos, "read_index", None)
        assert len(moved_videos.find_frames_of(added, reader)) == 2
        monkeypatch.undo()
    with VideoReader(recorded) as reader:
        assert not get_frames(added[0]).belongs_to(reader.index.content)
        assert len(moved_videos.find_frames_of(added, reader)) == 2


def test_cases_with_and_without_the_content_are_of_one_video(ws: Workspace, video: Path) -> None:
    for case in [*add_of_older_project(ws, make_frames(video, [3])), *add(ws, make_frames(video, [30]))]:
        accept(ws, case)
    rows = list_accepted_rows(ws, TASK)
    for folder in (video.parent / "there", video.parent / "gone"):
        write_frames(choose_video_rows(rows), lambda row: read_export_item(ws, row), folder)
        content = json.loads((folder / "annotations.json").read_text())
        assert [one["video_id"] for one in content["images"]] == [1, 1]
        video.unlink(missing_ok=True)


def test_labels_of_files_are_held_for_a_second_and_not_over_a_frame_without(tmp_path: Path) -> None:
    video, labels = write_video(tmp_path / "op.mp4", n_frames=140), {}
    with VideoReader(video) as reader:
        for number in (0, 120):
            labels[number] = tmp_path / f"{number}.png"
            plane = make_plane(reader, number)
            formats.write_labels(labels[number], np.full(plane.spatial_shape, 1, np.uint8), plane)
        held = LabelFiles(labels, [0, 60, 120], reader)
        assert [held.read(number) is not None for number in (0, 24, 25, 59, 60, 70, 120)] == [
            *(True, True, False, False, False, False, True),
        ]


def test_the_videos_of_a_project_are_known(ws: Workspace, video: Path) -> None:
    assert list_project_videos(ws) == []
    add(ws, make_frames(video, [3]))
    other = write_video(video.with_name("a.mkv"), n_frames=20, first=60)
    add(ws, [make_series(other, 3, 5)])
    assert list_project_videos(ws) == [other, video]
    other.unlink()
    assert list_project_videos(ws) == [video]


def test_another_video_of_the_same_name_is_not_taken_for_one_that_is_gone(ws: Workspace, video: Path) -> None:
    for case in add(ws, make_frames(video, [3, 30])):
        accept(ws, case)
    rows = list_accepted_rows(ws, TASK)
    video.unlink()  # as with a drive that was disconnected
    (video.parent / "next patient").mkdir()
    other = write_video(video.parent / "next patient" / video.name, options={"crf": "45"})
    assert list_chosen_frames(ws, other) == []
    with pytest.raises(MedSegError, match="no frame of a video"):
        choose_video_rows(rows, other)
    with VideoReader(other) as reader:
        assert DrawnLabels(ws.project.folder, rows, None, reader).read(3) is None
    write_video(video)
    assert len(choose_video_rows(rows, video)) == 2


def test_a_frame_is_read_from_its_copy_as_a_video_is_read_to_its_end(ws: Workspace, video: Path) -> None:
    (case,) = add(ws, make_frames(video, [5]))
    write_image_copy(ws.project.folder, formats.read(make_frames(video, [5])[0].path))
    frame_index._read_kept.cache_clear()
    assert read_number(cases.load_image(ws, case).pixels) == 5
    assert frame_index._read_kept.cache_info().misses == 0
    get_image_copy_path(ws.project.folder, case.content_hash).write_bytes(b"damaged")
    assert read_number(cases.load_image(ws, case).pixels) == 5


def test_every_nth_frame_of_a_range(video: Path) -> None:
    with VideoReader(video) as reader:
        assert choose_every(reader.index, 10, 31, 10) == [10, 20, 30]
        with pytest.raises(MedSegError, match="within frames 0 to 59"):
            choose_every(reader.index, 10, 99, 10)


class FakeEngine:
    """Stands in for the engine: labels are 1 where the image is bright; the requests in `cancels` are cancelled."""

    def __init__(self, cancels: int = 0, fails: int = 0) -> None:
        self.cancels, self.fails, self.n_asked = cancels, fails, 0

    def predict(self, image: Image, _folder: Path, **_options: object) -> Iterator[PredictionEvent]:
        self.n_asked += 1
        if self.cancels:
            self.cancels -= 1
            raise PredictionCancelled("cancelled")
        if self.fails:
            self.fails -= 1
            raise MedSegError("the engine failed")
        bright = (image.pixels[..., 0] > 150).astype(np.uint8)
        yield PredictionResult(bright, uncertainty=0.0, uncertainty_map=None, seconds=0.1, device="CPU")

    def close(self) -> None:
        """Nothing is open."""


def predict(ws: Workspace, video: Path, numbers: range, engine: FakeEngine) -> PredictedFrames:
    ws.engine.close()
    ws.engine = engine
    reader = VideoReader(video)
    model = ws.registry.get_live_id(TASK)
    predicted = PredictedFrames.open(ws.project.folder, reader, TASK, model)
    for _step in predict_range(ws, model, reader, numbers, predicted):
        pass
    return predicted


def test_a_range_is_predicted_once_and_goes_on_where_it_ended(ws: Workspace, video: Path) -> None:
    engine = FakeEngine(cancels=2)
    predicted = predict(ws, video, range(0, 20, 5), engine)
    assert predicted.numbers.tolist() == [0, 5, 10, 15]
    assert engine.n_asked == 6  # a cancelled one is asked for again
    predicted.close()
    moved = video.rename(video.with_name("moved.mp4"))
    engine = FakeEngine()
    predicted = predict(ws, moved, range(0, 30, 5), engine)
    assert engine.n_asked == 2
    labels = predicted.read(25)
    assert labels is not None
    assert labels.shape == (48, 96)
    assert predicted.find_shown(27, reach=4) == 25
    assert predicted.find_shown(47, reach=4) is None
    assert predicted.read(26) is None
    predicted.close()


def test_a_range_waits_while_something_else_is_predicted(ws: Workspace, video: Path) -> None:
    ws.engine.close()
    ws.engine = engine = FakeEngine()
    reader = VideoReader(video)
    model = ws.registry.get_live_id(TASK)
    predicted = PredictedFrames.open(ws.project.folder, reader, TASK, model)
    free = [False, False, True, True]
    steps = predict_range(ws, model, reader, range(2), predicted, lambda: free.pop(0))
    assert [next(steps).n_done for _step in range(3)] == [0, 0, 0]
    assert engine.n_asked == 0
    last = list(steps)[-1]
    assert (last.n_done, last.newest, last.text[:24]) == (2, 1, "2 of 2 frames predicted,")
    predicted.close()


def test_a_frame_that_fails_is_left_out_and_many_end_the_range(ws: Workspace, video: Path) -> None:
    predicted = predict(ws, video, range(4), FakeEngine(fails=1))
    assert predicted.numbers.tolist() == [1, 2, 3]
    predicted.close()
    with pytest.raises(MedSegError, match="the engine failed"):
        predict(ws, video, range(10, 20), FakeEngine(fails=9))


def test_predicted_frames_are_a_cache_that_names_no_one(ws: Workspace, video: Path) -> None:
    predicted = predict(ws, video, range(2), FakeEngine())
    path = predicted.path.relative_to(ws.project.folder).as_posix()
    assert "op 3" not in path
    assert find_file_kind(path) in CACHES
    predicted.close()
    predicted.path.write_bytes(b"damaged" * 500)
    for extra in predicted.path.parent.glob("*-*al"):
        extra.unlink()
    again = PredictedFrames(predicted.path, (48, 96))
    assert again.numbers.tolist() == []
    again.write(3, np.ones((48, 96), np.uint16))
    assert again.read(3).dtype == np.uint16
    again.close()
    again.write(4, np.ones((48, 96), np.uint8))  # predicted while the window closed the video
    assert again.numbers.tolist() == [3]
    assert predicted.path.parent.name == PREDICTED_FOLDER


def test_accepted_frames_are_written_with_the_ids_of_their_videos(ws: Workspace, video: Path, tmp_path: Path) -> None:
    other = write_video(tmp_path / "op 4.mkv", n_frames=20)
    single = add(ws, make_frames(video, [30, 3]))
    (series,) = add(ws, [make_series(other, 10, 14, 2)])
    for case in (*single, series):
        accept(ws, case)
    rows = choose_video_rows(list_accepted_rows(ws, TASK))
    written = write_frames(rows, lambda row: read_export_item(ws, row), tmp_path / "out")
    assert written.n_frames == 5
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [one["length"] for one in content["videos"]] == [60, 20]
    assert [(one["video_id"], one["frame_id"], one["frame_index"]) for one in content["images"]] == [
        (1, 0, 3),
        (1, 1, 30),
        (2, 0, 10),
        (2, 1, 12),
        (2, 2, 14),
    ]
    assert {one["video_id"] for one in content["annotations"]} == {1, 2}
    assert "op 3" not in json.dumps(content)
    first = content["images"][1]["file_name"]
    assert read_number(formats.read(tmp_path / "out" / "images" / first).pixels) == 30
    plane = formats.read(tmp_path / "out" / "images" / first)
    assert int(formats.read_labels(tmp_path / "out" / "masks" / first, plane).sum()) == 100
    assert len(choose_video_rows(list_accepted_rows(ws, TASK), other)) == 1


def test_without_accepted_frames_nothing_is_written(ws: Workspace) -> None:
    with pytest.raises(MedSegError, match="no frame of a video is accepted"):
        choose_video_rows(list_accepted_rows(ws, TASK))


def test_labels_are_drawn_over_a_video(ws: Workspace, video: Path, tmp_path: Path) -> None:
    predicted = predict(ws, video, range(0, 20, 5), FakeEngine())
    (case,) = add(ws, make_frames(video, [12]))
    accept(ws, case)
    task = ws.tasks.get_task(TASK)
    with VideoReader(video) as reader:
        drawn = DrawnLabels(ws.project.folder, list_accepted_rows(ws, TASK), predicted, reader)
        assert int(drawn.read(12).sum()) == 100  # a person's labels come first
        assert drawn.read(13) is not None
        assert drawn.read(40) is None
        assert write_overlay(tmp_path / "out.mp4", reader, drawn, task, range(5, 25)) == 15
        with pytest.raises(MedSegError, match="no frame of this range has labels"):
            write_overlay(tmp_path / "none.mp4", reader, drawn, task, range(40, 45))
        with pytest.raises(MedSegError, match="the range is empty"):
            write_overlay(tmp_path / "none.mp4", reader, drawn, task, range(40, 40))
        before = reader.read(12).astype(int)
    assert not (tmp_path / "none.mp4").exists()
    with VideoReader(tmp_path / "out.mp4") as written:
        assert written.index.n_frames == 20
        difference = np.abs(written.read(7).astype(int) - before)[20:30, 20:30]
        assert difference.mean() > 40
    predicted.close()


def test_a_video_with_labels_replaces_only_one_of_the_same_video_and_task(
    ws: Workspace, video: Path, tmp_path: Path
) -> None:
    (case,) = add(ws, make_frames(video, [12]))
    accept(ws, case)
    task = ws.tasks.get_task(TASK)
    with VideoReader(video) as reader:
        drawn = DrawnLabels(ws.project.folder, list_accepted_rows(ws, TASK), None, reader)
        first = choose_overlay_path(tmp_path, reader, task)
        assert first.name == "op 3 with labels.mp4"
        write_overlay(first, reader, drawn, task, range(10, 14))
        assert choose_overlay_path(tmp_path, reader, task) == first
        assert choose_overlay_path(tmp_path, reader, ws.tasks.get_task("lungs")) != first
        before = first.read_bytes()
        with pytest.raises(MedSegError, match="stopped"):
            write_overlay(first, reader, drawn, task, range(10, 14), stop)
    assert first.read_bytes() == before
    (tmp_path / "b").mkdir()
    with VideoReader(write_video(tmp_path / "b" / video.name, first=100)) as other:
        assert choose_overlay_path(tmp_path, other, task).name == "op 3 with labels 2.mp4"


def stop(_done: int, _of: int) -> None:
    """Stop an export, as a person does."""
    raise MedSegError("stopped")


def test_a_change_on_one_frame_is_proposed_on_the_frames_beside_it(ws: Workspace, video: Path) -> None:
    image = formats.read(make_series(video, 10, 14).path)
    labels = np.zeros(image.spatial_shape, np.uint8)
    still = (slice(2, 3), slice(36, 46), slice(60, 80))  # nothing moves there
    unsure = np.zeros(labels.shape, np.uint8)
    unsure[:, 36:46, 60:80] = 40
    canvas = Canvas(labels, ws.tasks.get_task(TASK), image.spacing_mm, None, image.pixels, uncertainty=unsure)
    edit = canvas.make_edit("drawn", [Change(still, np.ones((1, 10, 20), np.bool_), 1)])
    proposed = propose_on_neighbours(canvas, edit, 2)
    assert sorted(one.planes.start for one in proposed) == [0, 1, 3, 4]
