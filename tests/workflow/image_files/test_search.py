"""Which images several paths mean: each is used once, however often and however it is named."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.file_names import is_project_folder
from napari_medseg.core.image import Image
from napari_medseg.core.project.database import FOLDERS, Project
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.workflow.guidance.probability_cache import CACHE_FOLDER
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER
from napari_medseg.workflow.image_files.image_list import expand_lists
from napari_medseg.workflow.image_files.search import search_paths
from napari_medseg.workflow.learning.states import ADAPTED_FOLDER
from napari_medseg.workflow.output.predictions import PredictionFolder
from napari_medseg.workflow.video.predicted_frames import PREDICTED_FOLDER
from napari_medseg.workflow.whole_slide.manifest import SLIDES_FOLDER


def write(file: Path) -> None:
    formats.write_image(file, Image(np.arange(64, dtype=np.uint8).reshape(8, 8), "YX", name=file.stem))


def test_an_image_that_a_list_names_twice_is_used_once(tmp_path: Path) -> None:
    for name in ("a/one.tif", "a/two.tif", "b/one.tif"):  # all three have the same content
        write(tmp_path / name)
    rows = ["a/one.tif", "a/two.tif", "a/one.tif", "b/../a/one.tif", "b/one.tif", "a"]  # a row for each lesion
    (tmp_path / "cohort.csv").write_text("\n".join(["path", *rows]), encoding="utf-8")
    found = search_paths(expand_lists([tmp_path / "cohort.csv", tmp_path / "a" / "two.tif"]))
    used = [source.paths[0].relative_to(tmp_path).as_posix() for source in found.sources]
    assert used == ["a/one.tif", "a/two.tif", "b/one.tif"]
    assert found.errors == []
    assert found.skipped == ["Named more than once, used once: one.tif, one.tif, one.tif, two.tif, two.tif."]


def test_images_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    write(tmp_path / "a" / "one.tif")
    write(tmp_path / "b" / "one.tif")
    found = search_paths([tmp_path / "a", tmp_path / "b"])
    assert len(found.sources) == 2
    assert found.skipped == []


def test_labels_that_the_program_wrote_beside_images_are_no_images(tmp_path: Path) -> None:
    """As when `medseg predict FOLDER -o FOLDER/out` is given twice."""
    write(tmp_path / "one.tif")
    write(tmp_path / "of_another_program_labels.tif")
    image = formats.read(tmp_path / "one.tif")
    out = PredictionFolder(tmp_path / "out", ".nii.gz", "lungs", "lungs-unet@1")
    entry = out.claim(image.content_hash, image.sources, "one")
    out.record(entry)
    formats.write_labels(out.get_path(entry), image.pixels, image)
    found = search_paths([tmp_path])
    assert [source.name for source in found.sources] == ["of_another_program_labels.tif", "one.tif"]
    assert found.skipped == ["Segmentations are no images and were left out: one_labels.nii.gz."]
    assert [source.name for source in search_paths([out.get_path(entry)]).sources] == ["one_labels.nii.gz"]


def test_what_lies_in_a_project_is_no_image(tmp_path: Path) -> None:
    write(tmp_path / "one.tif")
    Project.create(tmp_path / "work").close()
    (tmp_path / "work" / "cache" / "thumbnails").mkdir(parents=True)
    np.save(tmp_path / "work" / "cache" / "thumbnails" / "0123.npy", np.zeros((8, 8), np.uint8))
    write(tmp_path / "work" / "images" / "0123.tif")
    assert [source.name for source in search_paths([tmp_path]).sources] == ["one.tif"]
    (alone,) = search_paths([tmp_path / "work"]).sources
    assert "is a project of this program" in alone.problem
    assert formats.can_read(tmp_path / "work")  # so that a drop is taken, and told
    assert [source.name for source in search_paths([tmp_path / "work" / "images"]).sources] == ["0123.tif"]


def test_a_project_made_among_images_hides_none_of_them(tmp_path: Path) -> None:
    write(tmp_path / "study" / "one.tif")
    write(tmp_path / "study" / "p1" / "two.tif")
    write(tmp_path / "study" / "slides-july" / "three.tif")
    Project.create(tmp_path / "study").close()
    write(tmp_path / "study" / "images" / "0123.tif")
    for place in (tmp_path, tmp_path / "study"):
        names = {source.name for source in search_paths([place]).sources}
        assert names == {"one.tif", "two.tif", "three.tif"}


def test_every_folder_that_a_project_keeps_is_known() -> None:
    kept = {*FOLDERS, TASKS_FOLDER, CACHE_FOLDER, ADAPTED_FOLDER, SLIDES_FOLDER, PREDICTED_FOLDER, CHECKS_FOLDER}
    assert all(map(is_project_folder, kept))
    assert not is_project_folder("images-2024")


def test_an_image_whose_name_only_sounds_like_labels_is_found(tmp_path: Path) -> None:
    write(tmp_path / "p1_reviewed.tif")
    write(tmp_path / "p1_labels.of.all.tif")
    write(tmp_path / "p1_labels.tif")
    (tmp_path / "predictions.jsonl").write_text("", encoding="utf-8")
    names = [source.name for source in search_paths([tmp_path]).sources]
    assert names == ["p1_labels.of.all.tif", "p1_reviewed.tif"]


@pytest.mark.parametrize("folder", ["labelsTr", "labelsTs", "segmentations"])
def test_labels_of_a_data_set_are_no_images(folder: str, tmp_path: Path) -> None:
    write(tmp_path / "imagesTr" / "case_0000.tif")
    write(tmp_path / folder / "case.tif")
    assert [source.name for source in search_paths([tmp_path]).sources] == ["case_0000.tif"]
    assert [source.name for source in search_paths([tmp_path / folder]).sources] == ["case.tif"]
