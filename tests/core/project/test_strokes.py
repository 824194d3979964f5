"""Runs of voxels: packed from two arrays, written, compared, joined and cropped, as single voxels would be."""

from collections.abc import Iterator

import numpy as np
import pytest

from napari_medseg.core.project.strokes import (
    CHUNK_RUNS,
    VOXEL_RUN_DTYPE,
    Spans,
    Stroke,
    StrokeKind,
    find_edited_spans,
    have_values,
    join_spans,
    write_values,
)

SHAPE = (4, 9, 30)


def list_pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels before and after: nothing, all, single voxels at both ends, runs that touch, and large values."""
    rng = np.random.default_rng(0)
    zeros = np.zeros(SHAPE, np.uint8)
    yield zeros, zeros
    yield zeros, zeros + 1
    corners = zeros.copy()
    corners[0, 0, 0] = corners[-1, -1, -1] = 7
    yield zeros, corners
    yield corners, zeros
    dense = rng.integers(0, 3, SHAPE).astype(np.uint8)
    yield dense, rng.integers(0, 3, SHAPE).astype(np.uint8)
    many = np.zeros(4 * CHUNK_RUNS, np.uint16)
    yield many, np.where(np.arange(many.size) % 3 == 0, 60_000, many).astype(np.uint16)
    sparse = np.zeros(100_000, np.uint32)
    far = sparse.copy()
    far[[3, 4, 50_000, 99_999]] = 5, 70_000, 5, 5
    yield sparse, far


@pytest.mark.parametrize(("before", "after"), list_pairs())
def test_differences_are_packed_written_and_taken_back(before: np.ndarray, after: np.ndarray) -> None:
    stroke = Stroke.from_difference(StrokeKind.PAINT, before, after)
    places = np.flatnonzero(before != after)
    assert np.array_equal(stroke.indices, places)
    assert np.array_equal(stroke.old, before.reshape(-1)[places])
    assert np.array_equal(stroke.new, after.reshape(-1)[places])
    expected = Stroke.from_voxels(StrokeKind.PAINT, places, stroke.old, stroke.new)
    assert np.array_equal(stroke.voxel_runs, expected.voxel_runs)
    flat = before.reshape(-1).copy()
    assert have_values(flat, stroke.voxel_runs, "old")
    assert have_values(flat, stroke.voxel_runs, "new") == (not places.size)
    write_values(flat, stroke.voxel_runs, "new")
    assert np.array_equal(flat, after.reshape(-1))
    if places.size:
        flat[places[-1]] += 1
        assert not have_values(flat, stroke.voxel_runs, "new")
        flat[places[-1]] -= 1
    write_values(flat, stroke.voxel_runs, "old")
    assert np.array_equal(flat, before.reshape(-1))


def test_a_value_that_the_labels_cannot_hold_is_not_there() -> None:
    runs = np.array([(0, 4, 0, 256)], VOXEL_RUN_DTYPE)
    assert not have_values(np.zeros(8, np.uint8), runs, "new")


def test_runs_that_do_not_ascend_are_written_too() -> None:
    """Of a journal that something else wrote."""
    runs = np.array([(5, 2, 0, 1), (0, 6, 0, 2)], VOXEL_RUN_DTYPE)
    flat = np.zeros(8, np.uint8)
    write_values(flat, runs, "new")
    assert flat.tolist() == [2, 2, 2, 2, 2, 2, 1, 0]


def test_spans_join_crop_contain_and_know_their_planes() -> None:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 900, 40)
    stop = start + rng.integers(1, 30, 40)
    mask = np.zeros(1080, np.bool_)
    for low, high in zip(start.tolist(), stop.tolist(), strict=True):
        mask[low:high] = True
    spans = join_spans(start, stop)
    assert np.array_equal(spans.expand(), np.flatnonzero(mask))
    assert spans.n_voxels == mask.sum()
    assert (spans.start[1:] > spans.stop[:-1]).all()
    assert np.array_equal(spans.make_mask((4, 270)), mask.reshape(4, 270))
    assert np.array_equal(spans.contain(np.arange(1080)), mask)
    assert np.array_equal(spans.crop(100, 433).expand(), np.flatnonzero(mask[100:433]))
    assert spans.list_planes(60) == np.unique(np.flatnonzero(mask) // 60).tolist()
    other = Spans(np.array([5, 1000]), np.array([7, 1080]))
    mask[5:7] = mask[1000:] = True
    assert np.array_equal(spans.join(other).expand(), np.flatnonzero(mask))


def test_no_voxels_are_a_span_too() -> None:
    nothing = find_edited_spans([])
    assert nothing.n_voxels == 0
    assert nothing.list_planes(10) == []
    assert not nothing.contain(np.arange(3)).any()
    assert not nothing.make_mask((2, 3)).any()
    assert nothing.join(Spans(np.array([1]), np.array([2]))).expand().tolist() == [1]


def test_a_single_far_voxel_makes_a_mask() -> None:
    spans = Spans(np.array([0, 99_999]), np.array([1, 100_000]))
    assert np.flatnonzero(spans.make_mask((100_000,))).tolist() == [0, 99_999]
