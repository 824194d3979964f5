"""Groups and copies in folders of images: a patient and an image stand on one side only."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, dataset
from PIL import Image as Picture
from skimage import data as pictures

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.split import sort_by_hash
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import compute_fingerprint
from napari_medseg.core.quality.shared_content import Likeness
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.from_folders.default_recipe import RecipeOverrides
from training.from_folders.folder_data import FolderData, check_folder_data, choose_cases, describe_split
from training.from_folders.folder_run import fill_run
from training.from_folders.group_split import GroupedImage, check_content, find_copies, join_groups_with_copies
from training.from_folders.mask_values import MaskEncoding

AT_RANDOM = RecipeOverrides(weights="none")
MASK = np.zeros((96, 96), np.uint8)
MASK[20:60, 30:70] = 1


def texture(number: int) -> np.ndarray:
    """One of many different parts of a photograph, uint8 (96, 96)."""
    row, column = divmod(number, 4)
    return np.ascontiguousarray(pictures.camera()[row * 100 : row * 100 + 96, column * 100 : column * 100 + 96])


def put(folder: Path, name: str, pixels: np.ndarray) -> None:
    for kind, array in (("images", pixels), ("masks", MASK)):
        (folder / kind).mkdir(exist_ok=True)
        Picture.fromarray(array).save(folder / kind / f"{name}.png")


def own(folder: Path, **changes: object) -> FolderData:
    encoding = MaskEncoding(make_custom_task("cells", ["cell"], kind="grey"))
    return FolderData("cells", folder / "images", folder / "masks", encoding, **changes)


def read_groups(run_dir: Path) -> dict[str, set[Role]]:
    groups: dict[str, set[Role]] = {}
    for item in read_snapshot(run_dir / "snapshot.json").items:
        groups.setdefault(item.group, set()).add(item.role)
    return groups


def test_the_slices_of_a_patient_are_on_one_side_without_any_option(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path, f"cc{number // 2}_{number:03}", texture(number))
    data = own(tmp_path)
    found = check_folder_data(data)
    assert describe_split(data, found.cases).startswith("6 patients: cc0 (2), cc1 (2), cc2 (2)")
    fill_run(data, found.cases, [], tmp_path / "run", AT_RANDOM)
    groups = read_groups(tmp_path / "run")
    assert len(groups) == 6
    assert {len(roles) for roles in groups.values()} == {1}


def test_dicom_files_are_grouped_by_their_patient(tmp_path: Path) -> None:
    """Each file was a group of its own: one series stood in training, validation and hold-out."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(12):
        slice_ = dataset(texture(number).astype(np.int16), (0, 0, number), AXIAL, PatientID=f"P{number // 2}")
        slice_.PatientID = f"P{number // 2}"
        slice_.save_as(tmp_path / "images" / f"{number:03}.dcm", enforce_file_format=True)
        Picture.fromarray(MASK).save(tmp_path / "masks" / f"{number:03}.png")
    data = own(tmp_path)
    found = check_folder_data(data)
    assert found.blocking_mismatches == ()
    assert describe_split(data, found.cases).startswith("6 patients: P0 (2), P1 (2)")
    assert {case.group for case in check_folder_data(own(tmp_path, group_by="{patient}")).cases} == {
        f"{number:03}" for number in range(12)
    }


def test_a_pattern_names_the_groups_and_what_it_does_not_match_is_told(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path, f"a{number}-x", texture(number))
    put(tmp_path, "other", texture(5))
    found = check_folder_data(own(tmp_path, group_by="{patient}-*"))
    assert [case.group for case in found.cases] == ["a0", "a1", "a2", "a3"]
    assert [(one.kind, one.name) for one in found.blocking_mismatches] == [("group", "other")]


