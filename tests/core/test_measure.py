"""Sizes in the unit that the image allows, and as text that people read."""

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.measure import measure
from napari_medseg.core.tasks import task_named

LUNGS = task_named("lungs")


def measured(shape: tuple[int, ...], spacing: tuple[float, ...] | None, counts: tuple[int, int]) -> list[str]:
    labels = np.zeros(shape, np.uint8)
    labels.flat[: counts[0]] = 1
    labels.flat[counts[0] : sum(counts)] = 2
    image = Image(labels, "ZYX"[3 - len(shape) :], spacing)
    found = measure(labels, image, LUNGS)
    assert [m.label.name for m in found] == ["right lung", "left lung"]
    assert tuple(m.voxels for m in found) == counts
    return [m.text for m in found]


def test_volume_in_ml() -> None:
    assert measured((10, 50, 50), (5.0, 10.0, 10.0), (4826, 0)) == ["2,413 ml", "0 ml"]
    assert measured((10, 50, 50), (1.0, 1.0, 1.0), (2413, 40)) == ["2.4 ml", "0.0 ml"]


def test_area_in_square_millimetres() -> None:
    assert measured((50, 50), (0.5, 0.5), (400, 33)) == ["100 mm²", "8.2 mm²"]


def test_pixels_where_the_spacing_is_unknown() -> None:
    assert measured((50, 50), None, (1234, 5)) == ["1,234 px", "5 px"]
    assert measured((2, 50, 50), None, (7, 0)) == ["7 px", "0 px"]


def test_another_shape_is_refused() -> None:
    with pytest.raises(MedSegError, match="cannot be measured"):
        measure(np.zeros((3, 4), np.uint8), Image(np.zeros((4, 3)), "YX"), LUNGS)
