"""Labels of other images are told by their outlines; sound ones, and few ones, are left in peace."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_mixups import find_label_mixups, make_edge_thumbnail

XRAY = Path(formats.__file__).parents[2] / "samples" / "xray"


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Image, np.ndarray]]:
    images = [formats.read(path) for path in sorted((XRAY / "images").iterdir())]
    return [(one, formats.read_labels(XRAY / "labels" / f"{Path(one.name).stem}.png", one)) for one in images]


@pytest.mark.parametrize("by", [1, 3, 5])
def test_shuffled_labels_are_told_and_sound_ones_are_not(pairs: list[tuple[Image, np.ndarray]], by: int) -> None:
    for first in (0, 8, 16):
        group = pairs[first : first + 8]
        assert find_label_mixups([make_edge_thumbnail(image, labels) for image, labels in group]) == {}
        shuffled = [make_edge_thumbnail(image, group[(index + by) % 8][1]) for index, (image, _) in enumerate(group)]
        found = find_label_mixups(shuffled)
        assert len(found) >= 4
        hits = sum(other == (own - by) % 8 for own, other in found.items())
        assert hits >= len(found) / 2, "most point to the case that has their labels now"


def test_few_or_empty_labels_say_nothing(pairs: list[tuple[Image, np.ndarray]]) -> None:
    shuffled = [make_edge_thumbnail(image, pairs[(index + 1) % 3][1]) for index, (image, _) in enumerate(pairs[:3])]
    assert find_label_mixups(shuffled) == {}
    assert find_label_mixups([make_edge_thumbnail(image, np.zeros_like(labels)) for image, labels in pairs[:8]]) == {}
    assert find_label_mixups([]) == {}


def test_a_volume_is_drawn_where_most_is_labelled() -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 40, 50)).astype(np.uint8)
    labels = np.zeros(pixels.shape, np.uint8)
    labels[1, 10:30, 10:30] = 1
    labels[2, 5:8, 5:8] = 1
    volume, plane = (
        make_edge_thumbnail(Image(pixels, "ZYX"), labels),
        make_edge_thumbnail(Image(pixels[1], "YX"), labels[1]),
    )
    assert np.array_equal(volume.label_outline, plane.label_outline)
    assert np.array_equal(volume.gradient_magnitude, plane.gradient_magnitude)
