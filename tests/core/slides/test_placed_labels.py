"""Labels of fields at their places on the slide."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.slides.fields import Field
from napari_medseg.core.slides.placed_labels import SMALL_PX, PlacedLabels, PlacedLevel
from napari_medseg.core.slides.shown_levels import ShownLevel
from napari_medseg.core.slides.slide import Level

FILE_LEVELS = (Level(4000, 5000, 1.0), Level(1000, 1250, 4.0))
SHOWN = (
    ShownLevel(4000, 5000, 1.0, 0, 1),
    ShownLevel(2000, 2500, 2.0, 0, 2),
    ShownLevel(1000, 1250, 4.0, 1, 1),
    ShownLevel(250, 313, 16.0, 1, 4),
)
SLIDE = Path("/data/a.svs")


@pytest.fixture
def labels() -> PlacedLabels:
    return PlacedLabels(FILE_LEVELS, SHOWN)


def test_labels_lie_where_their_field_lies_at_every_level(labels: PlacedLabels) -> None:
    random = np.random.default_rng(0)
    fine = random.integers(0, 900, (300, 200)).astype(np.uint16)
    coarse = np.repeat(np.repeat(random.integers(1, 9, (10, 10)), 10, axis=0), 10, axis=1).astype(np.uint8)
    labels.put(1, Field(SLIDE, 0, 1000, 2000, 300, 200), fine)
    labels.put(2, Field(SLIDE, 1, 400, 800, 100, 100), coarse)
    level = PlacedLevel(labels, 0)
    assert level.shape == (4000, 5000)
    assert np.array_equal(level[1000:1300, 2000:2200], fine)
    assert np.array_equal(level[990:1010, 1990:2010], np.pad(fine[:10, :10], ((10, 0), (10, 0))))
    assert np.array_equal(level[400:800:4, 800:1200:4], coarse)
    assert np.array_equal(PlacedLevel(labels, 2)[100:200, 200:300], coarse)
    assert np.array_equal(PlacedLevel(labels, 1)[500:650, 1000:1100], fine[1::2, 1::2])
    assert not level[:400].any()


def test_seen_from_afar_the_small_labels_are_enough(labels: PlacedLabels) -> None:
    large = np.zeros((1600, 1600), np.uint16)
    large[:800] = 3
    large[800:, 800:] = 7
    labels.put(1, Field(SLIDE, 0, 1600, 1600, 1600, 1600), large)
    seen = PlacedLevel(labels, 3)[100:200, 100:200]
    assert np.array_equal(seen, np.repeat(np.repeat([[3, 3], [0, 7]], 50, axis=0), 50, axis=1))
    assert not labels._unpacked  # nothing of full size was unpacked
    assert max(labels._placed[1].small.shape) <= SMALL_PX


def test_new_labels_of_a_field_replace_the_old_ones_and_large_numbers_stay_visible(labels: PlacedLabels) -> None:
    field = Field(SLIDE, 0, 0, 0, 2, 2)
    labels.put(1, field, np.array([[0, 65535], [65536, 70000]], np.uint32))
    assert PlacedLevel(labels, 0)[:2, :2].tolist() == [[0, 65535], [1, 70000 - 65535]]
    labels.put(1, field, np.array([[5, 0], [0, 0]], np.uint8))
    assert PlacedLevel(labels, 0)[:2, :2].tolist() == [[5, 0], [0, 0]]
    labels.drop(1)
    assert (len(labels), PlacedLevel(labels, 0)[:2, :2].any()) == (0, False)
