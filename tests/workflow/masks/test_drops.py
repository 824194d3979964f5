"""Which dropped files are masks: by names, folders, and what the pixels look like."""

from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core.image import Image
from napari_medseg.workflow.masks.drops import looks_like_mask, split_drop


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


@pytest.mark.parametrize(
    ("names", "pairs", "images", "masks"),
    [
        (["a.png", "a_mask.png"], [("a.png", "a_mask.png")], [], []),
        (["ct.nii.gz", "ct_seg.nii.gz", "b.nii.gz"], [("ct.nii.gz", "ct_seg.nii.gz")], ["b.nii.gz"], []),
        (["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"], [("a_0000.nii.gz", "a.nii.gz")], [], []),
        (["x/a_0000.nii.gz", "y/a.nii.gz"], [("a_0000.nii.gz", "a.nii.gz")], [], []),
        (["images/a.png", "masks/a.png"], [("a.png", "a.png")], [], []),
        (["s/1.dcm", "s/2.dcm", "mask.nii.gz"], [], ["1.dcm", "2.dcm"], ["mask.nii.gz"]),
        (["seg_1.png", "seg_1_mask.png"], [("seg_1.png", "seg_1_mask.png")], [], []),
        (["1.png", "seg_1.png", "label-free.png"], [("1.png", "seg_1.png")], ["label-free.png"], []),
        (["a_segmentation.tif"], [], [], ["a_segmentation.tif"]),
        (["a.png", "b.png"], [], ["a.png", "b.png"], []),
        (["slice_1.png", "slice_2.png"], [], ["slice_1.png", "slice_2.png"], []),
        (["masks_report.dcm"], [], ["masks_report.dcm"], []),
    ],
)
def test_files_are_told_apart_by_their_names(
    tmp_path: Path, names: list[str], pairs: list[tuple[str, str]], images: list[str], masks: list[str]
) -> None:
    found = split_drop(touch(tmp_path, *names))
    assert [(pair.image.name, pair.mask.path.name) for pair in found.pairs] == pairs
    assert [path.name for path in found.images] == images
    assert [path.name for path in found.masks] == masks


@pytest.mark.parametrize(
    ("names", "dropped"),
    [
        (["images/a.png", "masks/a.png"], ["images", "masks"]),
        (["imagesTr/a_0000.png", "labelsTr/a.png"], ["labelsTr", "imagesTr"]),
        (["set/images/a.png", "set/labels/a.png"], ["set"]),
        (["set/a.png", "set/masks/a_mask.png"], ["set"]),
    ],
)
def test_a_folder_pair_is_two_folders_or_one_that_holds_both(
    tmp_path: Path, names: list[str], dropped: list[str]
) -> None:
    touch(tmp_path, *names)
    found = split_drop([tmp_path / name for name in dropped])
    assert [pair.image.name for pair in found.pairs] == [Path(names[0]).name]
    assert found.images == ()


def test_other_folders_are_images(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "two/a.png", "set/masks/z.png", "set/a.png")
    for dropped in (["one", "two"], ["one"], ["set"]):
        paths = tuple(tmp_path / name for name in dropped)
        assert split_drop(paths).images == paths, "no name fits"


def test_labels_look_like_labels_and_images_do_not() -> None:
    assert looks_like_mask(Image(phantom_labels(), "YX"))
    assert looks_like_mask(Image(np.stack([phantom_labels() * 100] * 3).astype(np.uint16), "ZYX"))
    assert not looks_like_mask(phantom(1))
    assert not looks_like_mask(Image(np.zeros((8, 8), np.uint8), "YX"))
    assert not looks_like_mask(Image(phantom_labels().astype(np.float32), "YX"))
    assert not looks_like_mask(Image(np.zeros((8, 8, 3), np.uint8), "YXC"))
