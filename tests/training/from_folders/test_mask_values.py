"""What the values of masks mean: several to a label, one for nobody knows, and drawings with smooth borders."""

import numpy as np
import pytest
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.from_folders.mask_files import UnknownValueError
from training.from_folders.mask_values import (
    IGNORED_OBJECT,
    MaskEncoding,
    binarise_mask,
    convert_mask_to_labels,
    describe_soft_borders,
    has_soft_borders,
)

ONE = make_custom_task("one", ["lung"], kind="grey")
TWO = make_custom_task("two", ["lung", "heart"], kind="grey")
CELLS = make_custom_task("cells", ["nucleus"], kind="histology", instances=True)


def disc(radius: float = 8.0) -> np.ndarray:
    rows, columns = np.ogrid[:32, :32]
    return (rows - 16) ** 2 + (columns - 16) ** 2 <= radius**2


def test_several_values_can_mean_one_label() -> None:
    mask = np.array([[0, 31, 32, 40]], np.uint16)
    assert convert_mask_to_labels(mask, MaskEncoding(TWO, ((31, 32), (40,)))).tolist() == [[0, 1, 1, 2]]
    with pytest.raises(UnknownValueError, match=r"values 7 are unknown; known are .*31 \(lung\), 32 \(lung\), 40"):
        convert_mask_to_labels(mask + np.array([[7, 0, 0, 0]], np.uint16), MaskEncoding(TWO, ((31, 32), (40,))))


def test_what_nobody_decided_is_neither_label_nor_background() -> None:
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    assert convert_mask_to_labels(mask, MaskEncoding(TWO, ignore=255)).tolist() == [[0, 1, 2, 255]]
    assert convert_mask_to_labels(mask, MaskEncoding(TWO, ((1,), (255,)), ignore=2)).tolist() == [[0, 1, 255, 2]]
    assert convert_mask_to_labels(mask, MaskEncoding(ONE, binarise=True, ignore=2)).tolist() == [[0, 1, 255, 1]]
    with pytest.raises(UnknownValueError, match=r"values 9 are unknown; .* 255 \(unlabelled\)"):
        convert_mask_to_labels(np.array([[9]], np.uint8), MaskEncoding(TWO, ignore=255))
    objects = convert_mask_to_labels(np.array([[0, 255, 254, 7]], np.uint8), MaskEncoding(CELLS, ignore=7))
    assert objects.tolist() == [[0, 255, 254, IGNORED_OBJECT]], "an object may have the number 255"
    with pytest.raises(UnknownValueError, match="JPEG does not keep values exactly"):
        convert_mask_to_labels(mask, MaskEncoding(ONE, binarise=True, ignore=255), exact=False)


@pytest.mark.parametrize(
    ("task", "said", "message"),
    [
        (TWO, {"values": ((1,),)}, "names 1 values for 2 labels"),
        (TWO, {"values": ((1, 2), (2,))}, r"names \[2\] more than once"),
        (TWO, {"values": ((0,), (2,))}, "names 0, which is the background"),
        (TWO, {"binarise": True}, "for one label, but there are 2"),
        (ONE, {"binarise": True, "values": ((5,),)}, "--values cannot be used: --binarise"),
        (CELLS, {"values": ((5,),)}, "the values number the objects"),
        (TWO, {"ignore": 2}, "--ignore cannot be 2: 2 is a label"),
        (TWO, {"ignore": 0}, "0 is the background"),
        (TWO, {"ignore": 9, "values": ((9,), (2,))}, "9 is a label"),
    ],
)
def test_contradictions_are_refused(task: object, said: dict[str, object], message: str) -> None:
    with pytest.raises(MedSegError, match=message):
        MaskEncoding(task, **said)


