"""Components of runs are those of a voxel-wise labelling."""

import numpy as np
import pytest
from scipy import ndimage

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
