"""Fields of a slide that were corrected in a project, in the labels of the whole slide."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from whole_slide_phantoms import DiscModel, draw_discs, find_discs, plan_small, read_nuclei_card, write_slide

from napari_medseg.core.image import Image
from napari_medseg.core.slides.fields import Field, read_field
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.output.export import export_corrections, read_export_items
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.storage.file_kinds import NOT_ARCHIVED, find_file_kind
from napari_medseg.workflow.whole_slide.export import export_slide
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, predict_chunks
from napari_medseg.workflow.whole_slide.project_slides import (
    find_prediction_folder,
    list_corrected_fields,
    read_corrected_fields,
)
from napari_medseg.workflow.workspace import Workspace

SIDE = 560


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return draw_discs(SIDE, SIDE, 150)


def accept_field(ws: Workspace, field: Field, labels: NDArray[np.uint16]) -> None:
    image = read_field(field)
    (case,) = add_cases(ws, [image], "nuclei")
    accept(ws, open_review(ws, case, None), labels, image)


def test_corrected_fields_of_a_project_win(ws: Workspace, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path, other = write_slide(tmp_path / "a.tif", picture), write_slide(tmp_path / "b.tif", picture[::-1].copy())
    drawn = np.zeros((100, 120), np.uint16)
    drawn[20:40, 30:50], drawn[60:80, 30:50] = 1, 2
    accept_field(ws, Field(path, 0, 200, 150, 100, 120), drawn)
    accept_field(ws, Field(other, 0, 0, 0, 100, 120), drawn)
    slide = open_slide(path)
    folder = find_prediction_folder(ws, slide, "nuclei-unet@2")
    assert folder.is_relative_to(ws.project.folder / "slides")
    assert "a.tif" not in str(folder)
    with begin_prediction(folder, plan_small(slide, read_nuclei_card())) as whole:
        for _ in predict_chunks(whole, slide, DiscModel().predict):
            pass
    rows, n_left_out = list_corrected_fields(ws, path, "nuclei")
    assert [(place.y, place.x) for _, _, place in rows] == [(200, 150)]
    assert n_left_out == 0
    export_slide(folder, tmp_path / "out", ["ome-zarr"], read_corrected_fields(ws, slide, rows))
    shown = zarr.open_group(str(tmp_path / "out" / "labels.zarr"), mode="r")["0"][:]
    assert np.array_equal(shown[200:300, 150:270] > 0, drawn > 0)
    assert np.array_equal(shown[:180] > 0, find_discs(Image(picture, "YXC"))[:180] > 0)
    slide.close()


def test_a_second_reader_does_not_see_the_first_reading_of_a_field(
    ws: Workspace, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    path = write_slide(tmp_path / "a.tif", picture)
    ws.reader.set_name("Anna")
    for y in (0, 200):
        accept_field(ws, Field(path, 0, y, 150, 100, 120), np.full((100, 120), y + 1, np.uint16))
    ((case, _, _), other), _ = list_corrected_fields(ws, path, "nuclei")
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    assert list_corrected_fields(ws, path, "nuclei") == ([other], 1)
    assert len(list_corrected_fields(ws, path, "nuclei", with_blind=True)[0]) == 2
    ws.reader.set_name("Anna")
    assert list_corrected_fields(ws, path, "nuclei")[1] == 0


def test_fields_are_exported_as_images_and_masks(ws: Workspace, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = write_slide(tmp_path / "a.tif", picture)
    drawn = np.zeros((100, 120), np.uint16)
    drawn[20:40, 30:50] = 1
    accept_field(ws, Field(path, 0, 200, 150, 100, 120), drawn)
    rows, _ = list_corrected_fields(ws, path, "nuclei")
    items = read_export_items(ws, [(case, correction, "") for case, correction, _ in rows])
    files = export_corrections(items, tmp_path / "out", ".tif", with_images=True)
    assert len([file for file in files if file.suffix == ".tif"]) == 2


def test_predictions_of_slides_are_not_archived_and_hold_no_name() -> None:
    assert find_file_kind("slides/0123/nuclei-unet@2/labels.zarr/0/1/2") in NOT_ARCHIVED