def test_smoothed_borders_are_cut_in_the_middle_and_other_values_all_count() -> None:
    drawn = disc()
    smooth = np.rint(ndimage.gaussian_filter(drawn.astype(float), 0.7) * 255).astype(np.uint8)
    smooth = np.where(ndimage.binary_erosion(drawn), 255, smooth)
    assert has_soft_borders(smooth)
    rim = ndimage.binary_dilation(drawn) & ~drawn
    assert (binarise_mask(np.where(rim, 128 - 1, drawn * 255)) == drawn).all(), "one grey, a pixel wide"
    assert (binarise_mask(smooth) == (smooth > 127)).all()
    assert (binarise_mask(smooth / np.float32(255)) == (smooth > 127)).all(), "shares of 1 as well"
    rings = np.where(drawn, 85, 0) + np.where(disc(5), 170, 0)
    assert not has_soft_borders(rings), "thick rings are values of their own"
    assert (binarise_mask(rings) == drawn).all()
    numbers = np.arange(32 * 32).reshape(32, 32) % 256
    assert (binarise_mask(numbers) == (numbers > 0)).all(), "as are numbers of objects"
    assert (binarise_mask(drawn.astype(np.uint8)) == drawn).all()
    noisy = np.where(drawn, 250, 3)
    assert (binarise_mask(noisy, exact=False) == drawn).all(), "JPEG"
    assert not binarise_mask(np.zeros((4, 4), np.uint8), exact=False).any()
    assert describe_soft_borders(smooth, MaskEncoding(ONE, binarise=True)) == (
        "its borders are soft; values above 127.5 became the label"
    )
    assert describe_soft_borders(rings, MaskEncoding(ONE, binarise=True)) == ""


def test_a_drawing_of_objects_is_parted_where_they_do_not_touch() -> None:
    mask = np.array([[30, 30, 0, 90]], np.uint8)
    assert convert_mask_to_labels(mask, MaskEncoding(CELLS, binarise=True)).tolist() == [[1, 1, 0, 2]]
    assert convert_mask_to_labels(mask, MaskEncoding(CELLS)).tolist() == mask.tolist()


@pytest.mark.parametrize("white", [255, 65535, 2**32 - 1])
def test_the_largest_value_means_the_only_label(white: int) -> None:
    mask = np.array([[0, white]], np.uint32)
    assert convert_mask_to_labels(mask, MaskEncoding(ONE)).tolist() == [[0, 1]]
    with pytest.raises(UnknownValueError, match=f"the values {white} are unknown"):
        convert_mask_to_labels(mask, MaskEncoding(TWO))


@pytest.mark.parametrize(
    ("task", "mask", "advice"),
    [
        (ONE, [0, 128], r"Add --binarise if all values except 0 are lung, or name its values: --values 128$"),
        (ONE, [0, 1, 255], r"--values 1\+255, or --ignore 255 if that marks unlabelled pixels$"),
        (TWO, [0, 128, 255], r"such as --values 128,255 for lung, heart, or --ignore 255"),
        (TWO, [0, 9], r"such as --values 1,2 for lung, heart$"),
    ],
)
def test_odd_values_are_answered_with_the_options_that_explain_them(task: object, mask: list[int], advice: str) -> None:
    with pytest.raises(UnknownValueError, match=advice):
        convert_mask_to_labels(np.array([mask], np.uint8), MaskEncoding(task))


def test_values_near_black_and_white_are_a_drawing_that_was_compressed() -> None:
    noise = np.random.default_rng(0).integers(0, 6, (32, 32))
    noise[0, 0] = 0
    mask = np.where(disc(), 255 - noise, noise).astype(np.uint8)
    assert (binarise_mask(mask) == disc()).all(), "no noise becomes a label"
    with pytest.raises(UnknownValueError, match="soft borders of a drawing: add --binarise"):
        convert_mask_to_labels(mask, MaskEncoding(ONE))
    assert not binarise_mask(noise.astype(np.uint8), exact=False).any(), "a JPEG without a drawing is empty"
    assert "add --binarise if so" in describe_soft_borders(mask, MaskEncoding(CELLS))
    numbers = np.zeros((32, 32), np.uint8)
    numbers[:4] = np.arange(128).reshape(4, 32)
    assert describe_soft_borders(numbers, MaskEncoding(CELLS)) == ""
