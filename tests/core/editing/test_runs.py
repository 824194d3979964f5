"""Components of runs are those of a voxel-wise labelling."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing import runs
from napari_medseg.core.editing.runs import fill_runs, find_components, find_runs


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 9), (40, 50), (1, 30, 30), (12, 20, 25)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("full", [True, False])
def test_components_of_a_mask(shape: tuple[int, ...], share: float, full: bool) -> None:
    mask = np.random.default_rng(1).random(shape) < share
    structure = ndimage.generate_binary_structure(len(shape), len(shape) if full else 1)
    expected, n = ndimage.label(mask, structure)
    components = find_components(mask, full=full)
    assert components.n == n
    assert sorted(components.sizes) == sorted(np.bincount(expected.ravel())[1:])
    for component in range(min(n, 5)):
        painted = components.paint(np.arange(n) == component)
        assert np.unique(expected[painted]).size == 1
        assert np.count_nonzero(painted) == components.sizes[component]
        box = components.find_box(component)
        assert painted[box].sum() == painted.sum()


def test_touching_labels_are_not_connected() -> None:
    labels = np.array([[1, 1, 2], [0, 3, 2], [1, 0, 70_000]], np.uint32)
    components = find_components(labels)
    assert sorted(components.sizes) == [1, 1, 1, 2, 2]
    assert components.find_at((1, 0)) == -1
    assert components.find_at((0, 2)) == components.find_at((1, 2)) != components.find_at((0, 1))


def test_runs_round_trip() -> None:
    mask = np.random.default_rng(2).random((5, 6, 9)) < 0.6
    assert np.array_equal(fill_runs(*find_runs(mask), mask.shape), mask)


@pytest.mark.parametrize("slab_voxels", [1, 60, 1 << 19])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("shape", [(9, 13), (5, 4, 7), (3, 1, 1), (0, 4)])
def test_runs_by_slabs_are_those_of_a_slow_search(
    shape: tuple[int, ...], dtype: type, slab_voxels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SLAB_VOXELS", slab_voxels)
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 2, 4, 6], shape).astype(dtype)
    values = rng.choice([2, 4, 6, 7], shape).astype(np.uint16)
    found = list(zip(*find_runs(labels), strict=True))
    assert found == _list_runs(labels, np.zeros(shape))
    if dtype is np.bool_:
        found = list(zip(*find_runs(labels, values), strict=True))
        assert found == _list_runs(labels, values)


def _list_runs(labels: NDArray[Any], values: NDArray[Any]) -> list[tuple[int, int]]:
    """Runs of equal label above 0 and equal value in one row, found voxel by voxel."""
    flat, other, found, width = labels.ravel(), values.ravel(), [], labels.shape[-1]
    for at in range(flat.size):
        goes_on = at % width and flat[at] == flat[at - 1] and other[at] == other[at - 1]
        if flat[at] and goes_on:
            found[-1] = found[-1][0], at + 1
        elif flat[at]:
            found.append((at, at + 1))
    return found
