"""Checks: swapped sides block, slips are named, sound labels pass."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import Finding, check_labels, has_swapped_sides, swap_sides
from napari_medseg.core.tasks.bundled_tasks import TASKS, get_task

LUNGS = get_task("lungs")
SAMPLES = Path(formats.__file__).parents[2] / "samples"


def two_lungs(shape: tuple[int, ...] = (20, 40)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[..., 4:16, 5:17] = 1
    labels[..., 4:16, 23:35] = 2
    return labels


def image_for(labels: np.ndarray, affine: np.ndarray | None = None) -> Image:
    return Image(np.zeros(labels.shape, np.int16), "ZYX"[3 - labels.ndim :], affine=affine)


def kinds(labels: np.ndarray) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check_labels(labels, LUNGS, image_for(labels))}


@pytest.mark.parametrize("shape", [(20, 40), (6, 20, 40)])
def test_sound_labels_have_no_findings(shape: tuple[int, ...]) -> None:
    assert kinds(two_lungs(shape)) == {}


@pytest.mark.parametrize("shape", [(20, 40), (6, 20, 40)])
def test_swapped_sides_block_and_can_be_swapped_back(shape: tuple[int, ...]) -> None:
    labels = two_lungs(shape)
    swapped = swap_sides(labels, LUNGS)
    assert swapped.dtype == labels.dtype
    assert has_swapped_sides(swapped, LUNGS)
    assert not has_swapped_sides(labels, LUNGS)
    finding = kinds(swapped)["sides"]
    assert finding.blocking
    assert finding.text.startswith("right lung and left lung are exchanged")
    np.testing.assert_array_equal(swap_sides(swapped, LUNGS), labels)
    np.testing.assert_array_equal(labels, two_lungs(shape))


def test_a_mirrored_image_is_swapped() -> None:
    assert has_swapped_sides(two_lungs()[:, ::-1], LUNGS)
    assert not has_swapped_sides(two_lungs()[::-1], LUNGS)


def test_one_lung_alone_says_nothing_of_sides() -> None:
    for side in (1, 2):
        labels = two_lungs()
        labels[labels == side] = 0
        assert not has_swapped_sides(labels, LUNGS)
        assert not has_swapped_sides(labels[:, ::-1], LUNGS)


def test_columns_of_a_sagittal_plane_are_no_sides() -> None:
    swapped = swap_sides(two_lungs(), LUNGS)
    sagittal = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    assert check_labels(swapped, LUNGS, image_for(swapped, sagittal)) == []
    axial = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    assert [f.kind for f in check_labels(swapped, LUNGS, image_for(swapped, axial))] == ["sides"]


def test_another_shape_is_the_only_finding() -> None:
    labels = two_lungs()
    findings = check_labels(labels, LUNGS, image_for(labels[1:]))
    assert [(finding.kind, finding.blocking) for finding in findings] == [("shape", True)]


def test_unknown_values_block() -> None:
    labels = two_lungs()
    labels[0, 0], labels[0, 1] = 7, 200
    finding = kinds(labels)["values"]
    assert finding.blocking
    assert (
        "the values 7, 200 are no labels of Lungs (CT, X-ray), which has 1 (right lung), 2 (left lung)" in finding.text
    )


def test_empty_and_full_are_told() -> None:
    empty = kinds(np.zeros((20, 40), np.uint8))
    assert (list(empty), empty["empty"].blocking) == (["empty"], False)
    assert "right lung covers the whole image" in kinds(np.ones((20, 40), np.uint8))["full"].text


@pytest.mark.parametrize("shape", [(20, 40), (6, 20, 40)])
def test_specks_and_holes_are_counted(shape: tuple[int, ...]) -> None:
    labels = two_lungs(shape)
    first = (slice(2, 3),) * (len(shape) - 2)
    labels[(*first, 1, 1)] = 1
    labels[(*first, 18, 38)] = 1
    labels[(*first, 8, 8)] = 0
    labels[(*first, 8, 28)] = 0
    labels[(*first, 12, 28)] = 0
    findings = check_labels(labels, LUNGS, image_for(labels))
    assert [finding.text for finding in findings] == [
        "right lung has 2 specks (smallest 1 px)",
        "right lung has 1 hole",
        "left lung has 2 holes",
    ]
    assert not any(finding.blocking for finding in findings)


def test_a_large_second_piece_is_no_speck() -> None:
    labels = two_lungs()
    labels[10, :] = 0
    assert kinds(labels) == {}


def test_bundled_labels_are_sound() -> None:
    for path in sorted((SAMPLES / "ct_a0001" / "dicom").iterdir()):
        image = formats.read(path)
        labels = formats.read_labels(SAMPLES / "ct_a0001" / "labels" / f"{path.stem}.tif", image)
        assert not any(finding.blocking for finding in check_labels(labels, LUNGS, image))
        swapped = check_labels(swap_sides(labels, LUNGS), LUNGS, image)
        assert [finding.kind for finding in swapped if finding.blocking] == ["sides"]


def test_numbered_objects_are_checked_as_objects() -> None:
    task = TASKS["nuclei"]
    image = Image(np.zeros((40, 40, 3), np.uint8), "YXC", units="rgb")
    objects = np.zeros((40, 40), np.uint32)
    assert [finding.kind for finding in check_labels(objects, task, image)] == ["empty"]
    objects[2:8, 2:8], objects[20:30, 20:30] = 5, 70_000
    assert check_labels(objects, task, image) == []
    objects[35:38, 2:4] = 5
    (broken,) = check_labels(objects, task, image)
    assert (broken.kind, broken.blocking) == ("specks", False)
    assert "1 nucleus in several pieces" in broken.text


def test_labels_on_the_empty_frame_are_told() -> None:
    labels = two_lungs()
    pixels = np.random.default_rng(0).integers(10, 200, labels.shape).astype(np.uint8)
    pixels[:, :8] = 0
    framed = Image(pixels, "YX")
    (finding,) = check_labels(labels, LUNGS, framed)
    assert (finding.kind, finding.blocking) == ("off", False)
    assert finding.text.startswith("12% of the labelled pixels")
    pixels[:, 7] = 50
    pixels[5:15, 6:8] = 0
    pixels[:, :5] = 30
    assert check_labels(labels, LUNGS, Image(pixels, "YX")) == [], "dark lungs are no frame"


def test_touching_nuclei_drawn_as_one_are_told() -> None:
    task = TASKS["nuclei"]
    y, x = np.mgrid[:200, :200]
    objects = np.zeros((200, 200), np.uint32)
    for number in range(12):
        top, left = 20 + 45 * (number // 4), 20 + 45 * (number % 4)
        objects[(y - top) ** 2 + (x - left) ** 2 < 81] = number + 1
    image = Image(np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8), "YXC", units="rgb")
    assert check_labels(objects, task, image) == []
    for number in (2, 9):
        top, left = 20 + 45 * (number // 4), 20 + 45 * (number % 4)
        objects[(y - top) ** 2 + (x - left - 16) ** 2 < 81] = number + 1
    (finding,) = check_labels(objects, task, image)
    assert finding.kind == "joined"
    assert finding.text.startswith("2 objects with a waist")
