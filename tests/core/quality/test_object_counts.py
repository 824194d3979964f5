"""Numbered objects are counted in one pass, however they are numbered."""

import tracemalloc

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.quality.instance_checks import find_fragmented_objects, find_merged_objects
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.quality.object_counts import (
    count_object_pixels,
    count_pieces,
    iterate_objects,
    renumber_consecutively,
)
from napari_medseg.core.tasks.bundled_tasks import get_task
from training.data.instance_targets import compute_depth_classes

OBJECTS = np.array([[5, 5, 0, 9], [0, 0, 0, 9], [5, 0, 9, 0]])
"""Object 5 in two pieces; those of object 9 touch at a corner."""


@pytest.mark.parametrize("largest", [9, 4_000_000_000])
@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_objects_are_counted_whatever_their_numbers(largest: int, dtype: type[np.integer]) -> None:
    labels = np.where(OBJECTS == 9, largest, OBJECTS).astype(dtype)
    numbers, counts = count_object_pixels(labels)
    assert numbers.tolist() == [5, largest]
    assert counts.tolist() == [3, 3]
    numbered, n_objects = renumber_consecutively(labels)
    assert n_objects == 2
    np.testing.assert_array_equal(numbered, np.where(OBJECTS == 9, 2, np.minimum(OBJECTS, 1)))
    assert count_pieces(labels).tolist() == [2, 1]
    assert [int(inside.sum()) for _, inside in iterate_objects(labels)] == [3, 3]


def test_nothing_labelled_is_no_object() -> None:
    empty = np.zeros((3, 4), np.uint32)
    assert count_object_pixels(empty)[0].size == 0
    assert count_pieces(empty).size == 0
    assert not list(iterate_objects(empty))


def test_one_object_with_a_huge_number_takes_no_table_of_all_numbers() -> None:
    labels = np.zeros((64, 64), np.uint32)
    labels[8:20, 8:20] = 4_294_967_295
    task, image = get_task("nuclei"), Image(np.full(labels.shape, 7, np.uint8), "YX")
    tracemalloc.start()
    assert find_fragmented_objects(labels).size == find_merged_objects(labels).size == 0
    assert compute_object_scores(labels, labels).aji == 1.0
    assert check_labels(labels, task, image) == []
    assert measure_labels(labels, image, task)[0].count == 1
    assert np.count_nonzero(compute_depth_classes(labels, (0.1, 0.5))) == 144
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
