"""Groups: one rule, which looks at one name and never at its neighbours, and patterns that a person types."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import GroupPattern, find_group, format_groups

PICTURES = {
    "cc003_001": "cc003",
    "cc002_d0194": "cc002",
    "A0001_z007": "A0001",
    "person1023_virus_1714": "person1023",
    "patient2_seq5_0001_l": "patient2",
    "patient_001": "patient_001",
    "ct_p3_001": "p3",
    "IM-0445-0001": "IM-0445",
    "TCGA-55-1594-01Z-00-DX1_001": "TCGA-55-1594",
    "endovis18_seq_4_frame061": "endovis18_seq_4",
    "00002-22975-frame-30516": "00002-22975",
    "slide5_tile_3_4": "slide5",
    "A_tile_3_4": "A",
    "0121d6759c5adb29": "0121d6759c5adb29",
    "Mu\u0308ller_3": "Müller",
}
POSITIONS = ("0001", "slice_12", "IMG 4", "frame0001", "z104", "image (12)", "left")
VOLUMES = {
    "case_0000": "case_0000",
    "volume-12": "volume-12",
    "sub-07_T1w": "sub-07",
    "scan_3": "scan_3",
    "0004": "0004",
}


@pytest.mark.parametrize(("name", "group"), PICTURES.items())
def test_a_picture_belongs_to_what_stands_before_its_position(name: str, group: str) -> None:
    assert find_group(Path(f"images/{name}.png"), is_volume=False) == group


@pytest.mark.parametrize("name", POSITIONS)
def test_a_picture_that_is_named_by_its_position_belongs_to_its_folder(name: str) -> None:
    for folder in ("P7", "P7/images", "P7/series 2/png"):
        assert find_group(Path(f"/data/{folder}/{name}.png"), is_volume=False) == "P7"


@pytest.mark.parametrize(("name", "group"), VOLUMES.items())
def test_a_volume_is_its_own_group_unless_its_name_states_a_patient(name: str, group: str) -> None:
    assert find_group(Path(f"P7/{name}.nii.gz"), is_volume=True) == group


def test_a_volume_that_is_only_called_ct_belongs_to_its_folder() -> None:
    assert find_group(Path("/data/P7/ct.nii.gz"), is_volume=True) == "P7"


def test_the_name_of_an_account_is_no_patient() -> None:
    assert find_group(Path.home() / "0001.png", is_volume=False) == "0001"


def test_the_group_of_a_file_does_not_depend_on_what_lies_beside_it(tmp_path: Path) -> None:
    def read_group(name: str) -> str:
        Picture.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / name)
        return formats.read(tmp_path / name).group

    names = ("cc003_012.png", "cc003_040.png", "cc004_001.png", "left_lung.png")
    groups = [read_group(name) for name in names]
    assert groups == ["cc003", "cc003", "cc004", "left_lung"]
    assert [formats.read(tmp_path / name).group for name in names] == groups


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        ("{patient}_*", "cc003"),
        ("{patient}_#", "cc003"),
        ("cc{patient}_*", "003"),
        ("{patient}", "cc003_001"),
        ("{patient}/*", "P7"),
        ("{slide}/*_*", "P7"),
        ("^cc[0-9]+", "cc003"),
        ("cc([0-9]{3})", "003"),
        ("(cc)(?P<patient>0+)", "00"),
        ("{patient}-*", ""),
    ],
)
def test_a_pattern_says_where_the_patient_stands(pattern: str, group: str) -> None:
    assert GroupPattern.parse(pattern).find_group(Path("/data/P7/cc003_001.nii.gz")) == group


@pytest.mark.parametrize("pattern", ["*_001", "(p", "{patient}_{slide}"])
def test_a_pattern_that_cannot_be_read_says_how_to_write_one(pattern: str) -> None:
    with pytest.raises(MedSegError, match=r"\{patient\}_\*"):
        GroupPattern.parse(pattern)


def test_groups_are_counted_largest_first() -> None:
    assert format_groups(["B"] * 2 + ["A"] * 3 + ["C"]) == "3 patients: A (3), B (2), C (1)"
    assert format_groups("ABC", at_most=2) == "3 patients: A (1), B (1) and 1 more"
    assert format_groups(["A"]) == "1 patient: A (1)"
