"""Whose a predicted label file is: no image gets the file of another one, and a command can be repeated."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import PREDICTIONS_FILE
from napari_medseg.core.image import Image
from napari_medseg.workflow.output.predictions import PredictionFolder


def make_image(seed: int) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 255, (3, 4)).astype(np.uint8), "YX", name="a")


def write(out: PredictionFolder, seed: int, file: Path, wanted: str) -> str:
    image = make_image(seed)
    entry = out.claim(image.content_hash, [file], wanted)
    out.record(entry)
    formats.write_labels(out.get_path(entry), image.pixels, image)
    return entry.labels_file


def open_folder(
    folder: Path, *, overwrite: bool = True, task: str = "lungs", reserved: tuple[str, ...] = ()
) -> PredictionFolder:
    return PredictionFolder(folder, ".tif", task, "lungs-unet@3", overwrite=overwrite, reserved=reserved)


def test_an_image_keeps_its_file_whatever_the_order(tmp_path: Path) -> None:
    one, two = Path("one/a.png"), Path("two/a.png")
    out = open_folder(tmp_path)
    assert [write(out, 1, one, "a"), write(out, 2, two, "a")] == ["a_labels.tif", "a_2_labels.tif"]
    out = open_folder(tmp_path)
    assert [write(out, 2, two, "a"), write(out, 1, one, "a")] == ["a_2_labels.tif", "a_labels.tif"]
    out = open_folder(tmp_path)
    assert write(out, 2, Path("moved/a.png"), "a") == "a_2_labels.tif", "found by its content"
    assert write(out, 5, one, "a") == "a_labels.tif", "the same file with other pixels"


def test_names_that_are_one_file_elsewhere_get_numbers(tmp_path: Path) -> None:
    out = open_folder(tmp_path, reserved=("a_2", "A", "a"))
    names = [write(out, n, Path(f"{n}.png"), name) for n, name in enumerate(("a", "A", "a_2"))]
    assert names == ["a_labels.tif", "A_3_labels.tif", "a_2_labels.tif"]


def test_two_tasks_of_one_image_are_two_files(tmp_path: Path) -> None:
    write(open_folder(tmp_path), 1, Path("a.png"), "a")
    assert write(open_folder(tmp_path, task="covid"), 1, Path("a.png"), "a") == "a_2_labels.tif"


def test_existing_labels_are_kept_without_overwrite(tmp_path: Path) -> None:
    write(open_folder(tmp_path), 1, Path("a.png"), "a")
    out = open_folder(tmp_path, overwrite=False)
    with pytest.raises(MedSegError, match="add --overwrite"):
        out.refuse_existing([Path("a.png")])
    with pytest.raises(MedSegError, match="add --overwrite"):
        out.claim(make_image(1).content_hash, [Path("copy.png")], "a")
    (tmp_path / "b_labels.tif").touch()
    with pytest.raises(MedSegError, match="does not say that it belongs to this image"):
        open_folder(tmp_path).claim(make_image(2).content_hash, [Path("b.png")], "b")


def test_a_killed_command_can_be_repeated(tmp_path: Path) -> None:
    out = open_folder(tmp_path)
    out.record(out.claim(make_image(1).content_hash, [Path("a.png")], "a"))  # killed before the labels were written
    with (tmp_path / PREDICTIONS_FILE).open("ab") as file:
        file.write(b'{"labels_file": "b_la')  # killed in the middle of a line
    out = open_folder(tmp_path, overwrite=False)
    assert write(out, 1, Path("a.png"), "a") == "a_labels.tif"
    assert write(out, 2, Path("b.png"), "b") == "b_labels.tif"
    assert write(open_folder(tmp_path), 2, Path("b.png"), "b") == "b_labels.tif"
