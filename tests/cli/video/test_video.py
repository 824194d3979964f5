"""`medseg video` on small videos."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_phantoms import read_number, write_video

from napari_medseg.cli.main import main
from napari_medseg.cli.video.group import _find_frame
from napari_medseg.core import formats
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.frame_paths import make_frames
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace


def run(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    """Run a command with ``--json`` and return what it prints."""
    with pytest.raises(SystemExit) as ended:
        main(["video", *map(str, words), "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def test_info_says_what_a_video_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = run(capsys, "info", write_video(tmp_path / "a.mp4"))
    assert (about["frames"], about["width"], about["height"], about["fps"]) == (60, 96, 48, 25.0)
    assert (about["longest_group"], about["codec"], about["remarks"]) == (12, "h264", [])


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("--every", 20), [0, 20, 40]),
        (("--every", 10, "--from", 1, "--to", 1.9), [25, 35, 45]),
        (("--at", 0.4, "--at", 2), [10, 50]),
    ],
)
def test_frames_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...], numbers: list[int]
) -> None:
    found = run(capsys, "frames", write_video(tmp_path / "a.mp4"), "-o", tmp_path / "out", *words)
    assert [frame["frame"] for frame in found["frames"]] == numbers
    assert [read_number(formats.read(Path(frame["image"])).pixels) for frame in found["frames"]] == numbers


def test_a_time_that_is_printed_finds_its_frame() -> None:
    """As of 30 frames a second, of which no time is a whole number of milliseconds."""
    pts = np.arange(90, dtype=np.int64) * 512
    index = FrameIndex(pts, np.zeros(1, np.int64), pts[:1], pts[:1], Fraction(1, 15360))
    assert [_find_frame(index, round(index.get_time(number), 3)) for number in range(90)] == list(range(90))


def test_frames_that_look_different_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "frames", write_video(tmp_path / "a.mp4"), "-o", tmp_path / "out", "--changes", 2)
    assert 1 <= len(found["frames"]) <= 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "one of --every, --changes and --at"),
        (("--every", "5", "--from", "9"), "ends after 2.400 s; 9 s lie behind"),
        (("--at", "2.5"), "ends after 2.400 s; 2.5 s lie behind"),
        (("--every", "5", "--from", "2", "--to", "1"), "--from 2 lies behind --to 1"),
    ],
)
def test_frames_that_are_not_there_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["video", "frames", str(write_video(tmp_path / "a.mp4")), "-o", str(tmp_path / "out"), *words])
    assert ended.value.code == 1
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.png"))


def test_a_range_is_predicted_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", n_frames=10, size=(96, 64))
    words = ("predict", path, "-o", tmp_path / "out", "--every", 5, "--overlay", "--registry", tmp_path / "r")
    found = run(capsys, *words)
    assert list(found["labels"]) == ["0", "5"]
    assert formats.read(Path(found["labels"]["5"])).spatial_shape == (64, 96)
    with VideoReader(Path(found["overlay"])) as drawn:
        assert drawn.shape == (6, 64, 96, 3)
        assert read_number(drawn.read(4)) == 4
    assert run(capsys, *words)["kept"] == 2
    write_video(path, n_frames=10, size=(96, 64), first=40)  # another video of this name
    other = run(capsys, *words)
    assert other["kept"] == 0
    assert not {*other["labels"].values(), other["overlay"]} & {*found["labels"].values(), found["overlay"]}


def test_accepted_frames_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4")
    ws = Workspace.open(tmp_path / "p", tmp_path / "r")
    image = formats.read(make_frames(path, [7])[0].path)
    (case,) = cases.add_cases(ws, [image], "instruments", force=True)
    labels = np.zeros((48, 96), np.uint8)
    labels[5:9, 5:9] = 1
    review.accept(ws, review.open_review(ws, case, None), labels, image)
    ws.close()
    words = ("export", "-o", tmp_path / "out", "--project", tmp_path / "p", "--registry", tmp_path / "r")
    found = run(capsys, *words)
    assert len(found["files"]) == 3
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert content["images"][0]["frame_index"] == 7