def test_a_copy_on_both_sides_is_refused_left_out_or_joined(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(6)]
    held = sort_by_hash(names)[0]
    twin = next(name for name in names if name != held)
    for number, name in enumerate(names):
        put(tmp_path, f"{name}_1", texture(number))
    put(tmp_path, f"{twin}_2", texture(names.index(held))[:, ::-1])
    data = own(tmp_path)
    found = check_folder_data(data)
    (copy,) = found.blocking_mismatches
    assert (copy.kind, copy.name) == ("duplicate", f"{twin}_2")
    assert f"a copy of {held}_1 ({held}, held out)" in copy.text
    assert f"{twin}_2" not in {case.name for case in found.cases}
    joined = check_folder_data(own(tmp_path, joins_copies=True))
    assert joined.blocking_mismatches == ()
    group_of = {case.name: case.group for case in joined.cases}
    assert group_of[f"{twin}_2"] == group_of[f"{held}_1"] == min(held, twin)


def test_a_joined_group_keeps_the_name_that_was_held_out(tmp_path: Path) -> None:
    of = [compute_fingerprint(Image(texture(number), "YX")) for number in (0, 1, 0)]
    images = [GroupedImage(name, name, one) for name, one in zip("abz", of, strict=True)]
    (copy,) = find_copies(images, ["z"])
    assert (copy.learnt.name, copy.likeness) == ("a", Likeness.IDENTICAL)
    assert [image.group for image in join_groups_with_copies(images, ["z"])] == ["z", "b", "z"]


def test_a_published_split_is_kept_to_the_image(tmp_path: Path) -> None:
    """Kvasir-Instrument lists its test images; the validation images may be named, too."""
    for number in range(8):
        put(tmp_path, f"p{number // 2}_{number}", texture(number))
    data = own(tmp_path, group_by="{patient}_*", hold_out=("p1_2", "p0"), validate=("p3_7",))
    found = check_folder_data(data)
    said = describe_split(data, found.cases)
    assert said.endswith("Held out: p0, p1. To choose the best epoch: p3")
    fill_run(data, found.cases, [], tmp_path / "run", AT_RANDOM)
    items = read_snapshot(tmp_path / "run" / "snapshot.json").items
    roles = {item.name.removeprefix("cells/"): item.role for item in items}
    assert [roles[f"p{number // 2}_{number}"] for number in range(8)] == [
        *[Role.HOLD_OUT] * 4,
        *[Role.TRAIN] * 2,
        *[Role.VALIDATE] * 2,
    ]
    for changes, problem in (
        ({"hold_out": ("p9_1",)}, "no groups or images \\['p9_1'\\] to hold out"),
        ({"validate": ("p9_1",)}, "no groups or images \\['p9_1'\\] to validate on"),
        ({"hold_out": ("p1",), "validate": ("p1_3",)}, "'p1'.* not both"),
        ({"hold_out": ("p1", "p2"), "validate": ("p0", "p3")}, "no training images are left"),
    ):
        with pytest.raises(MedSegError, match=problem):
            choose_cases(own(tmp_path, group_by="{patient}_*", **changes), found.cases)
    alone = own(tmp_path, group_by="{patient}_*", validate=("p0", "p1"))
    split = choose_cases(alone, found.cases)[1]
    assert sorted(split.validate) == ["p0", "p1"]
    assert set(split.hold_out) < {"p2", "p3"}
    assert len(split.hold_out) == 1
    assert f"Held out: {split.hold_out[0]}" in describe_split(alone, found.cases)


def test_sides_are_named_so_that_none_takes_the_place_of_another(tmp_path: Path) -> None:
    given = own(tmp_path)
    with pytest.raises(TypeError, match="positional"):
        FolderData(given.name, given.images, given.masks, given.encoding, "", ("p1",), ("p2",))  # type: ignore[misc]


def test_every_run_is_checked_by_content_whatever_the_names(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c")):
        put(tmp_path, name, texture(number))
    put(tmp_path, "d", texture(1)[6:, 6:])

    def snapshot(*held_out: str) -> Snapshot:
        roles = {name: Role.HOLD_OUT if name in held_out else Role.TRAIN for name in "abcd"}
        return Snapshot(
            task="cells",
            items=tuple(
                SnapshotItem(name=name, image=f"images/{name}.png", labels="", group=name, role=role)
                for name, role in roles.items()
            ),
        )

    assert check_content(snapshot("a"), tmp_path) == []
    assert check_content(snapshot("b", "d"), tmp_path) == []
    with pytest.raises(MedSegError, match=r"1 training images are copies of hold-out images: b = d"):
        check_content(snapshot("d"), tmp_path)
