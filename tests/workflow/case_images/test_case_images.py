"""Which cases have lost their image, found without reading files, and what a thumbnail reads."""

import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from slide_phantoms import make_picture, write_pyramid
from video_phantoms import read_number, write_video
from workflow_phantoms import phantom

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.core.records import Case
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_images.look_up import find_image_problems, mark_lost_images
from napari_medseg.workflow.case_images.middle_plane import read_middle_plane
from napari_medseg.workflow.case_images.problems import ImageFault, ImageProblem
from napari_medseg.workflow.slides.slide_fields import read_fields
from napari_medseg.workflow.workspace import Workspace

PICTURE = make_picture()
_opened: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.scandir", "os.listdir"):
        _opened.append(f"{event} {arguments[0]}")


sys.addaudithook(_watch)


@contextmanager
def watch_files() -> Iterator[list[str]]:
    """Collect what is opened or listed meanwhile; an audit hook cannot be taken back, so it is switched."""
    global _opened
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def look(ws: Workspace, of: list[Case]) -> list[ImageProblem | None]:
    return [problem for found in find_image_problems(ws.project.folder, of) for _, problem in found]


def add_series(ws: Workspace, folder: Path, seed: int = 0, n_slices: int = 4) -> Case:
    volume = np.random.default_rng(seed).integers(-900, 300, (n_slices, 24, 24)).astype(np.int16)
    files = write_series(folder, volume, Modality="CT", BodyPartExamined="CHEST", PatientID=f"p{seed}")
    return cases.add_cases(ws, [formats.read_series(files)], "lungs")[0]


def add_fields(ws: Workspace, slide: Path, n_fields: int = 3) -> list[Case]:
    fields = [Field(slide, 0, 600, 700 + 100 * number, 64, 64) for number in range(n_fields)]
    return cases.add_cases(ws, [item for item in read_fields(fields) if isinstance(item, Image)], "nuclei")


def add_frames(ws: Workspace, video: Path, *numbers: int) -> list[Case]:
    images = [formats.read(VideoFrames(video, (number,)).path) for number in numbers]
    return cases.add_cases(ws, images, "instruments")


@pytest.fixture
def all_kinds(ws: Workspace, tmp_path: Path) -> dict[str, tuple[Path, list[Case]]]:
    """Each kind of source with its cases."""
    picture = tmp_path / "png/slice.png"
    picture.parent.mkdir()
    formats.write_image(picture, phantom(1))
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(formats_png(tmp_path, 2), "inner/other.png")
    slide = write_pyramid(tmp_path / "p1.svs", PICTURE, 4)
    video = write_video(tmp_path / "op.mp4", n_frames=30)
    return {
        "series": (tmp_path / "ct", [add_series(ws, tmp_path / "ct")]),
        "picture": (picture, cases.add_cases(ws, [formats.read(picture)], "lungs")),
        "archive": (
            tmp_path / "study.zip",
            cases.add_cases(ws, [formats.read(tmp_path / "study.zip/inner/other.png")], "lungs"),
        ),
        "slide": (slide, add_fields(ws, slide)),
        "video": (video, add_frames(ws, video, 3, 9)),
    }


def formats_png(folder: Path, number: int) -> Path:
    formats.write_image(folder / "other.png", phantom(number))
    return folder / "other.png"


def test_a_missing_source_is_told_for_each_of_its_cases_and_for_no_other(
    ws: Workspace, all_kinds: dict[str, tuple[Path, list[Case]]]
) -> None:
    every = [case for _, some in all_kinds.values() for case in some]
    with watch_files() as opened:
        assert look(ws, every) == [None] * len(every)
    assert not [one for one in opened if one.startswith("open ")], "no file is read"
    for kind, (source, lost) in all_kinds.items():
        source.rename(source.with_name("elsewhere"))
        found = {case.id: problem for case, problem in zip(every, look(ws, every), strict=True)}
        assert {case_id for case_id, problem in found.items() if problem} == {case.id for case in lost}, kind
        problem = found[lost[0].id]
        assert problem is not None, kind
        assert problem.fault is ImageFault.MISSING, kind
        assert source.name in problem.text, kind
        assert source.name not in problem.short_text, kind
        source.with_name("elsewhere").rename(source)
        assert look(ws, lost) == [None] * len(lost), kind


