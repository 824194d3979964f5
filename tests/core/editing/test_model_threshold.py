"""A label or a piece grows and shrinks along the model's probability."""

from typing import Any

import numpy as np
import pytest
from editing_phantoms import LESIONS, LUNGS, NUCLEI, apply, freeze
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.model_threshold import (
    get_relative_probability,
    threshold_label,
    threshold_label_in_plane,
    threshold_piece,
)
from napari_medseg.core.editing.pieces import find_piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError


def make_cone(
    shape: tuple[int, ...] = (60, 60), centres: tuple[tuple[int, ...], ...] = ((30, 20),)
) -> NDArray[np.float32]:
    """Probability that falls from 1 by 0.05 for each pixel of distance."""
    grid = np.indices(shape).astype(np.float32)
    distance = np.min(
        [np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))) for centre in centres], axis=0
    )
    return np.clip(1 - 0.05 * distance, 0, 1).astype(np.float32)


def make_canvas(own: NDArray[np.float32], dtype: Any = np.float32, n_classes: int = 2) -> Canvas:
    probability = np.zeros((n_classes, *own.shape), np.float32)
    probability[0], probability[1] = 1 - own, own
    if dtype == np.uint8:
        probability = (probability * 255).round().astype(np.uint8)
    return Canvas(freeze((own >= 0.5).astype(np.uint8)), LUNGS if n_classes < 4 else LESIONS, probability=probability)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("threshold", [0.2, 0.34, 0.66, 0.88])
def test_piece_follows_the_probability(dtype: Any, n_classes: int, threshold: float) -> None:
    own = make_cone()
    canvas = make_canvas(own, dtype, n_classes)
    moved = apply(canvas, threshold_piece(canvas, find_piece(canvas.labels, (30, 20)), threshold))
    assert np.count_nonzero((moved == 1) != (own >= threshold)) <= (0 if dtype == np.float32 else 12)


def test_only_the_piece_under_the_cursor_moves_and_the_label_everywhere() -> None:
    own = make_cone((60, 120), ((30, 20), (30, 90)))
    canvas = make_canvas(own)
    edit = threshold_piece(canvas, find_piece(canvas.labels, (30, 20)), 0.3)
    assert not edit.render_plane().mask[:, 60:].any()
    assert edit.message.startswith("right lung at threshold 0.30: +")
    assert 2 * edit.n_voxels == threshold_label(canvas, 1, 0.3).n_voxels
    assert np.array_equal(apply(canvas, threshold_label(canvas, 1, 0.7)) == 1, own >= 0.7)


def test_growth_stops_at_other_labels_and_a_hand_painted_part_stays_when_it_grows() -> None:
    own = make_cone()
    labels = (own >= 0.5).astype(np.uint8)
    labels[30, 31:34] = 1  # by hand, where the model sees little
    labels[:18] = 2
    canvas = Canvas(labels, LUNGS, probability=make_canvas(own).probability)
    moved = apply(canvas, threshold_piece(canvas, find_piece(labels, (30, 20)), 0.3))
    assert (moved[:18] == 2).all()
    assert (moved[30, 31:34] == 1).all()


def test_planar_and_whole_piece_of_a_volume() -> None:
    own = make_cone((21, 50, 50), ((10, 25, 25),))
    canvas = make_canvas(own, np.uint8)
    planar = threshold_piece(canvas, find_piece_in_plane(canvas.labels, (10, 25, 25)), 0.3)
    assert list(planar.planes) == [10]
    whole = threshold_piece(canvas, find_piece(canvas.labels, (10, 25, 25)), 0.3)
    assert planar.n_voxels == np.count_nonzero(whole.render_plane(10).mask)
    assert planar.n_voxels == threshold_label_in_plane(canvas, 1, 0.3, plane=10).n_voxels
    assert whole.n_voxels == threshold_label(canvas, 1, 0.3).n_voxels
    apply(canvas, whole)


def test_nucleus_grows_along_its_depth() -> None:
    own = make_cone((60, 60), ((30, 18), (30, 40)))
    labels = np.zeros((60, 60), np.uint16)
    labels[own >= 0.6] = 300
    labels[:, 29:][labels[:, 29:] == 300] = 301
    canvas = Canvas(labels, NUCLEI, probability=(own[np.newaxis] * 255).astype(np.uint8))
    moved = apply(canvas, threshold_piece(canvas, find_piece(labels, (30, 18)), 0.4))
    assert (moved == 301).sum() == (labels == 301).sum()
    assert (moved == 300).sum() > (labels == 300).sum()
    with pytest.raises(MedSegError, match="would join them"):
        threshold_label(canvas, 300, 0.4)


def test_relative_probability_of_several_classes() -> None:
    probability = np.zeros((4, 1, 2))
    probability[:, 0, 0] = 0.2, 0.4, 0.1, 0.3
    canvas = Canvas(np.zeros((1, 2), np.uint8), LESIONS, probability=probability)
    box = (slice(0, 1), slice(0, 2))
    relative = get_relative_probability(canvas, box, 1)
    assert relative is not None
    assert relative[0] == pytest.approx([0.4 / 0.7, 0.5])
    assert get_relative_probability(Canvas(canvas.labels, LESIONS), box, 1) is None


@pytest.mark.parametrize(
    ("threshold", "reason"),
    [
        (0.0, "cannot be used"),
        (1.0, "cannot be used"),
        (0.5, "border that the model drew"),
        (0.999, "nothing of right lung reaches"),
    ],
)
def test_useless_thresholds_are_refused(threshold: float, reason: str) -> None:
    canvas = make_canvas(make_cone() * np.float32(0.99))
    with pytest.raises(MedSegError, match=reason):
        threshold_piece(canvas, find_piece(canvas.labels, (30, 20)), threshold)


def test_missing_probability_and_class_are_refused() -> None:
    labels = np.full((4, 4), 2, np.uint8)
    with pytest.raises(MedSegError, match="not here"):
        threshold_label(Canvas(labels, LUNGS), 2, 0.4)
    with pytest.raises(MedSegError, match="2 classes, none for left lung"):
        threshold_piece(Canvas(labels, LUNGS, probability=np.zeros((2, 4, 4))), find_piece(labels, (0, 0)), 0.6)
