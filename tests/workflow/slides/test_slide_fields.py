"""Fields of slides are ordinary cases: after a restart, when a slide is missing, and when it was moved."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr
from slide_phantoms import make_picture, write_ome_zarr, write_pyramid

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.core.records import Case
from napari_medseg.core.slides.fields import Field, place_of
from napari_medseg.workflow import cases
from napari_medseg.workflow.slides.moved_slides import compare_moved_fields, find_moved_fields, move_fields
from napari_medseg.workflow.slides.slide_fields import (
    FieldFailure,
    list_project_slides,
    list_slide_fields,
    read_fields,
)
from napari_medseg.workflow.workspace import Workspace

PICTURE = make_picture()
Y, X = 600, 800


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    return write_pyramid(tmp_path / "slides/p1.svs", PICTURE, 4)


def add(ws: Workspace, fields: Sequence[Field]) -> list[Case]:
    images = [item for item in read_fields(fields) if isinstance(item, Image)]
    return cases.add_cases(ws, images, "nuclei")


def three(slide: Path) -> list[Field]:
    return [Field(slide, 0, Y, X + 100 * number, 80, 90) for number in range(3)]


def test_fields_are_cases_of_one_slide_and_found_again_after_a_restart(
    open_workspace: Callable[..., Workspace], slide: Path
) -> None:
    ws = open_workspace()
    first, *_ = add(ws, three(slide))
    assert first.spacing_mm == pytest.approx((0.00025, 0.00025))
    assert first.group.startswith("slide 1 #")
    assert "p1" not in first.name
    ws = open_workspace()
    found = list_slide_fields(ws, slide)
    assert [each.field for each in found] == three(slide)
    assert {each.row.case.group for each in found} == {first.group}
    image = cases.load_image(ws, found[1].row.case)
    assert np.array_equal(image.pixels, PICTURE[Y : Y + 80, X + 100 : X + 190])
    assert add(ws, three(slide)[:1]) == [found[0].row.case]  # the same place is the same case
    assert list_project_slides(ws) == [slide]


def test_fields_of_an_address_are_found_again(ws: Workspace) -> None:
    write_ome_zarr(zarr.storage.FsspecStore.from_url("memory://cases/a.zarr"), PICTURE, 2)
    (case,) = add(ws, [Field(Path("memory://cases/a.zarr"), 0, Y, X, 80, 90)])
    assert np.array_equal(cases.load_image(ws, case).pixels, PICTURE[Y : Y + 80, X : X + 90])
    place = place_of(case)
    assert place is not None
    assert list_slide_fields(ws, place.slide)[0].row.case == case


def test_a_missing_slide_is_said_per_case_and_accepted_copies_still_open(ws: Workspace, slide: Path) -> None:
    first, second, _ = add(ws, three(slide))
    write_image_copy(ws.project.folder, cases.load_image(ws, first))  # as when it is accepted
    slide.unlink()
    assert np.array_equal(cases.load_image(ws, first).pixels, PICTURE[Y : Y + 80, X : X + 90])
    with pytest.raises(MedSegError, match=r"case 2 cannot be shown: its files are missing .*p1\.svs"):
        cases.load_image(ws, second)


def test_another_slide_in_its_place_is_not_taken_for_it(ws: Workspace, slide: Path) -> None:
    first, *_ = add(ws, three(slide))
    write_pyramid(slide, make_picture(seed=1), 4)
    with pytest.raises(MedSegError, match="its files have changed since"):
        cases.load_image(ws, first)


def test_fields_follow_a_slide_that_was_moved(
    open_workspace: Callable[..., Workspace], slide: Path, tmp_path: Path
) -> None:
    ws = open_workspace()
    added = add(ws, three(slide))
    new = tmp_path / "archive/p1.svs"
    new.parent.mkdir()
    assert find_moved_fields(ws, new) == []  # it is still there
    shutil.move(slide, new)
    moved = find_moved_fields(ws, new)
    assert [each.case for each in moved] == added
    (same,) = compare_moved_fields(new, moved)
    move_fields(ws, same)
    ws = open_workspace()
    assert [each.field for each in list_slide_fields(ws, new)] == three(new)
    assert np.array_equal(
        cases.load_image(ws, list_slide_fields(ws, new)[0].row.case).pixels, PICTURE[Y : Y + 80, X : X + 90]
    )


def test_fields_do_not_follow_another_slide_of_the_same_name(ws: Workspace, slide: Path, tmp_path: Path) -> None:
    add(ws, three(slide))
    slide.unlink()
    (tmp_path / "other").mkdir()
    other = write_pyramid(tmp_path / "other/p1.svs", make_picture(seed=1), 4)
    assert list(compare_moved_fields(other, find_moved_fields(ws, other))) == []


def test_of_two_missing_slides_of_one_name_only_fields_of_the_same_one_follow(
    ws: Workspace, slide: Path, tmp_path: Path
) -> None:
    """As names such as 1.svs are, in a folder for each patient."""
    added = add(ws, three(slide))
    (tmp_path / "other").mkdir()
    other = write_pyramid(tmp_path / "other/p1.svs", make_picture(seed=1), 4)
    add(ws, three(other)[:2])
    other.unlink()
    new = tmp_path / "archive/p1.svs"
    new.parent.mkdir()
    shutil.move(slide, new)
    (same,) = compare_moved_fields(new, find_moved_fields(ws, new))
    assert [each.case for each in same] == added


def test_a_field_that_cannot_be_read_does_not_stop_the_others(slide: Path) -> None:
    found = list(read_fields([Field(slide, 7, 0, 0, 50, 50), *three(slide)]))
    assert isinstance(found[0], FieldFailure)
    assert "has no level 7" in found[0].text
    assert all(isinstance(each, Image) for each in found[1:])
    assert list(read_fields([])) == []


def test_rows_that_the_window_knows_are_not_read_again(ws: Workspace, slide: Path) -> None:
    known = {case.id: cases.read_case_row(ws, case.id) for case in add(ws, three(slide))[:2]}
    asked: list[int] = []

    def find_row(case_id: int) -> cases.CaseRow | None:
        asked.append(case_id)
        return known.get(case_id)

    found = list_slide_fields(ws, slide, find_row)
    assert asked == [each.row.case.id for each in found]
    assert [each.row is known.get(each.row.case.id) for each in found] == [True, True, False]
