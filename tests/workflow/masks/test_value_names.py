"""Names of mask values in the files of other programs, and the labels that they name."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.label_names import find_label
from napari_medseg.workflow.masks.value_names import (
    describe_missing_lobes,
    map_names_to_labels,
    read_value_names,
)

CARET = (
    '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><VolumeInformation Index="0"><LabelTable>'
    '<Label Key="10" Red="0.5" Green="0" Blue="0" Alpha="1"><![CDATA[lung_upper_lobe_left]]></Label>\n'
    '<Label Key="12" Red="0.5" Green="0" Blue="0" Alpha="1"><![CDATA[lung_upper_lobe_right]]></Label>\n'
    '<Label Key="51" Red="0" Green="0" Blue="0" Alpha="1">heart &amp; vessels</Label>'
    "</LabelTable></VolumeInformation></CaretExtension>"
)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_table_of_totalsegmentator_is_read_from_the_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"seg{suffix}"
    mask = nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    mask.header.extensions.append(nib.nifti1.Nifti1Extension(0, CARET.encode()))
    nib.save(mask, path)
    names = read_value_names(path)
    assert names == {10: "lung_upper_lobe_left", 12: "lung_upper_lobe_right", 51: "heart & vessels"}
    assert map_names_to_labels(names, TASKS["lungs"]) == {10: 2, 12: 1}


@pytest.mark.parametrize(
    "labels",
    [{"0": "background", "1": "lung_left", "2": "right lung"}, {"background": 0, "lung_left": 1, "right lung": 2}],
)
@pytest.mark.parametrize("folder", ["", "labelsTr"])
def test_both_versions_of_dataset_json_lie_beside_the_masks_or_one_folder_above(
    tmp_path: Path, labels: dict[str, object], folder: str
) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels | {"whole": [1, 2]}}), encoding="utf-8")
    names = read_value_names(tmp_path / folder / "case.png")
    assert names == {1: "lung_left", 2: "right lung"}
    assert map_names_to_labels(names, TASKS["lungs"]) == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("lung_upper_lobe_left",), "left lung is made of its upper lobe only; its lower lobe has no mask"),
        (
            ("lung_lower_lobe_right", "lung_upper_lobe_right"),
            "right lung is made of its lower and upper lobe only; its middle lobe has no mask",
        ),
        (("lung_upper_lobe_left", "lung_lower_lobe_left"), ""),
        (("left lung", "lung_upper_lobe_left"), ""),
        (("lung_left", "heart"), ""),
    ],
)
def test_lobes_that_no_mask_has_are_said(names: tuple[str, ...], text: str) -> None:
    assert describe_missing_lobes(names, TASKS["lungs"]) == text


def test_a_file_without_names_has_none_and_a_damaged_dataset_json_is_said(tmp_path: Path) -> None:
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(b"x" * 5000)[:20])
    assert read_value_names(tmp_path / "cut.nii.gz") == {}
    assert read_value_names(tmp_path / "none.nii") == {}
    for content in ("[1, 2]", '{"labels": ["a"]}', '{"name": "x"}'):
        (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
        assert read_value_names(tmp_path / "a.png") == {}
    (tmp_path / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(MedSegError, match=r"dataset\.json names the values of the masks, but cannot be read"):
        read_value_names(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "task", "label"),
    [
        ("lung_left", "lungs", 2),
        ("LeftLung", "lungs", 2),
        ("Right Lung mask", "lungs", 1),
        ("lung_R", "lungs", 1),
        ("lung_middle_lobe_right", "lungs", 1),
        ("lung_nodule_left", "lungs", None),
        ("lung_vessels", "lungs", None),
        ("lung", "lungs", None),
        ("lobe", "lungs", None),
        ("GGO", "covid", 1),
        ("ground-glass opacities", "covid", 1),
        ("Consolidation", "covid", 2),
        ("pleural_effusion", "covid", 3),
        ("pericardial_effusion", "covid", None),
        ("effusion", "covid", None),
        ("nuclei", "nuclei", 1),
    ],
)
def test_a_name_is_a_label_if_its_words_are(name: str, task: str, label: int | None) -> None:
    assert find_label(name, TASKS[task]) == label
