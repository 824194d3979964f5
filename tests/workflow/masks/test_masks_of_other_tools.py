"""Segments of 3D Slicer and DICOM objects become labels of the task by their names, dropped or imported."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import noise, write_series

from napari_medseg.core import formats
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.tasks.bundled_tasks import Label, Task, get_task
from napari_medseg.workflow.masks.drops import split_drop
from napari_medseg.workflow.masks.pairs import find_pairs
from napari_medseg.workflow.masks.read_pair import MaskSettings, count_values, read_pair

LUNGS = get_task("lungs")
OTHER_WAY = Task("mine", "Mine", (Label(1, "Lung_Left", "#56B4E9"), Label(5, "Lung_Right", "#E69F00")), ("ZYX",))
"""Another program numbers the lungs the other way."""


def make_case(folder: Path, name: str, suffix: str) -> np.ndarray:
    """Write a series and its mask; return the labels as the task of the lungs numbers them."""
    write_series(
        folder / "images" / name, noise((3, 9, 12)), FrameOfReferenceUID="1.2.9", SeriesInstanceUID=f"1.2.{name}"
    )
    image = formats.read(folder / "images" / name)
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[:2, 2:7, 1:5], labels[:2, 2:7, 7:11] = 1, 2
    (folder / "masks").mkdir(exist_ok=True)
    drawn = np.choose(labels, [0, 5, 1]).astype(np.uint8)
    find_label_format(suffix).write(folder / "masks" / f"{name}{suffix}", drawn, image, LabelDescription(OTHER_WAY))
    return labels


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".seg.dcm", ".rtstruct.dcm"])
def test_segments_become_the_labels_of_their_names(tmp_path: Path, suffix: str) -> None:
    if suffix == ".seg.dcm":
        pytest.importorskip("highdicom")
    wanted = {name: make_case(tmp_path, name, suffix) for name in ("71", "72")}
    pairs, lacking = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert not lacking
    assert {pair.name for pair in pairs} == {"71", "72"}
    for pair in pairs:
        assert len(count_values(pair.mask.path)) == 2
        image, read = read_pair(pair, MaskSettings(LUNGS))
        np.testing.assert_array_equal(read.labels, wanted[pair.name])
        assert "right lung" in read.meaning
        assert image.spatial_shape == read.labels.shape


def test_dropped_objects_are_masks_of_the_series_that_came_with_them(tmp_path: Path) -> None:
    make_case(tmp_path, "71", ".rtstruct.dcm")
    mask, series = tmp_path / "masks" / "71.rtstruct.dcm", tmp_path / "images" / "71"
    (pair,) = split_drop([series, mask]).pairs
    assert (pair.image, pair.mask.path) == (series, mask)
    assert split_drop([mask]).masks == (mask,)
    slices = sorted(series.iterdir())
    assert split_drop([*slices, mask]).masks == (mask,)
    assert split_drop([*slices, mask]).images == tuple(slices)


def test_a_segmentation_of_slicer_is_a_mask_by_its_suffix(tmp_path: Path) -> None:
    make_case(tmp_path, "71", ".seg.nrrd")
    mask = tmp_path / "masks" / "71.seg.nrrd"
    moved = tmp_path / "anything.seg.nrrd"
    mask.rename(moved)
    assert split_drop([moved]).masks == (moved,)


def test_objects_with_other_names_are_paired_by_the_series_that_they_refer_to(tmp_path: Path) -> None:
    wanted = {name: make_case(tmp_path, name, ".rtstruct.dcm") for name in ("71", "72", "73")}
    (tmp_path / "masks" / "71.rtstruct.dcm").rename(tmp_path / "masks" / "RS_b.dcm")
    (tmp_path / "masks" / "72.rtstruct.dcm").rename(tmp_path / "masks" / "RS_a.dcm")
    pairs, lacking = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert not lacking
    assert {pair.name: pair.mask.path.name for pair in pairs} == {
        "71": "RS_b.dcm",
        "72": "RS_a.dcm",
        "73": "73.rtstruct.dcm",
    }
    for pair in pairs:
        np.testing.assert_array_equal(read_pair(pair, MaskSettings(LUNGS))[1].labels, wanted[pair.name])
