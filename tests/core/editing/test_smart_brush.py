"""The smart brush paints what is similar and connected, and says which values it accepts."""

import numpy as np
import pytest
from editing_phantoms import LESIONS, NUCLEI, apply, freeze
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.smart_brush import SmartBrush, paint_similar
from napari_medseg.core.errors import MedSegError

TISSUE = (slice(20, 60), slice(20, 60))
EMPTY = freeze(np.zeros((80, 80), np.uint8))


def make_image(noise: float = 0.0) -> NDArray[np.float32]:
    image = np.full((80, 80), -800.0, np.float32)
    image[TISSUE] = 40.0
    image[30:50, 70:75] = 40.0  # the same values, not connected
    return image + np.random.default_rng(0).normal(0, 1, image.shape).astype(np.float32) * np.float32(noise)


def make_canvas(image: NDArray[np.float32], **others: object) -> Canvas:
    return Canvas(EMPTY, LESIONS, (0.7, 0.7), image=image, unit="HU", **others)  # type: ignore[arg-type]


def test_brush_stops_at_the_edge_of_the_tissue() -> None:
    canvas = make_canvas(make_image())
    edit = paint_similar(canvas, [(40, 57)], SmartBrush(25, 2))
    painted = apply(canvas, edit)
    inside = np.hypot(*(np.mgrid[:80, :80] - np.array([40, 57])[:, None, None])) <= 25
    assert np.array_equal(painted == 2, inside & (make_image() > 0) & (np.arange(80) < 65))
    assert edit.grey_range is not None
    low, high = edit.grey_range
    assert -800 < low < 40 < high
    assert edit.message == f"painted {edit.n_voxels:,} px of consolidation, {low:.0f} to {high:.0f} HU".replace(
        "-", "−"
    )


@pytest.mark.parametrize("noise", [5.0, 30.0, 80.0])
def test_noise_neither_leaks_nor_leaves_pepper(noise: float) -> None:
    canvas = make_canvas(make_image(noise))
    painted = apply(
        canvas, paint_similar(canvas, [(25, 25), (25, 55), (55, 55), (55, 25), (40, 40)], SmartBrush(10, 1))
    )
    assert np.count_nonzero(painted[TISSUE]) >= 0.99 * 1529  # what the path covers
    assert np.count_nonzero(painted) - np.count_nonzero(painted[TISSUE]) == 0


def test_strength_widens_the_range() -> None:
    canvas = make_canvas(make_image(20.0))
    sizes, widths = [], []
    for strength in (0.3, 1.0, 2.0):
        edit = paint_similar(canvas, [(40, 40)], SmartBrush(12, 1, strength))
        assert edit.grey_range is not None
        sizes.append(edit.n_voxels)
        widths.append(edit.grey_range[1] - edit.grey_range[0])
    assert sizes[0] < sizes[1] <= sizes[2]
    assert widths == pytest.approx([0.3 * widths[1], widths[1], 2 * widths[1]])


def test_probability_is_the_second_criterion() -> None:
    image = np.tile(np.linspace(0, 300, 80, dtype=np.float32), (80, 1))  # no edge: only the model knows
    probability = np.zeros((4, 80, 80), np.uint8)
    probability[0], probability[2, :, :40] = 255, 255
    probability[0, :, :40] = 0
    n_left = n_right = 0
    for known in (None, probability):
        canvas = make_canvas(image, probability=known)
        painted = apply(canvas, paint_similar(canvas, [(40, 40)], SmartBrush(20, 2)))
        left, right = np.count_nonzero(painted[:, :40]), np.count_nonzero(painted[:, 41:])
        if known is None:
            n_left, n_right = left, right
    assert left > n_left
    assert right < n_right


def test_colour_image() -> None:
    image = np.full((60, 60, 3), (230, 200, 230), np.uint8)
    image[20:40, 20:40] = (110, 60, 150)
    canvas = Canvas(np.zeros((60, 60), np.uint16), NUCLEI, image=image)
    edit = paint_similar(canvas, [(30, 30)], SmartBrush(20, 7))
    assert edit.n_voxels == 400
    assert edit.grey_range is None
    assert "colours within" in edit.message
    assert "(110, 60, 150)" in edit.message


def test_objects_are_not_painted_over_and_labels_are() -> None:
    labels = np.zeros((80, 80), np.uint8)
    labels[20:60, 20:30] = 1
    image = make_image()
    nuclei, lesions = Canvas(labels, NUCLEI, image=image), Canvas(labels, LESIONS, image=image)
    path, brush = [(40, 32)], SmartBrush(8, 2)
    assert (apply(nuclei, paint_similar(nuclei, path, brush)) == 1).sum() == 400
    assert (apply(lesions, paint_similar(lesions, path, brush)) == 1).sum() < 400
    edit = paint_similar(nuclei, path, brush, may_overwrite=True)
    assert (apply(nuclei, edit) == 1).sum() < 400


def test_slice_of_a_volume_and_border() -> None:
    image = np.stack([make_image()] * 3)
    canvas = Canvas(np.zeros((3, 80, 80), np.uint8), LESIONS, image=image)
    painted = apply(canvas, paint_similar(canvas, [(0, 0), (79, 79)], SmartBrush(6, 1), plane=1))
    assert not painted[[0, 2]].any()
    assert painted[1, 0, 0] == painted[1, 79, 79] == painted[1, 40, 40] == 1


def test_what_cannot_be_painted_is_refused() -> None:
    brush = SmartBrush(5, 1)
    with pytest.raises(MedSegError, match="needs the image"):
        paint_similar(Canvas(EMPTY, LESIONS), [(4, 4)], brush)
    canvas = make_canvas(make_image())
    with pytest.raises(MedSegError, match="outside"):
        paint_similar(canvas, [(-40, 4)], brush)
    with pytest.raises(MedSegError, match="no label 9"):
        paint_similar(canvas, [(4, 4)], SmartBrush(5, 9))
    with pytest.raises(MedSegError, match="no values under the stroke"):
        paint_similar(make_canvas(np.full((80, 80), np.nan, np.float32)), [(4, 4)], brush)
    full = Canvas(np.ones((80, 80), np.uint8), LESIONS, image=make_image())
    with pytest.raises(MedSegError, match="have the label already"):
        paint_similar(full, [(40, 40)], brush)