def test_one_missing_slice_is_a_missing_image_and_a_copy_in_the_project_is_one_that_is_there(
    ws: Workspace, tmp_path: Path
) -> None:
    case = add_series(ws, tmp_path / "ct")
    image = cases.load_image(ws, case)
    Path(case.sources[2]).unlink()
    (problem,) = look(ws, [case])
    assert problem is not None
    assert Path(case.sources[2]).name in problem.text
    write_image_copy(ws.project.folder, image)
    assert look(ws, [case]) == [None]


def test_a_folder_is_listed_once_for_all_its_files(ws: Workspace, tmp_path: Path) -> None:
    series = [add_series(ws, tmp_path / f"ct{number}", number, n_slices=12) for number in range(3)]
    with watch_files() as opened:
        look(ws, series)
    listed = [one for one in opened if one.startswith("os.scandir")]
    assert len(listed) == 3


def test_what_cannot_be_read_is_remembered_until_it_can(ws: Workspace, tmp_path: Path) -> None:
    case, sound = add_series(ws, tmp_path / "a", 1), add_series(ws, tmp_path / "b", 2)
    slice_file = Path(case.sources[1])
    whole = slice_file.read_bytes()
    slice_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MedSegError):
        cases.load_image(ws, case)
    cases.load_image(ws, sound)
    rows = cases.list_cases(ws, "lungs")
    assert [row.image_problem and row.image_problem.fault for row in rows] == [ImageFault.UNREADABLE, None]
    slice_file.write_bytes(whole)
    cases.load_image(ws, case)
    assert cases.read_case_row(ws, case.id).image_problem is None


def test_commands_mark_the_rows_of_missing_images(ws: Workspace, tmp_path: Path) -> None:
    case, sound = add_series(ws, tmp_path / "a", 1), add_series(ws, tmp_path / "b", 2)
    for source in case.sources:
        Path(source).unlink()
    rows = mark_lost_images(ws, cases.list_cases(ws, "lungs"))
    assert [(row.case.id, row.image_problem is not None) for row in rows] == [(case.id, True), (sound.id, False)]


def test_the_thumbnail_of_a_series_reads_one_slice(ws: Workspace, tmp_path: Path) -> None:
    case = add_series(ws, tmp_path / "ct", n_slices=9)
    with watch_files() as opened:
        plane = read_middle_plane(ws.project.folder, case)
    assert plane is not None
    np.testing.assert_array_equal(plane.pixels, cases.load_image(ws, case).pixels[4])
    read = {one for one in opened if one.startswith("open ") and str(tmp_path / "ct") in one}
    assert read == {f"open {case.sources[4]}"}


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="only Linux counts what a process reads")
def test_the_thumbnail_of_a_frame_reads_a_small_part_of_its_video(ws: Workspace, tmp_path: Path) -> None:
    video = write_video(tmp_path / "op.mp4", 600, "mjpeg", size=(320, 240))
    (case,) = add_frames(ws, video, 500)

    def count_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = count_read()
    plane = read_middle_plane(ws.project.folder, case)
    n_read = count_read() - before
    assert plane is not None
    assert read_number(plane.pixels) == 500
    assert n_read < video.stat().st_size / 4


def test_small_images_and_copies_have_no_plane_of_their_own(ws: Workspace, tmp_path: Path) -> None:
    picture = formats_png(tmp_path, 3)
    (case,) = cases.add_cases(ws, [formats.read(picture)], "lungs")
    assert read_middle_plane(ws.project.folder, case) is None
    (frame,) = add_frames(ws, write_video(tmp_path / "op.mp4"), 5)
    write_image_copy(ws.project.folder, cases.load_image(ws, frame))
    assert read_middle_plane(ws.project.folder, frame) is None
