"""Sizes in the unit that the image allows, and as text that people read."""

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.tasks.bundled_tasks import TASKS, get_task

LUNGS = get_task("lungs")


def measured(shape: tuple[int, ...], spacing: tuple[float, ...] | None, counts: tuple[int, int]) -> list[str]:
    labels = np.zeros(shape, np.uint8)
    labels.flat[: counts[0]] = 1
    labels.flat[counts[0] : sum(counts)] = 2
    image = Image(labels, "ZYX"[3 - len(shape) :], spacing)
    found = measure_labels(labels, image, LUNGS)
    assert [m.label.name for m in found] == ["right lung", "left lung"]
    assert tuple(m.voxels for m in found) == counts
    return [m.text for m in found]


def test_volume_in_ml() -> None:
    assert measured((10, 50, 50), (5.0, 10.0, 10.0), (4826, 0)) == ["2,413 ml", "0 ml"]
    assert measured((10, 50, 50), (1.0, 1.0, 1.0), (2413, 40)) == ["2.4 ml", "40 mm³"]


def test_what_is_there_is_never_written_as_nothing() -> None:
    assert measured((10, 50, 50), (0.5, 0.25, 0.25), (1, 3000)) == ["0.031 mm³", "94 mm³"]
    assert measured((10, 50, 50), (0.001, 0.0005, 0.0005), (260, 4)) == ["65 µm³", "1.0 µm³"]
    assert measured((50, 50), (0.05, 0.05), (8, 20)) == ["0.02 mm²", "0.05 mm²"]
    assert measured((50, 50), (2e-5, 2e-5), (100, 2_000)) == ["0.04 µm²", "0.8 µm²"]


def test_area_in_square_millimetres() -> None:
    assert measured((50, 50), (0.5, 0.5), (400, 33)) == ["100 mm²", "8.2 mm²"]


def test_pixels_where_the_spacing_is_unknown() -> None:
    assert measured((50, 50), None, (1234, 5)) == ["1,234 px", "5 px"]
    assert measured((2, 50, 50), None, (7, 0)) == ["7 px", "0 px"]


def test_another_shape_is_refused() -> None:
    with pytest.raises(MedSegError, match="cannot be measured"):
        measure_labels(np.zeros((3, 4), np.uint8), Image(np.zeros((4, 3)), "YX"), LUNGS)


def test_objects_are_counted_and_their_mean_area_told() -> None:
    image = Image(np.zeros((50, 50, 3), np.uint8), "YXC", (0.00025, 0.00025), units="rgb")
    objects = np.zeros((50, 50), np.uint32)
    objects[:10, :10], objects[20:30, :20] = 3, 900
    (nuclei,) = measure_labels(objects, image, TASKS["nuclei"])
    assert (nuclei.count, nuclei.voxels) == (2, 300)
    assert nuclei.text == "2, mean 9.4 µm²"
    assert "2 objects" in nuclei.details
    (none,) = measure_labels(np.zeros((50, 50), np.uint32), image, TASKS["nuclei"])
    assert none.text == "0"


def test_lesions_are_told_as_a_share_of_each_lung() -> None:
    image = Image(np.zeros((2, 10, 40), np.int16), "ZYX", (10.0, 10.0, 10.0), units="HU")
    lungs, lesions = np.zeros((2, 2, 10, 40), np.uint8)
    lungs[:, :, :20], lungs[:, :, 20:30] = 1, 2
    lesions[:, :, 10:15] = 1
    lesions[:, :, 35:] = 1  # outside of the lungs: part of the volume, of no lung
    ground_glass, *_ = measure_labels(lesions, image, TASKS["covid"], lungs)
    assert ground_glass.value == pytest.approx(200.0)
    assert ground_glass.shares == (
        ("all lungs", pytest.approx(100 / 600)),
        ("right lung", pytest.approx(100 / 400)),
        ("left lung", 0.0),
    )
    assert ground_glass.text == "200 ml, 16.7 %"
    assert "25.0 % of right lung" in ground_glass.details


def test_a_small_lesion_is_no_share_of_nothing() -> None:
    image = Image(np.zeros((2, 10, 400), np.int16), "ZYX", (1.0, 1.0, 1.0), units="HU")
    lungs, lesions = np.zeros((2, 2, 10, 400), np.uint8)
    lungs[:] = 1
    lesions[0, 0, 0] = 1
    ground_glass, *_ = measure_labels(lesions, image, TASKS["covid"], lungs)
    assert ground_glass.text == "1.0 mm³, < 0.1 %"
