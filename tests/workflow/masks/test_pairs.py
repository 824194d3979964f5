"""Pairs of images and masks by name: flat folders, a folder of files for each image, and nested data sets."""

from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.masks.pairs import LabelFolder, find_pairs
from napari_medseg.workflow.masks.read_pair import MaskSettings, read_pair


def write_image(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    formats.write_image(path, phantom(number))
    return path


def write_mask(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    formats.write_labels(path, labels, phantom(0))


def test_channels_of_nnunet_have_the_mask_of_the_first_one(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b_0000", "c_0001"):
        write_image(tmp_path / "imagesTr" / f"{name}.tif")
    for name in ("a", "b", "z"):
        write_mask(tmp_path / "labelsTr" / f"{name}.tif", phantom_labels())
    pairs, lacking = find_pairs(tmp_path / "imagesTr", tmp_path / "labelsTr")
    assert [(pair.name, pair.mask.path.name) for pair in pairs] == [("a_0000", "a.tif"), ("b_0000", "b.tif")]
    assert [(one.kind, one.name) for one in lacking] == [("missing mask", "c_0001"), ("missing image", "z")]


def write_label_files(folder: Path) -> None:
    labels = phantom_labels()
    write_mask(folder / "lung_left.tif", (labels == 2).astype(np.uint8))
    write_mask(folder / "lung_upper_lobe_right.tif", (labels == 1) & (np.arange(48) < 20)[:, None])
    write_mask(folder / "lung_lower_lobe_right.tif", (labels == 1) & (np.arange(48) >= 20)[:, None])
    write_mask(folder / "liver.tif", np.ones_like(labels))


@pytest.mark.parametrize("place", ["masks/case1", "masks/case1/segmentations"])
def test_a_folder_of_files_is_one_mask(tmp_path: Path, place: str) -> None:
    write_image(tmp_path / "images" / "case1.tif")
    write_label_files(tmp_path / place)
    pairs, lacking = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert not lacking
    (pair,) = pairs
    _, read = read_pair(pair, MaskSettings(TASKS["lungs"]))
    assert np.array_equal(read.labels, phantom_labels())
    with pytest.raises(MedSegError, match=r"no file in case1 is named after a label of COVID-19 lesions"):
        read_pair(pair, MaskSettings(TASKS["covid"]))


def test_each_label_may_have_a_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        write_image(tmp_path / "images" / f"{name}.tif", number)
        for value, side in ((1, "right"), (2, "left")):
            write_mask(tmp_path / "masks" / f"{side}Mask" / f"{name}.tif", (phantom_labels() == value).astype(np.uint8))
    pairs, lacking = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert ([pair.name for pair in pairs], lacking) == (["a", "b"], [])
    assert len({pair.compute_sha256("") for pair in pairs}) == 2
    _, read = read_pair(pairs[1], MaskSettings(TASKS["lungs"]))
    assert np.array_equal(read.labels, phantom_labels())
    assert "rightMask/b.tif right lung" in read.meaning.replace("\\", "/")
    before = pairs[1].compute_sha256("")
    (tmp_path / "masks" / "rightMask").rename(tmp_path / "masks" / "pleural_effusion")
    assert find_pairs(tmp_path / "images", tmp_path / "masks")[0][1].compute_sha256("") != before


def test_folders_that_may_be_labels_or_images_are_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        write_image(tmp_path / "images" / f"{number}.tif", number)
        for other in (1, 2):
            write_mask(tmp_path / "masks" / str(number) / f"{other}.tif", phantom_labels())
    with pytest.raises(MedSegError, match="may be labels or images"):
        find_pairs(tmp_path / "images", tmp_path / "masks")
    for number in (1, 2):
        (tmp_path / "masks" / str(number) / "2.tif").unlink()
    with pytest.raises(MedSegError, match="may be labels or images"):
        find_pairs(tmp_path / "images", tmp_path / "masks")


def test_folders_of_labels_may_be_called_as_some_images(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_image(tmp_path / "images" / f"{number}.tif", number)
        for label in (1, 2):
            write_mask(tmp_path / "masks" / str(label) / f"{number}.tif", phantom_labels())
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "masks")
    found = {pair.name: [file.name for file in pair.mask.files] for pair in pairs if isinstance(pair.mask, LabelFolder)}
    assert found == {f"{number}": [f"{number}.tif"] * 2 for number in range(1, 6)}


def test_the_data_set_of_totalsegmentator_has_image_and_masks_in_one_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "s0001" / "ct.tif")
    write_label_files(tmp_path / "s0001" / "segmentations")
    write_image(tmp_path / "s0002" / "ct.tif")
    write_label_files(tmp_path / "s0003" / "segmentations")
    ((pair,), lacking) = find_pairs(tmp_path, tmp_path)
    assert (pair.name, pair.image.name) == ("s0001", "ct.tif")
    assert [(one.kind, one.name) for one in lacking] == [("missing mask", "s0002"), ("missing image", "s0003")]
    assert isinstance(pair.mask, LabelFolder)
    assert pair.mask.title == "s0001"
    _, read = read_pair(pair, MaskSettings(TASKS["lungs"]))
    assert np.array_equal(read.labels, phantom_labels())


def test_one_folder_may_hold_both_and_empty_folders_are_said(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_mask(tmp_path / "a_mask.tif", phantom_labels())
    ((pair,), _) = find_pairs(tmp_path, tmp_path)
    assert (pair.image.name, pair.mask.path.name) == ("a.tif", "a_mask.tif")
    (tmp_path / "none").mkdir()
    with pytest.raises(MedSegError, match="contains no readable file"):
        find_pairs(tmp_path, tmp_path / "none")
    with pytest.raises(MedSegError, match="is not a folder"):
        find_pairs(tmp_path / "nowhere", tmp_path)


def test_the_hash_of_a_pair_tells_other_files_and_other_wishes_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_mask(tmp_path / "a_mask.tif", phantom_labels())
    ((pair,), _) = find_pairs(tmp_path, tmp_path)
    before = pair.compute_sha256("x")
    assert pair.compute_sha256("x") == before != pair.compute_sha256("y")
    write_mask(tmp_path / "a_mask.tif", phantom_labels() * 0 + 1)
    assert pair.compute_sha256("x") != before
