"""Masks beside their images: turned photographs, names in Unicode, headers, and sets that teach nothing."""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import MaskOrientation, MaskPlacement
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.data.labelled_cases import get_stem
from training.evaluation.evaluate import find_cases
from training.from_folders.default_recipe import RecipeOverrides
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import fill_run
from training.from_folders.mask_pairing import read_image_and_labels
from training.from_folders.mask_values import MaskEncoding

SHAPE = (24, 32)
ORIENTATION_TAG = 0x0112
Make = Callable[..., FolderData]


def noise(number: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, shape).astype(np.uint8)


def drawn(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[3:12, 5:14] = 1
    return labels


def put(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.ascontiguousarray(pixels)).save(path, **options)


@pytest.fixture
def own(tmp_path: Path) -> Make:
    def make(*labels: str, placement: MaskPlacement | None = None, **changes: object) -> FolderData:
        task = make_custom_task("own", labels or ("cyst",), kind="grey")
        encoding = MaskEncoding(task, placement=placement or MaskPlacement())
        return FolderData("own", tmp_path / "images", tmp_path / "masks", encoding, **changes)

    return make


def photograph(folder: Path, name: str, orientation: int, shape: tuple[int, int]) -> np.ndarray:
    """Write a turned photograph, and return an upright drawing for it."""
    tag = Picture.Exif()
    tag[ORIENTATION_TAG] = orientation
    put(folder / "images" / f"{name}.jpg", noise(orientation, shape), exif=tag)
    return drawn(formats.read(folder / "images" / f"{name}.jpg").spatial_shape)


def read_all(data: FolderData) -> dict[str, np.ndarray]:
    return {case.name: read_image_and_labels(case, data.encoding)[1] for case in check_folder_data(data).cases}


def test_a_square_photograph_is_laid_like_the_oblong_ones(tmp_path: Path, own: Make) -> None:
    wanted = {}
    for name, orientation, shape in (("oblong", 6, SHAPE), ("square", 8, (24, 24)), ("upside_down", 3, SHAPE)):
        wanted[name] = photograph(tmp_path, name, orientation, shape)
        storage = formats.read(tmp_path / "images" / f"{name}.jpg").storage
        put(tmp_path / "masks" / f"{name}.png", storage.to_file(wanted[name]))
    found = read_all(own())
    assert {name: np.array_equal(found[name], labels) for name, labels in wanted.items()} == dict.fromkeys(wanted, True)
    notes = {miss.name: miss.text for miss in check_folder_data(own()).mismatches if miss.kind == "orientation"}
    assert notes.keys() == {"square", "upside_down"}
    assert all("as the image is stored, like the other masks" in text for text in notes.values())


def test_square_photographs_alone_are_asked_about(tmp_path: Path, own: Make) -> None:
    wanted = photograph(tmp_path, "square", 6, (24, 24))
    put(tmp_path / "masks" / "square.png", wanted)
    (doubt,) = [miss for miss in check_folder_data(own()).mismatches if miss.kind == "orientation"]
    assert "--mask-orientation stored" in doubt.text
    assert not doubt.blocking
    assert (read_all(own())["square"] == wanted).all()
    decided = own(placement=MaskPlacement(MaskOrientation.SHOWN))
    assert not [miss for miss in check_folder_data(decided).mismatches if miss.kind == "orientation"]
    other = own(placement=MaskPlacement(MaskOrientation.STORED))
    assert (read_all(other)["square"] != wanted).any()


@pytest.mark.parametrize("stored", [False, True])
def test_outlines_follow_the_size_that_their_file_states(tmp_path: Path, own: Make, *, stored: bool) -> None:
    wanted = photograph(tmp_path, "a", 6, SHAPE)
    storage = formats.read(tmp_path / "images" / "a.jpg").storage
    lying = storage.to_file(wanted) if stored else wanted
    rows, columns = np.nonzero(lying)
    (top, left), (bottom, right) = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    ring = [[left, top, right, top, right, bottom, left, bottom]]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": lying.shape[0], "width": lying.shape[1]}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": np.array(ring, float).tolist()}],
        "categories": [{"id": 1, "name": "cyst"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    data = FolderData("own", tmp_path / "images", tmp_path / "coco.json", own().encoding)
    assert (read_all(data)["a"] == wanted).all()


@pytest.mark.parametrize("by_label", [True, False])
def test_each_label_may_have_its_own_file(tmp_path: Path, own: Make, *, by_label: bool) -> None:
    """Montgomery County: `leftMask/x.png` and `rightMask/x.png`. TotalSegmentator: `x/lung_left.png`."""
    for name in ("a", "b"):
        put(tmp_path / "images" / f"{name}.png", noise(ord(name)))
        for side, column in (("left", 20), ("right", 4)):
            mask = np.zeros(SHAPE, np.uint8)
            mask[5:15, column : column + 8] = 255
            place = f"{side}Mask/{name}.png" if by_label else f"{name}/lung_{side}.png"
            put(tmp_path / "masks" / place, mask)
    put(tmp_path / "masks" / ("heart/a.png" if by_label else "a/heart.png"), np.full(SHAPE, 255, np.uint8))
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[5:15, 4:12], wanted[5:15, 20:28] = 1, 2
    data = own("right_lung", "left_lung")
    found = check_folder_data(data)
    assert (found.mismatches, [case.name for case in found.cases]) == ((), ["a", "b"])
    for labels in read_all(data).values():
        assert np.array_equal(labels, wanted)
    task = make_custom_task("lung", ["lung"], kind="grey")
    both = read_all(replace(data, encoding=MaskEncoding(task, binarise=True)))
    assert np.array_equal(both["b"], wanted > 0), "all files together are the only label"
    objects = MaskEncoding(make_custom_task("cells", ["cell"], kind="grey", instances=True))
    assert len(np.unique(read_all(replace(data, encoding=objects))["b"])) == 3, "each file is an object"
    (problem,) = check_folder_data(own("kidney", "tumour")).blocking_mismatches[:1]
    assert "no file or folder is named after a label of" in problem.text


@pytest.mark.parametrize(("n_images", "is_clear"), [(5, False), (8, True)])
def test_folders_that_may_be_labels_or_images_are_refused(
    tmp_path: Path, own: Make, n_images: int, *, is_clear: bool
) -> None:
    """`masks/1/2.png` may be object 2 of image 1, or label 1 of image 2."""
    for number in range(1, n_images + 1):
        put(tmp_path / "images" / f"{number}.png", noise(number))
        for other in (1, 2, 3):
            mask = np.zeros(SHAPE, np.uint8)
            mask[6 * other : 6 * other + 3, number : number + 3] = 255
            put(tmp_path / "masks" / str(number) / f"{other}.png", mask)
    objects = MaskEncoding(make_custom_task("cells", ["cell"], kind="grey", instances=True))
    data = replace(own(), encoding=objects)
    if is_clear:
        assert all(labels[6:9, int(name)].all() and labels.max() == 3 for name, labels in read_all(data).items())
        assert len(read_all(data)) == n_images
        return
    for read in (lambda: check_folder_data(data), lambda: find_cases(data.images, data.masks)):
        with pytest.raises(MedSegError, match=r"may be labels or images.*Rename the files in them, such as object_1"):
            read()


def test_the_folder_of_the_images_is_no_label(tmp_path: Path, own: Make) -> None:
    put(tmp_path / "images" / "a.png", np.full(SHAPE, 200, np.uint8))
    put(tmp_path / "cyst" / "a.png", drawn() * 255)
    data = replace(own(), masks=tmp_path, encoding=MaskEncoding(make_custom_task("own", ["x"]), binarise=True))
    assert np.array_equal(read_all(data)["a"], drawn())


@pytest.mark.parametrize("by_label", [True, False])
def test_an_image_that_lacks_the_file_of_a_label_is_told(tmp_path: Path, own: Make, *, by_label: bool) -> None:
    for name in ("a", "b", "c"):
        put(tmp_path / "images" / f"{name}.png", noise(ord(name)))
        for label in ("cyst", "stone", "heart")[: 1 if name == "b" else 2 if name == "c" else 3]:
            put(tmp_path / "masks" / (f"{label}/{name}.png" if by_label else f"{name}/{label}.png"), drawn())
    lacking = [miss for miss in check_folder_data(own("cyst", "stone")).mismatches if "has no mask of" in miss.text]
    assert [(miss.kind, miss.name, miss.blocking) for miss in lacking] == [("reading", "b", False)]
    assert lacking[0].text == "it has no mask of stone, which others have; its pixels are taken as background"
    one_label = own("cyst")
    assert not [miss for miss in check_folder_data(one_label).mismatches if "has no mask of" in miss.text]


def test_numbered_objects_one_folder_deeper_do_not_become_one_object(tmp_path: Path, own: Make) -> None:
    numbered = drawn()
    numbered[15:20, 5:14] = 2
    soft = np.zeros(SHAPE, np.uint8)
    soft[3:12, 5:14], soft[2, 5:14] = 255, 120
    for name, mask in (("a", numbered), ("b", soft)):
        put(tmp_path / "images" / f"{name}.png", noise(ord(name)))
        put(tmp_path / "masks" / "nuclei" / f"{name}.png", mask)
    objects = MaskEncoding(make_custom_task("cells", ["cell"], kind="grey", instances=True))
    data = replace(own(), encoding=objects)
    found = check_folder_data(data)
    assert [(miss.kind, miss.name) for miss in found.blocking_mismatches] == [("unknown value", "a")]
    assert "choose the folder nuclei as the folder of masks" in found.blocking_mismatches[0].text
    assert [case.name for case in found.cases] == ["b"], "a drawing with soft borders is one object"
    inner = read_all(replace(data, masks=tmp_path / "masks" / "nuclei"))
    assert inner["a"].max() == 2


def test_labels_that_lie_over_each_other_are_told(tmp_path: Path, own: Make) -> None:
    put(tmp_path / "images" / "a.png", noise(1))
    for label, rows in (("cyst", slice(3, 12)), ("stone", slice(8, 20))):
        mask = np.zeros(SHAPE, np.uint8)
        mask[rows, 5:14] = 1
        put(tmp_path / "masks" / label / "a_mask.png", mask)
    data = own("cyst", "stone")
    (note,) = check_folder_data(data).mismatches
    assert note.text == "36 pixels have several labels; the last label of the task was taken"
    assert np.bincount(read_all(data)["a"].ravel())[1:].tolist() == [45, 108]


def test_names_pair_as_text_and_stay_one_group(tmp_path: Path, own: Make) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    put(tmp_path / "images" / f"{composed}_1.png", noise(1))
    put(tmp_path / "masks" / f"{decomposed}_1_mask.png", drawn())
    put(tmp_path / "images" / f"{decomposed}_2.png", noise(2))
    put(tmp_path / "masks" / f"{composed}_2.png", drawn())
    put(tmp_path / "images" / "x_1.png", noise(3))
    put(tmp_path / "masks" / "x_1.png", drawn())
    data = own(group_by="(.*)_", hold_out=(decomposed,))
    found = check_folder_data(data)
    assert not found.mismatches
    fill_run(data, found.cases, [], tmp_path / "run", RecipeOverrides(weights="none"))
    items = read_snapshot(tmp_path / "run" / "snapshot.json").items
    assert {item.name: item.role for item in items} == {
        f"own/{composed}_1": Role.HOLD_OUT,
        f"own/{composed}_2": Role.HOLD_OUT,
        "own/x_1": Role.TRAIN,
    }
    assert len({item.group for item in items}) == 2


def test_an_image_may_be_named_as_a_mask_if_its_mask_lies_beside_it(tmp_path: Path, own: Make) -> None:
    names = {"seg_1": "seg_1_mask", "label-free_2": "label-free_2_mask", "3": "seg_3"}
    for number, (image, mask) in enumerate(names.items()):
        put(tmp_path / f"{image}.png", noise(number))
        put(tmp_path / f"{mask}.png", drawn())
    found = check_folder_data(replace(own(), images=tmp_path, masks=tmp_path))
    assert not found.mismatches
    assert {case.name: get_stem(case.mask.path) for case in found.cases} == names


def test_several_masks_of_one_name_are_named(tmp_path: Path, own: Make) -> None:
    for name in ("a", "b"):
        put(tmp_path / "images" / f"{name}.png", noise(1))
        put(tmp_path / "masks" / f"{name}.png", drawn())
    put(tmp_path / "masks" / "b.tif", drawn())
    found = check_folder_data(own())
    assert [(miss.kind, miss.name, miss.text) for miss in found.mismatches] == [
        ("double", "b", "several masks have this name")
    ]


def test_a_header_that_differs_names_the_option_that_ignores_it(tmp_path: Path, own: Make) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    nib.save(nib.Nifti1Image(noise(1)[..., np.newaxis], np.diag([2.0, 2, 2, 1])), tmp_path / "images" / "a.nii")
    nib.save(nib.Nifti1Image(drawn()[..., np.newaxis], np.eye(4)), tmp_path / "masks" / "a.nii")
    (miss,) = check_folder_data(own()).mismatches
    assert (miss.kind, "add --same-voxels" in miss.text) == ("other header", True)
    assert len(read_all(own(placement=MaskPlacement(same_voxels=True)))) == 1


def test_masks_that_are_full_or_of_one_pixel_are_said(tmp_path: Path, own: Make) -> None:
    dot = np.zeros(SHAPE, np.uint8)
    dot[4, 4] = 1
    for name, mask in {"full": np.ones(SHAPE, np.uint8), "dot": dot, "good": drawn()}.items():
        put(tmp_path / "images" / f"{name}.png", noise(len(name)))
        put(tmp_path / "masks" / f"{name}.png", mask)
    put(tmp_path / "images" / "flat.png", np.full(SHAPE, 9, np.uint8))
    put(tmp_path / "masks" / "flat.png", drawn())
    found = check_folder_data(own())
    assert {(miss.kind, miss.name) for miss in found.mismatches} == {
        ("full", "full"),
        ("tiny", "dot"),
        ("constant image", "flat"),
    }
    assert found.can_train(skips=False)
    assert "only 1 pixel" in next(miss.text for miss in found.mismatches if miss.kind == "tiny")


@pytest.mark.parametrize(
    ("mask", "image", "why"),
    [
        (np.zeros(SHAPE, np.uint8), None, "nothing is labelled in all"),
        (np.full(SHAPE, 255, np.uint8), None, "one label covers all"),
        (drawn(), np.full(SHAPE, 7, np.uint8), "every pixel has the same value in all"),
    ],
)
def test_a_set_that_teaches_nothing_is_refused(
    tmp_path: Path, own: Make, mask: np.ndarray, image: np.ndarray | None, why: str
) -> None:
    for number in range(6):
        put(tmp_path / "images" / f"p{number}.png", noise(number) if image is None else image)
        put(tmp_path / "masks" / f"p{number}.png", mask)
    found = check_folder_data(own())
    (nothing,) = found.blocking_mismatches
    assert (nothing.kind, why in nothing.text) == ("nothing to learn", True)
    assert not found.can_train(skips=True)
    with pytest.raises(MedSegError, match=f"there is nothing to learn: {why}"):
        fill_run(own(), found.cases, [], tmp_path / "run", RecipeOverrides(weights="none"))
    assert not (tmp_path / "run").exists()


def test_a_label_that_does_not_occur_is_said_for_its_side(tmp_path: Path, own: Make) -> None:
    for number in range(4):
        put(tmp_path / "images" / f"p{number}.png", noise(number))
        put(tmp_path / "masks" / f"p{number}.png", drawn() * (2 if number == 3 else 1))
    found = check_folder_data(own("cyst", "vessel", "stone", hold_out=("p3",)))
    assert [miss.text.split(":")[0] for miss in found.mismatches if miss.kind == "does not occur"] == [
        "stone does not occur in any of the 4 images",
        "vessel does not occur in the training images, only in others",
        "cyst does not occur in the hold-out images",
    ]
